"""Looks at hosts for tests: by ssh, as Ansible would reach them, or here."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.reach import inventory, login, read_options
from actors.kinds import ActorsError

if TYPE_CHECKING:
    from actors.kinds import Settings
    from actors.spec import Target

__all__ = ["look"]

SCRIPT: Final = Path(__file__).with_name("look_here.py")
LIMIT_S: Final = 300


def look(targets: tuple[Target, ...], settings: Settings) -> dict[str, str]:
    """Describe what can be seen of hosts."""
    seen = {}
    with tempfile.TemporaryDirectory(prefix="interlock-look-") as sockets:
        hosts = inventory(targets, read_options(settings), sockets)["targets"]["hosts"]
        for name in (target.name for target in targets):
            for what, about in _seen(name, hosts[name]).items():
                seen[f"{name}:{what}"] = about
    return seen


def _seen(name: str, host: dict[str, Any]) -> dict[str, str]:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, and what the inventory may say
            _command(host),
            input=SCRIPT.read_bytes(),
            capture_output=True,
            timeout=LIMIT_S,
            check=True,
        )
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise ActorsError(
            f"{name} cannot be looked at: {said.decode(errors='replace').strip()[-200:]}",
            next_step="see that it answers, and that its connection in the inventory is right",
        ) from None
    return found


def _command(host: dict[str, Any]) -> list[str]:
    python = [host["ansible_python_interpreter"], "-"]
    if host.get("ansible_become"):
        python = ["sudo", "-n", *python]
    if host["ansible_connection"] == "local":
        return python
    return [*login(host), *python]
