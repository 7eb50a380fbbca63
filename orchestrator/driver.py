"""The local engine: it turns the machine until the run is at rest.

1. What is due is recorded first, in one commit with what was just reported; only then does it
   begin.
2. A commit that failed is never tried again: the driver stops, and who comes next reads the ledger.
3. The first signal to stop lets everything under way settle and begins nothing; the second stops
   the acts as their actors allow; the third leaves them to the next driver, which finds them by
   their directories.
4. The clock never goes back within a run: an instant before the last event is that event's instant.
5. What a person did is recorded only when all that driving on from there would read can be read,
   and is what the plan was made of.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.errors import IllegalEvent, Unavailable
from orchestrator.pure.commands import Act, Diagnose, Note, Propose, Vet
from orchestrator.pure.events import ActFinished, ActStarted, TakenOver
from orchestrator.pure.run import ENDS, belongs, due, evolve, wakes_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.ledger import Projection, Writer
    from orchestrator.perform import Outside
    from orchestrator.pure.commands import Command
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Phase, Run
    from orchestrator.supervise import Report

__all__ = ["HOLDING", "Driver", "Stop"]

TURN_S: Final = 0.5
"""How long a turn waits at most, so that another terminal's word is heard."""
SLACK_MS: Final = 2_000
"""How far behind the last event the clock may stand: two machines are never set alike."""
LEAVE: Final = 3
"""At this count of signals the driver leaves its acts to the next one."""
HOLDING: Final[frozenset[Phase]] = frozenset({"running", "rolling_back", "diagnosing", "held"})
"""Phases in which a run holds its locks."""
ACTING: Final[frozenset[Phase]] = frozenset({"previewing", "running", "rolling_back"})
"""Phases in which acts may begin."""
READING: Final[frozenset[Phase]] = ACTING | {"drafting", "vetting", "starting", "returning"}
"""Phases in which a driver reads the workspace."""


@dataclass(slots=True)
class Stop:
    """How often a person asked this driver to stop."""

    count: int = 0


@dataclass(slots=True)
class Driver:
    """Turns one run; it owns the run's writer."""

    run: Run
    writer: Writer
    outside: Outside
    clock_ms: Callable[[], int]
    project: Callable[[Run], Projection]
    asked: Callable[[Run, int], tuple[list[Event], tuple[int, ...]]]
    """What other terminals asked for since the last turn, as events, and the ids of the asks."""
    changed: Callable[[Run, Sequence[Event]], None]
    """Called after each durable change; shows progress, decides nothing."""
    stop: Stop = field(default_factory=Stop)
    patience_s: float = 0.0
    """How long to stay for something that time alone will make due."""
    name: str = "driver"
    _following: set[Act] = field(default_factory=set)
    _pause_s: float = 0.0
    _stopped: bool = False
    _checked: bool = False

    def record(self, events: Sequence[Event]) -> Run:
        """Record what a person did, before the run is driven."""
        self._check_clock()
        run = self.run
        for event in events:
            run = evolve(run, event)
        if run.phase in READING:
            self.outside.check(run)
            self._checked = True
        self._commit(run, list(events), ())
        return self.run

    def drive(self) -> Run:
        """Turn until the run is at rest: it ended, or waits for somebody or a distant instant."""
        self._check_clock()
        if self.run.phase in ACTING and not self._checked:
            self.outside.check(self.run)
        self._take_over()
        while self.run.phase not in ENDS and self._turn():
            if self.stop.count > 1 and not self._stopped:
                self._stopped = True
                self.outside.acts.stop()
        if self.run.phase in ENDS:
            self._let_go()
        return self.run

    def _let_go(self) -> None:
        # A run that is called off during its dry run ends while checks are under way.
        acts = self.outside.acts
        if acts.under_way:
            acts.stop()
        while acts.under_way and self.stop.count < LEAVE:
            acts.reports(TURN_S)

    def _check_clock(self) -> None:
        behind_ms = self.run.at_ms - self.clock_ms()
        if behind_ms > SLACK_MS:
            raise Unavailable(
                f"the clock stands {behind_ms / 1000:.0f} s before the last event of {self.run.id}",
                next_step="set the clock right; nothing was recorded",
            )

    def _take_over(self) -> None:
        work, preview = self.run.work, self.run.preview
        if (work and work.acting) or (preview and preview.acting):
            taken = TakenOver(at_ms=self._now_ms(), epoch=self.writer.epoch, driver=self.name)
            self._commit(evolve(self.run, taken), [taken], ())

    # --- one turn ---------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Do once what is due; say whether there is reason to turn again."""
        reports = self.outside.acts.reports(self._pause_s)
        now_ms, self._pause_s = self._now_ms(), 0.0
        run, events, taken = self._heard(reports, now_ms)
        run, commands = self._claimed(run, events, now_ms)
        if events or taken:
            self._commit(run, events, taken)
        begun = sum(self._begin(act) for act in commands if isinstance(act, Act))
        return bool(events or begun) or self._ask(commands, now_ms) or self._wait(now_ms)

    def _heard(
        self, reports: list[Report], now_ms: int
    ) -> tuple[Run, list[Event], tuple[int, ...]]:
        # Fold what was reported and asked since the last turn; what does not belong is dropped.
        run = self.run
        events: list[Event] = []
        for report in reports:
            event = ActFinished(
                at_ms=now_ms,
                step=report.step,
                verb=report.verb,
                attempt=report.attempt,
                outcome=report.outcome,
            )
            if belongs(run, event):
                run = evolve(run, event)
                events.append(event)
        asked, taken = self.asked(run, now_ms)
        for wish in asked:
            with contextlib.suppress(IllegalEvent):
                run = evolve(run, wish)
                events.append(wish)
        return run, events, taken

    def _claimed(
        self, run: Run, events: list[Event], now_ms: int
    ) -> tuple[Run, tuple[Command, ...]]:
        # Add to this commit what time made true, and the claims of all acts that are due.
        commands = due(run, now_ms)
        while notes := [command.event for command in commands if isinstance(command, Note)]:
            run = evolve(run, notes[0])
            events.append(notes[0])
            commands = due(run, now_ms)
        if self.stop.count:
            return run, tuple(c for c in commands if isinstance(c, Act) and c.orphan)
        for act in commands:
            if isinstance(act, Act) and not act.orphan:
                claim = ActStarted(at_ms=now_ms, step=act.step, verb=act.verb, attempt=act.attempt)
                run = evolve(run, claim)
                events.append(claim)
        return run, commands

    def _begin(self, act: Act) -> bool:
        if not act.orphan:
            self.outside.acts.begin(act)
        elif act not in self._following:
            self._following.add(act)
            self.outside.acts.attach(act)
        else:
            return False
        return True

    def _ask(self, commands: tuple[Command, ...], now_ms: int) -> bool:
        for command in commands:
            if isinstance(command, (Propose, Vet, Diagnose)):
                event = self.outside.ask(command, self.run, now_ms)
                self._commit(evolve(self.run, event), [event], ())
                return True
        return False

    def _wait(self, now_ms: int) -> bool:
        wake_ms = wakes_at(self.run)
        wake_s = None if wake_ms is None else max(0.0, (wake_ms - now_ms) / 1000)
        if self.outside.acts.under_way:
            # What is overdue waits for a place among the acts: to ask sooner would only spin.
            self._pause_s = min(TURN_S, wake_s or TURN_S)
            return self.stop.count < LEAVE
        if wake_s is None or wake_s > self.patience_s or self.stop.count:
            return False
        self._pause_s = min(TURN_S, wake_s)
        return True

    # --- the ledger -------------------------------------------------------------------------------

    def _commit(self, run: Run, events: Sequence[Event], taken: tuple[int, ...]) -> None:
        holds, held = run.phase in HOLDING, self.run.phase in HOLDING
        planned = run.plan is not None and run.plan is not self.run.plan
        self.writer.append(
            events,
            self.project(run),
            want=run.planned.locks if planned and run.revision == 0 else None,
            take=run.planned.locks if holds and not held else None,
            release=run.phase in ENDS,
            asks=taken,
        )
        self.run = run
        self.changed(run, events)

    def _now_ms(self) -> int:
        return max(self.clock_ms(), self.run.at_ms)
