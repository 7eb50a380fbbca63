"""Ansible inside a process of ours: imported once, then played in forks of that process.

1. This is an internal interface of Ansible, so it is used for the versions in `KNOWN_GOOD` only.
2. A fork plays one play and ends; nothing of it can get back into the process that was forked.
3. What Ansible sends of its own most used modules is built once and lent to every play. An actor's
   own modules are built in the play that uses them, and one of the same name is not taken for ours.
4. To a play that reaches nobody but this machine they are lent with byte code: each brings dozens
   of files, which Python would else compile at every task. Another Python leaves it aside. Hosts
   elsewhere are not sent three times as much to save them that.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib.util
import io
import json
import marshal
import os
import random
import shutil
import sys
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from actors.ansible.command import command_of
from actors.ansible.lukewarm import KNOWN_GOOD

if TYPE_CHECKING:
    from types import CodeType

    from actors.ansible.shim import Job

__all__ = ["build_modules", "is_local", "play_inside", "preload"]

WHOLE: Final = ("connection", "shell", "become", "callback", "vars")
"""Kinds of plugins that every play looks through."""
OFTEN: Final = {
    "action": ("normal", "copy", "template", "command", "set_stats", "set_fact", "debug", "fail"),
    "connection": ("ansible.builtin.local", "interlock_ssh"),
    "become": ("ansible.builtin.sudo",),
    "shell": ("ansible.builtin.sh",),
    "strategy": ("ansible.builtin.linear",),
    "inventory": ("ansible.builtin.yaml",),
    "cache": ("ansible.builtin.memory",),
    "callback": ("interlock_events",),
}
"""What nearly every play loads, by kind of plugin."""
MODULES: Final = (
    "command", "copy", "stat", "file", "slurp", "service", "systemd_service", "apt", "uri",
    "lineinfile",
)  # fmt: skip
"""What is lent, the most used first."""
LOCAL: Final = "local"
"""The folder, within that of what is lent, which holds the same with byte code."""
UNCHECKED: Final = 1
"""A flag of byte code (PEP 552): Python does not hold it against the source beside it."""
OWN: Final = "ansible/modules/"
"""Where a module itself stands in its archive, among its utilities."""
CACHE: Final = "ansiballz_cache"
COMPRESSION: Final = "ZIP_DEFLATED"


def preload() -> bool:
    """Import what a play needs; say whether this version is known to bear it."""
    from ansible.plugins import loader  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    from ansible.release import __version__  # type: ignore[import-untyped]  # noqa: PLC0415 - as above

    if __version__ not in KNOWN_GOOD:
        return False
    loader.init_plugin_loader()
    for kind in WHOLE:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    list(loader.filter_loader.all())
    list(loader.test_loader.all())
    for kind, names in OFTEN.items():
        for name in names:
            getattr(loader, f"{kind}_loader").get(name, class_only=True)
    return True


def build_modules(place: Path) -> None:
    """Build what is lent, as Ansible would for a play; it is there whole or not at all."""
    from ansible import constants  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    from ansible.executor import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        module_common,
    )
    from ansible.parsing.dataloader import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        DataLoader,
    )
    from ansible.plugins.loader import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        module_loader,
    )
    from ansible.template import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        Templar,
    )

    beside = place.with_name(f"{place.name}.{os.getpid()}")
    beside.mkdir(mode=0o700)
    try:
        constants.DEFAULT_LOCAL_TMP = str(beside)
        for name in MODULES:
            module_common.modify_module(
                module_name=f"ansible.builtin.{name}",
                module_path=module_loader.find_plugin(name),
                module_args={},
                templar=Templar(loader=DataLoader(), variables={}),
                task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
                module_compression=COMPRESSION,
            )
        built = beside / CACHE
        (built / LOCAL).mkdir(mode=0o700)
        for path in built.glob("ansible.modules.*-none"):
            _add_byte_code(path, built / LOCAL / path.name)
        built.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def play_inside(job: Job, modules: Path) -> NoReturn:
    """Play in this fork of the warm server, and end with it."""
    from ansible import cli, constants  # noqa: PLC0415 - as above
    from ansible.cli.playbook import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        PlaybookCLI,
    )

    code = 250
    try:
        os.environ.clear()
        os.environ.update(job.environ)
        random.seed()
        warnings.simplefilter("ignore")
        constants.DEFAULT_LOCAL_TMP = job.scratch[0]
        constants.ANSIBLE_HOME = job.environ["ANSIBLE_HOME"]
        cli.init_plugin_loader = _initialised_already
        with contextlib.suppress(OSError, ValueError, LookupError):  # then it builds its own
            lent = modules / LOCAL if is_local(Path(job.inventory)) else modules
            _borrow_modules(lent, Path(job.scratch[0]) / CACHE, Path(job.playbook).parent)
        sys.argv = command_of(job)
        PlaybookCLI.cli_executor(sys.argv)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _add_byte_code(path: Path, to: Path) -> None:
    from ansible.executor import module_common  # noqa: PLC0415 - as above

    built = module_common._CachedModule.load(str(path))  # noqa: SLF001 - it has no other name
    made = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(base64.b64decode(built.zip_data))) as bare,
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as full,
    ):
        for entry in bare.infolist():
            source = bare.read(entry)
            full.writestr(entry, source)
            # By the path of its code Ansible knows a module that says that something is deprecated;
            # the path of byte code is fixed here, so the module itself has none.
            if not entry.filename.endswith(".py") or entry.filename.startswith(OWN):
                continue
            code = compile(source, entry.filename, "exec", dont_inherit=True, optimize=0)
            compiled = zipfile.ZipInfo(f"{entry.filename}c", entry.date_time)
            compiled.compress_type = zipfile.ZIP_DEFLATED
            full.writestr(compiled, _byte_code(code, source))
    dataclasses.replace(built, zip_data=base64.b64encode(made.getvalue())).dump(str(to))


def _byte_code(code: CodeType, source: bytes) -> bytes:
    head = importlib.util.MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little")
    return head + importlib.util.source_hash(source) + marshal.dumps(code)


def is_local(inventory: Path) -> bool:
    """Say whether all that an inventory holds is this machine."""
    hosts = json.loads(inventory.read_text())["targets"]["hosts"].values()
    return all(host["ansible_connection"] == "local" for host in hosts)


def _borrow_modules(place: Path, cache: Path, folder: Path) -> None:
    own = {path.stem for path in folder.glob("**/library/*")}
    cache.mkdir(mode=0o700)
    for name in MODULES:
        built = place / f"ansible.modules.{name}-{COMPRESSION}-none"
        if name not in own and built.exists():
            (cache / built.name).hardlink_to(built)


def _initialised_already(collections: object = None) -> None:
    del collections
