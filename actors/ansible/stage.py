"""Lays out the directory of one play: inventory, environment, command; the values go by a pipe.

1. The directory is fresh and private. A play finds nothing of another play in it.
2. The values of params are never written to a disk: Ansible reads them once from a named pipe.
3. Every string among them is marked unsafe, so that Ansible takes none for a template; only `keep`
   may be one, of ours.
4. The environment is made from nothing but the names in `PASSED_ON` and what stands here.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.reach import CONTROLLER, dials, inventory
from actors.kinds import PULSE, ActorsError
from actors.spec import problem_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.ansible.reach import Options
    from actors.spec import Brief, Value

__all__ = [
    "EVENTS",
    "INVENTORY",
    "LOG",
    "VALUES",
    "Stage",
    "play_file",
    "stage",
    "target_names",
    "timeout_s",
]

HERE: Final = Path(__file__).parent
EVENTS: Final = "events.jsonl"
LOG: Final = "playbook.log"
INVENTORY: Final = "inventory.json"
VALUES: Final = "values.json"
PASSED_ON: Final = ("HOME", "TZ", "SSH_AUTH_SOCK")
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Stage:
    """A play that can begin."""

    directory: Path
    folder: Path
    playbook: str
    check: bool
    forks: int
    environ: dict[str, str]
    values: bytes
    timeout_s: int
    scratch: tuple[str, ...]
    """Folders that are gone when the play has ended: Ansible's own, and the sockets of ssh."""
    dials: dict[str, list[str]]
    """Connections that are made ahead."""


def stage(brief: Brief, options: Options, environ: Mapping[str, str]) -> Stage:
    """Lay out what one verb of a brief needs."""
    _refuse_misfits(brief)
    directory = Path(brief.workdir) / f"ansible-{brief.verb}"
    # A socket's path is short by law of the kernel, and an act's is not.
    sockets = tempfile.mkdtemp(prefix="interlock-", dir="/tmp")
    try:
        hosts = inventory(brief.targets, options, sockets)
        directory.mkdir(mode=0o700)
    except BaseException:
        Path(sockets).rmdir()
        raise
    (Path(brief.workdir) / PULSE).touch(mode=0o600)
    _write(directory / INVENTORY, hosts)
    (directory / "tmp").mkdir(mode=0o700)
    os.mkfifo(directory / VALUES, 0o600)
    return Stage(
        directory=directory,
        folder=Path(brief.folder),
        playbook=play_file(brief),
        check=brief.verb == "check",
        forks=options.forks,
        environ=_environ(brief, options, directory, environ),
        values=json.dumps({"interlock": _values(brief, options)}).encode(),
        timeout_s=timeout_s(brief),
        scratch=(str(directory / "tmp"), sockets),
        dials=dials(hosts["targets"]["hosts"], options, sockets),
    )


def play_file(brief: Brief) -> str:
    """Name the playbook of a verb."""
    if brief.verb == "undo":
        return "undo.yml"
    if brief.verb == "verify" and brief.spec.effect != "read":
        return "verify.yml"
    return "apply.yml"


def timeout_s(brief: Brief) -> int:
    """Say how long this verb may take: an act's own time also holds its verify."""
    declared: int = getattr(brief.spec.timeouts, f"{brief.verb}_s")
    return min(brief.timeout_s, declared)


def target_names(brief: Brief) -> tuple[str, ...]:
    """Name the hosts that may be touched, in the plan's order."""
    return tuple(target.name for target in brief.targets) or (CONTROLLER,)


def _refuse_misfits(brief: Brief) -> None:
    for name, value in brief.params.items():
        declared = brief.spec.params.get(name)
        if declared is None or declared.type == "targets" or name.startswith("ansible_"):
            raise ActorsError(
                f"{brief.spec.name} has no param {name} to give a value to",
                next_step="give only what its manifest declares",
            )
        problem = problem_with(declared, value)
        if problem or not _is_unicode(value):
            problem = problem or "holds half a character: it cannot be written as UTF-8"
            raise ActorsError(f"the param {name} {problem}", next_step="give a value that fits")


def _is_unicode(value: Value) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(brief: Brief, options: Options) -> dict[str, Any]:
    values: dict[str, Any] = _unsafe(_told(brief, options))
    if any(target.connection.get("transport") == "local" for target in brief.targets):
        # Several targets may be this one machine: each has a directory of its own. This is the one
        # value that is a template, and the name of a target has no room for another.
        values["keep"] = f"{_keep(brief, options)}-{{{{ inventory_hostname }}}}"
    return values


def _keep(brief: Brief, options: Options) -> str:
    return f"{options.keep_dir}/{sha256(_step(brief).encode()).hexdigest()[:32]}"


def _step(brief: Brief) -> str:
    return brief.key.rsplit("/", 2)[0]


def _told(brief: Brief, options: Options) -> dict[str, Any]:
    apart = ("targets", "secret")
    declared = [name for name, param in brief.spec.params.items() if param.type not in apart]
    return {
        "params": {name: _plain(brief.params.get(name)) for name in declared},
        "secrets": {name: value.get_secret_value() for name, value in brief.secrets.items()},
        "targets": list(target_names(brief)),
        "hosts": {t.name: {"object": t.object, "labels": t.labels} for t in brief.targets},
        "verb": brief.verb,
        "attempt": brief.attempt,
        "key": brief.key,
        "step": _step(brief),
        "keep": _keep(brief, options),
    }


def _plain(value: Value | None) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _unsafe(value: Any) -> Any:
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {name: _unsafe(inner) for name, inner in value.items()}
    return [_unsafe(inner) for inner in value] if isinstance(value, list) else value


def _environ(
    brief: Brief, options: Options, directory: Path, environ: Mapping[str, str]
) -> dict[str, str]:
    said = {name: environ[name] for name in PASSED_ON if name in environ}
    said |= {
        "PATH": f"{Path(sys.executable).parent}:{PATH}",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "plugins"),
        "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connections"),
        "ANSIBLE_LIBRARY": str(HERE / "modules"),
        "ANSIBLE_HOME": str(directory / "tmp" / "home"),
        "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
        "INTERLOCK_EVENTS": str(directory / EVENTS),
        "INTERLOCK_EVENTS_LIMIT": str(options.events_mb * 1_000_000),
        "INTERLOCK_PULSE": str(Path(brief.workdir) / PULSE),
        "INTERLOCK_TARGETS": json.dumps(target_names(brief)),
    }
    if options.collections_path:
        said["ANSIBLE_COLLECTIONS_PATH"] = options.collections_path
    return said


def _write(path: Path, value: Any) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file)
