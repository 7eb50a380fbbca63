"""One verb's hold on a workspace: its ledger, a run folded from it, and a driver for that run.

Every verb that changes anything is: append one event, drive, show.
"""

from __future__ import annotations

import contextlib
import gc
import getpass
import itertools
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.denied import is_denied
from orchestrator.driver import Driver, Stop
from orchestrator.errors import Conflict, Corrupted, IllegalEvent, InvalidInput
from orchestrator.ledger import Ledger
from orchestrator.ledger_values import Projection
from orchestrator.local import Local
from orchestrator.pure.events import (
    Cancelled,
    Confirmed,
    Opened,
    Paused,
    RollbackRequested,
    Unpaused,
)
from orchestrator.pure.policy_facts import Other
from orchestrator.pure.run import ENDS, evolve, opened
from orchestrator.pure.standing import done_steps, undone_steps
from orchestrator.workspace import Workspace, open_workspace
from orchestrator.workspace_files import LEDGER, find_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import FrameType

    from orchestrator.ledger import Writer
    from orchestrator.ledger_values import Ask, Row
    from orchestrator.local import Content
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Run

__all__ = [
    "ASKABLE",
    "Session",
    "clock_ms",
    "collector_at_rest",
    "folded",
    "login_name",
    "project",
    "signals",
]

ASKABLE: Final = frozenset({"cancel", "pause", "unpause", "rollback", "confirm"})
"""What one terminal may ask of the driver in another."""
HEARING_S: Final = 3.0
"""How long to wait until a driver has taken what was asked: several of its turns."""


@dataclass(slots=True)
class Session:
    """A workspace that is open, with its ledger."""

    workspace: Workspace
    ledger: Ledger
    content: Content | None = None
    """Catalog and inventory, where a verb has read them already."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, explicit: Path | None, *, create: bool = False) -> Iterator[Session]:
        """Open the workspace that is named, or the nearest one."""
        from pathlib import Path as _Path  # noqa: PLC0415 - the name at the top is for types only

        workspace = open_workspace(find_workspace(_Path.cwd(), explicit))
        with Ledger.open(workspace.root / LEDGER, create=create) as ledger:
            yield cls(workspace, ledger)

    def load(self, run_id: str, seen: Callable[[Run, Event], None] | None = None) -> Run:
        """Fold a run from the ledger, and show each of its events to whoever wants to see."""
        run = folded(self.ledger, self.ledger.row(run_id).run, seen)
        if run.ticket_digest == "":
            raise Corrupted(f"{run_id} has no ticket", next_step="keep the ledger for inspection")
        return run

    def begin(self, event: Opened) -> str:
        """Open a new run."""
        return self.ledger.open_run(event, project(opened("new", event)))

    @contextlib.contextmanager
    def driver(
        self,
        run_id: str,
        changed: Callable[[Run, Sequence[Event]], None],
        *,
        patience_s: float = 0.0,
        heard: Callable[[int], None] = lambda _: None,
        seen: Callable[[Run, Event], None] | None = None,
    ) -> Iterator[Driver]:
        """Take a run's writer and be its driver; ^C is heard while it lasts."""
        name = f"{login_name()}@{socket.gethostname()} pid {os.getpid()}"
        # The lock's own words add process and machine.
        with (
            self.ledger.writer(run_id, login_name()) as writer,
            signals() as (stop, wake_fd),
        ):
            told = 0

            def asked(run: Run, now_ms: int) -> tuple[list[Event], tuple[int, ...]]:
                # Nothing may be printed by a signal's handler: it is said in the next turn.
                nonlocal told
                if stop.count > told:
                    told = stop.count
                    heard(told)
                return _asked(writer, run, now_ms)

            run = self.load(run_id, seen)
            outside = Local(
                self.workspace,
                lambda: driver.run,
                os.environ,
                wake_fd,
                run.id,
                self.content,
                others=self._others,
            )
            driver = Driver(
                run=run,
                writer=writer,
                outside=outside,
                clock_ms=clock_ms,
                project=project,
                asked=asked,
                changed=changed,
                stop=stop,
                patience_s=patience_s,
                name=name,
            )
            with collector_at_rest():
                yield driver

    def _others(self, run: Run) -> list[Other]:
        held = self.ledger.conflicts(run.id, run.planned.locks)
        return [Other(one.run, one.resource, one.state) for one in held]

    def ask(self, run_id: str, kind: str, body: str) -> tuple[str, bool]:
        """Leave word for the driver of a run; say who that is, and whether it was heard."""
        holder = self.ledger.holder(run_id)
        if holder is None:
            raise Conflict(f"{run_id} was let go a moment ago", next_step="try again")
        left = self.ledger.ask(run_id, kind, login_name(), body, clock_ms())
        until_s = time.monotonic() + HEARING_S
        while (waits := self.ledger.asks_wait(left)) and time.monotonic() < until_s:
            time.sleep(HEARING_S / 100)
        return holder, not waits


@contextlib.contextmanager
def collector_at_rest(young: int = 50_000) -> Iterator[None]:
    """Keep the garbage collector from walking a large run again and again while it grows.

    A run holds no cycles; walking it doubles the cost of a step in a plan of 100,000. What has
    grown meanwhile is not walked afterwards either; it goes when nothing refers to it any more.
    The collector begins when `young` objects are new; with 0 it never does.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, 50, 1_000)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*thresholds)


def folded(ledger: Ledger, run_id: str, seen: Callable[[Run, Event], None] | None = None) -> Run:
    """Fold all events of a run; they must come to the phase by which the ledger lists it."""
    with collector_at_rest(young=0):
        row = ledger.row(run_id)
        events = ledger.events(row.run)
        run = _folded(row.run, itertools.islice(events, row.seq), seen)
        _refuse_unlike(row, run)
        return _on(run, events, seen)  # recorded since


def _folded(run_id: str, events: Iterator[Event], seen: Callable[[Run, Event], None] | None) -> Run:
    first = next(events, None)
    if first is None:
        raise InvalidInput(f"{run_id} holds no events", next_step="interlock list")
    if not isinstance(first, Opened):
        raise IllegalEvent(f"{run_id} does not begin with its ticket")
    run = opened(run_id, first)
    if seen is not None:
        seen(run, first)
    return _on(run, events, seen)


def _on(run: Run, events: Iterator[Event], seen: Callable[[Run, Event], None] | None) -> Run:
    for event in events:
        run = evolve(run, event)
        if seen is not None:
            seen(run, event)
    return run


def _refuse_unlike(row: Row, run: Run) -> None:
    # Its note and its counts are for people, and a later version may choose better ones.
    if row.phase != run.phase:
        raise Corrupted(
            f"the ledger lists {run.id} as {row.phase!r}; its record comes to {run.phase!r}",
            next_step="do not continue this run; keep the file, compare it with an exported copy",
        )


def project(run: Run) -> Projection:
    """Say in a few numbers how a run stands, for whoever lists runs."""
    steps = len(run.shape.steps) if run.shape else 0
    work = run.work
    counts = {
        "steps": steps,
        "done": done_steps(run),
        "acting": len(work.acting) if work else 0,
        "paused": int(run.paused),
    }
    if work is not None and work.undoing is not None:
        counts["to_undo"] = work.undoing.left
    if undone := undone_steps(run):
        counts["undone"] = undone
    if run.incidents:
        counts["incidents"] = len(run.incidents)
    if is_denied(run):
        counts["denied"] = 1
    return Projection(phase=run.phase, note=run.reason[:300], counts=counts)


def clock_ms() -> int:
    """Read the clock: the one place where time enters."""
    return time.time_ns() // 1_000_000


def login_name() -> str:
    """Say who is logged in, as a principal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


@contextlib.contextmanager
def signals() -> Iterator[tuple[Stop, int]]:
    """Count ^C and SIGTERM instead of dying of them, and wake whoever waits."""
    stop = Stop()

    def heard(_number: int, _frame: FrameType | None) -> None:
        stop.count += 1

    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {n: signal.signal(n, heard) for n in (signal.SIGINT, signal.SIGTERM)}
    waker = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    try:
        yield stop, read_end
    finally:
        signal.set_wakeup_fd(waker)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)


def _asked(writer: Writer, run: Run, now_ms: int) -> tuple[list[Event], tuple[int, ...]]:
    asks = writer.asks()
    events = [event for ask in asks if (event := _legible(ask, now_ms)) is not None]
    return ([] if run.phase in ENDS else events), tuple(ask.id for ask in asks)


def _legible(ask: Ask, at_ms: int) -> Event | None:
    # What no event can hold (an answer without end) is dropped: it must not stop every driver.
    try:
        return _event_of(ask, at_ms)
    except ValueError:
        return None


def _event_of(ask: Ask, at_ms: int) -> Event | None:
    match ask.kind:
        case "cancel":
            return Cancelled(at_ms=at_ms, by=ask.by, reason=ask.body)
        case "rollback":
            return RollbackRequested(at_ms=at_ms, by=ask.by, reason=ask.body)
        case "pause":
            return Paused(at_ms=at_ms, by=ask.by)
        case "unpause":
            return Unpaused(at_ms=at_ms, by=ask.by)
        case "confirm":
            step, _, answer = ask.body.partition("=")
            return Confirmed(at_ms=at_ms, step=step, answer=answer, by=ask.by)
        case _:
            return None
