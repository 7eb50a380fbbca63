"""A workspace in a folder, drivers that are processes of their own, and what the world says of it.

`build` writes a workspace; `opened` opens a run in it and brings it to `approved`; `Process` drives
that run in a process of its own, which a plan of mishaps (`Mishap`) stops or kills at a chosen
record. What has happened is read from the rehearsal's world (`effects`) and from the ledger, never
from a driver. Run as `python -m edges.rig ROOT RUN MISHAP` it is that driver.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edges.rig_judge import (
    PATIENCE_S,
    act_processes,
    children,
    effects,
    events,
    folded,
    judge,
    net,
    side_of,
    until,
)
from orchestrator.errors import InterlockError
from orchestrator.pure.events import Opened, PreviewRequested, StartRequested
from orchestrator.session import Session, clock_ms
from orchestrator.workspace import read_ticket, ticket_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.driver import Driver
    from orchestrator.ledger_values import Recorded
    from orchestrator.ledger_writer import Writer
    from orchestrator.pure.commands import Act
    from orchestrator.pure.events import Event

__all__ = [
    "PATIENCE_S",
    "Mishap",
    "Process",
    "act_processes",
    "build",
    "chain",
    "children",
    "copied",
    "effects",
    "events",
    "fill",
    "folded",
    "judge",
    "net",
    "opened",
    "step",
    "until",
]

HOSTS: Final = 12
TESTS: Final = Path(__file__).resolve().parent.parent

SETTINGS = """\
format: 1
environments:
  lab: {approvals: [], max_targets: 100, require_evidence: false, allow_undo_none: true}
policy: {engine: builtin}
parallelism: 3
kinds:
  rehearsal: {world: .interlock/rehearsal}
"""
HOSTILE_SETTINGS = "  hostile: {world: .interlock/rehearsal}\n"
CHANGE = """\
name: lab.change
version: 1.0.0
kind: rehearsal
summary: Change a thing.
when_to_use: In tests.
when_not_to_use: Elsewhere.
effect: change
params:
  targets: {type: targets, summary: What to change.}
  count: {type: integer, summary: How often., minimum: 0, maximum: 9, required: false}
outputs:
  size: {type: integer, summary: A size., minimum: 0, maximum: 9, required: false}
writes: [thing]
idempotent: true
undo: full
dry_run: predicted
failure_modes:
  - {name: busy, summary: Somebody else is at it., retry: true}
  - {name: broken, summary: It is broken and nothing was touched.}
  - {name: stopped, summary: Asked to stop before anything was touched.}
retries: {maximum: 1, backoff_s: 0}
timeouts: {apply_s: 20, verify_s: 10, undo_s: 20, check_s: 10, expected_s: 1}
"""
LOOK = """\
name: lab.look
version: 1.0.0
kind: rehearsal
summary: Look at a thing.
when_to_use: In tests.
when_not_to_use: Elsewhere.
effect: read
params:
  targets: {type: targets, summary: What to look at.}
outputs:
  size: {type: integer, summary: A size., minimum: 0, maximum: 9}
idempotent: true
undo: none
dry_run: none
timeouts: {apply_s: 20, verify_s: 10, undo_s: 20, check_s: 10, expected_s: 1}
"""
LOOK_SCRIPT = "format: 1\ndurations_ms: {check: 1, apply: 1, verify: 1}\noutputs: {size: 3}\n"
TICKET = """\
id: {id}
title: Change the things
environment: lab
requester: ann
request: Please change the things.
"""


# --- the workspace --------------------------------------------------------------------------------


def build(
    root: Path,
    *,
    rules: Sequence[str] = (),
    ms: int = 5,
    settings: str = SETTINGS,
    change: str = CHANGE,
    how: str = "",
) -> Path:
    """Write a workspace; `rules` is the script of `lab.change`, `how` makes that actor hostile."""
    (root / "inventory").mkdir(parents=True)
    (root / "policies").mkdir()
    (root / "interlock.yaml").write_text(settings)
    hosts = [f"  - {{name: h{n:02}, groups: [{_group(n)}]}}" for n in range(1, HOSTS + 1)]
    lines = ["format: 1", "environment: lab", "objects:", *hosts]
    (root / "inventory" / "lab.yaml").write_text("\n".join(lines) + "\n")
    spent = f"durations_ms: {{check: {ms}, apply: {ms}, verify: 1, undo: {ms}}}"
    script = ["format: 1", spent, "outputs: {size: 4}"]
    if rules:
        script += ["on:", *(f"  - {rule}" for rule in rules)]
    if how:
        change = change.replace("kind: rehearsal", "kind: hostile")
        (root / "interlock.yaml").write_text(settings + HOSTILE_SETTINGS)
    _actor(root, "lab.change", change, "\n".join(script) + "\n")
    if how:
        (root / "playbooks" / "lab.change" / "how").write_text(how)
    _actor(root, "lab.look", LOOK, LOOK_SCRIPT)
    return root


def _group(number: int) -> str:
    return "rolled" if number > HOSTS - 4 else "single"


def _actor(root: Path, name: str, manifest: str, script: str) -> None:
    folder = root / "playbooks" / name
    folder.mkdir(parents=True)
    (folder / "actor.yaml").write_text(manifest)
    (folder / "rehearsal.yaml").write_text(script)


def step(name: str, *, host: str = "", after: str = "", more: str = "") -> str:
    """Write one step of a draft."""
    params = f"params: {{targets: [{host or name}]}}, " if host != "-" else ""
    return f"  - {{id: {name}, actor: lab.change, {params}after: [{after}]{more}}}"


def chain(*names: str) -> str:
    """Write a draft whose steps follow one another, each on a host of its own."""
    before = ("", *names)
    steps = [
        step(name, host=f"h{place:02}", after=before[place - 1])
        for place, name in enumerate(names, 1)
    ]
    return "\n".join(["decision: plan", "steps:", *steps]) + "\n"


def opened(root: Path, draft: str, *, ticket: str = "CHG-1", window: str = "") -> str:
    """Open a run and drive it to `approved`; no act begins."""
    file = root / f"{ticket}.yaml"
    file.write_text(TICKET.format(id=ticket) + window)
    with Session.open(root, create=True) as session:
        words = read_ticket(file)
        event = Opened(
            at_ms=clock_ms(),
            ticket=words,
            ticket_digest=ticket_digest(words),
            by="ann",
            draft=draft,
        )
        name = session.begin(event)
        with session.driver(name, lambda _run, _events: None) as driver:
            run = driver.drive()
    assert run.phase == "approved", (run.phase, run.reason, run.findings)
    return name


def copied(template: Path, root: Path) -> Path:
    """Copy a workspace with its ledger, which nobody has open."""
    return Path(shutil.copytree(template, root))


# --- drivers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mishap:
    """What befalls a driver; records are counted from 1 in each driver."""

    kill_before: int = 0
    """SIGKILL itself instead of this append."""
    kill_after: int = 0
    """SIGKILL itself when this append has returned."""
    stop_after: int = 0
    """SIGSTOP itself when this append has returned."""
    kill_at_begin: str = ""
    """SIGKILL itself when the directory of this act (`step.verb.attempt`) is made, and empty."""
    stop_at_begin: str = ""
    """SIGSTOP itself there."""
    grace_s: float = 1.0
    patience_s: float = 60.0
    ahead_ms: int = 0
    """By how much its clock is ahead."""
    jump_after: int = 0
    """From this append on, its clock is ahead by `jump_ms`."""
    jump_ms: int = 0
    fill_after: int = 0
    """Fill the disk when this append has returned."""
    preview: bool = False
    """Ask for the dry run, not for the start."""
    target: str = ""
    """Put this target in the place of the first of every act: a driver that was taken over."""
    count: int = 0
    """Put this number in the place of the param `count` of every act."""


class Process:
    """A driver in a process of its own."""

    def __init__(
        self,
        root: Path,
        run: str,
        mishap: Mishap | None = None,
        kinds: Path | None = None,
        **environ: str,
    ) -> None:
        self.root = root
        args = [str(root), run, json.dumps(asdict(mishap or Mishap()))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edges.rig", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=TESTS.parent,
            env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}:{kinds or ''}", **environ},
        )
        self.said = ""

    def wait(self) -> int:
        """Wait for its end; say its exit code, or minus the signal."""
        try:
            self.said, _ = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.said, _ = self.process.communicate()
            raise AssertionError(f"a driver did not come to rest: {self.said}") from None
        return self.process.returncode

    def ends(self, phase: str) -> None:
        """Wait for its end, which must be at rest in this phase."""
        code = self.wait()
        assert (code, self.said.splitlines()[-1:]) == (0, [phase]), (code, self.said)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        self.process.send_signal(number)

    def bury(self) -> None:
        """End it, however the test went."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class _Noting:
    """A writer that notes each acknowledged record in a side file, and meets with mishaps."""

    def __init__(self, writer: Writer, side: Path, mishap: Mishap) -> None:
        self._writer = writer
        self._side = side
        self._mishap = mishap
        self.count = 0

    @property
    def epoch(self) -> int:
        return self._writer.epoch

    def append(self, *args: Any, **kwargs: Any) -> list[Recorded]:
        self.count += 1
        if self.count == self._mishap.kill_before:
            os.kill(os.getpid(), signal.SIGKILL)
        recorded = self._writer.append(*args, **kwargs)
        text = "".join(f"{r.run} {r.seq} {r.hash}\n" for r in recorded).encode()
        handle = os.open(self._side, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, text)
        os.close(handle)
        if self.count == self._mishap.fill_after:
            fill(self._side.with_name("filler"))
        if self.count == self._mishap.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.count == self._mishap.stop_after:
            os.kill(os.getpid(), signal.SIGSTOP)
        return recorded


def _befall(driver: Driver, mishap: Mishap, root: Path) -> _Noting:
    noting = _Noting(driver.writer, side_of(root), mishap)
    driver.writer = noting  # type: ignore[assignment]  # it stands before the writer
    acts: Any = driver.outside.acts
    acts.grace_s = mishap.grace_s
    make: Callable[[Act, Path], Any] = acts.warrant_for

    def befallen(act: Act, directory: Path) -> Any:
        if directory.name == mishap.kill_at_begin:
            os.kill(os.getpid(), signal.SIGKILL)
        if directory.name == mishap.stop_at_begin:
            os.kill(os.getpid(), signal.SIGSTOP)
        warrant = make(act, directory)
        brief = warrant.brief
        if mishap.target:
            other = brief.targets[0].model_copy(update={"name": mishap.target})
            brief = brief.model_copy(update={"targets": (other, *brief.targets[1:])})
        if mishap.count:
            params = {**brief.params, "count": mishap.count}
            brief = brief.model_copy(update={"params": params})
        return warrant.model_copy(update={"brief": brief})

    def clock() -> int:
        jumped = mishap.jump_after and noting.count >= mishap.jump_after
        return clock_ms() + mishap.ahead_ms + (mishap.jump_ms if jumped else 0)

    acts.warrant_for = befallen
    driver.clock_ms = clock
    return noting


def main(root: Path, run_id: str, mishap: Mishap) -> int:
    """Drive one run until it is at rest."""
    try:
        with (
            Session.open(root) as session,
            session.driver(run_id, lambda _run, _events: None, patience_s=mishap.patience_s) as it,
        ):
            noting = _befall(it, mishap, root)
            if it.run.phase == "approved":
                it.record([_wish(it, mishap)])
            run = it.drive()
    except InterlockError as error:
        sys.stdout.write(f"{error.what}\n{error.next_step}\n{type(error).__name__}\n")
        return error.exit_code
    sys.stdout.write(f"{noting.count}\n{run.reason}\n{run.phase}\n")
    return 0


def _wish(driver: Driver, mishap: Mishap) -> Event:
    at_ms = max(driver.clock_ms(), driver.run.at_ms)
    if mishap.preview:
        return PreviewRequested(at_ms=at_ms, by="op")
    return StartRequested(at_ms=at_ms, by="op", plan_digest=driver.run.plan_digest)


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for size in (1 << 16, 1 << 12, 1 << 6, 1):
        with suppress(OSError):
            while os.write(handle, bytes(size)):
                pass
    os.close(handle)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Mishap(**json.loads(sys.argv[3]))))
