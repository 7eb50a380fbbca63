"""Actors of the kind ansible for tests: a folder from a few strings, acts as a driver asks them.

Acts are done in this process; `in_a_process` does one in a process of its own, which can be killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.kind import Ansible
from actors.catalog import read_actor
from actors.spec import Brief, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.spec import Outcome, Value, Verb

__all__ = ["LOCAL", "Actor", "descendants", "in_a_process", "marked", "until"]

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE_S: Final = 60
LOCAL: Final = (Target(name="here", connection={"transport": "local", "python": sys.executable}),)

MANIFEST: Final = """\
name: {name}
version: 1.0.0
kind: ansible
summary: Change a thing.
when_to_use: In tests.
when_not_to_use: Elsewhere.
effect: {effect}
params:
  targets: {{type: targets, summary: Where.}}
{params}
{outputs}
{writes}
idempotent: true
undo: {undo}
dry_run: predicted
{modes}
timeouts: {{apply_s: {timeout_s}, verify_s: 30, undo_s: 30, check_s: 30, expected_s: 1}}
"""
VERIFY: Final = """\
- hosts: targets
  tasks:
    - ansible.builtin.ping:
    - name: Say that it holds
      ansible.builtin.set_stats: {aggregate: false, data: {interlock_state: applied}}
"""
MODES: Final = """\
failure_modes:
  - {name: unreachable, summary: Not reached.}
  - {name: stopped, summary: Stopped before it began.}
  - {name: broken, summary: It was broken before.}
  - {name: half, summary: Half of it is done., leaves: partial}
"""


@dataclass(slots=True)
class Actor:
    """One actor's folder, and where its acts are done."""

    root: Path
    name: str = "test.thing"
    settings: dict[str, Any] = field(default_factory=dict)
    targets: tuple[Target, ...] = LOCAL
    _numbers: Any = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        # One warm server for all tests of a process: their folders lie beside one another.
        self.settings.setdefault("warm_path", str(self.root.parent / "warm"))

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.root / self.name

    def write(
        self,
        tasks: str,
        *,
        params: str = "",
        outputs: str = "",
        sheet: str = "",
        verify: str = VERIFY,
        undo: str = "",
        modes: str = MODES,
        effect: str = "change",
        timeout_s: int = 60,
        head: str = "",
    ) -> Actor:
        """Write the folder; `tasks` are those of its apply."""
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = MANIFEST.format(
            name=self.name,
            effect=effect,
            params=indented(params, 2),
            outputs=outputs and f"outputs:\n{indented(outputs, 2)}",
            writes="writes: [thing]" if effect != "read" else "",
            undo="full" if undo else "none",
            modes=modes,
            timeout_s=timeout_s,
        )
        self._file("actor.yaml", manifest)
        self._file(
            "apply.yml", f"- hosts: targets\n{indented(head, 2)}\n  tasks:\n{indented(tasks, 4)}\n"
        )
        for name, text in (("verify.yml", verify), ("undo.yml", undo), ("ansible.yaml", sheet)):
            if text:
                self._file(name, text)
        return self

    def _file(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def brief(self, verb: Verb, **params: Value) -> Brief:
        """Make what a driver would ask."""
        read = read_actor(self.folder)
        assert read.spec is not None, read.findings
        number = next(self._numbers)
        workdir = self.root / "state" / "acts" / "CHG-1.1" / f"{verb}.{number}"
        workdir.mkdir(parents=True, mode=0o700)
        return Brief(
            key=f"CHG-1.1/step/{verb}/{number}",
            verb=verb,
            attempt=number,
            folder=str(self.folder),
            spec=read.spec,
            params=params,
            targets=self.targets,
            timeout_s=120,
            workdir=str(workdir),
        )

    def ask(self, verb: Verb, **params: Value) -> Outcome:
        """Do one act here."""
        return Ansible().perform(self.brief(verb, **params), self.settings)

    def last(self) -> Path:
        """Find the directory of the last play."""
        return max(
            (self.root / "state" / "acts").glob("*/*/ansible-*"),
            key=lambda path: path.stat().st_mtime,
        )

    def events(self) -> list[dict[str, Any]]:
        """Read what the last play wrote down."""
        text = (self.last() / "events.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


def indented(text: str, by: int) -> str:
    """Indent a block of YAML."""
    return "\n".join(" " * by + line for line in text.strip("\n").splitlines())


ACT: Final = """\
import json, sys
from pathlib import Path
from pydantic import TypeAdapter
from actors.ansible.kind import Ansible
from actors.spec import Brief, Outcome
brief = Brief.model_validate_json(sys.stdin.readline())
outcome = Ansible().perform(brief, json.loads(sys.stdin.readline()))
Path(brief.workdir, "outcome.json").write_bytes(TypeAdapter(Outcome).dump_json(outcome))
"""


def in_a_process(actor: Actor, brief: Brief, environ: Mapping[str, str] = os.environ) -> Any:
    """Begin an act in a process of its own, as a driver does."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", ACT],
        stdin=subprocess.PIPE,
        env={**environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(f"{brief.model_dump_json()}\n{json.dumps(actor.settings)}\n")
    process.stdin.close()
    return process


def marked(mark: str) -> list[int]:
    """List the processes whose command line holds a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in words:
                found.append(int(entry.name))
    return found


def descendants(pid: int) -> list[int]:
    """List all processes below one."""
    from actors.ansible.shim import below  # noqa: PLC0415 - only here

    return below(pid)


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds; fail when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")
