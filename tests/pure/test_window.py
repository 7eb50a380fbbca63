"""The worst case is one: no run whose acts keep their limits takes longer than its plan says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from actors.spec import Done, Failed, Retries, Timeouts
from orchestrator.pure.commands import Note
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Cancelled,
    Confirmed,
    Opened,
    Planned,
    RollbackRequested,
    StartRequested,
    Vetted,
)
from orchestrator.pure.limits import limit_s
from orchestrator.pure.model import Decision, Obligations, PinnedActor, Plan, Window
from orchestrator.pure.run import due, evolve, opened, wakes_at
from orchestrator.pure.window import backward_s, forward_s, timing_with, worst_case
from pure.plans import DIGEST, NOON, TICKET_DIGEST, actor, plan_of, plans, step, ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.spec import ActorSpec, Outcome
    from orchestrator.pure.commands import Act
    from orchestrator.pure.state import Run

ALLOW: Final = Decision(outcome="allow", engine="test", policy_digest=DIGEST, input_digest=DIGEST)
WINDOW: Final = Window(start_ms=NOON, end_ms=NOON + 10**10)
AT_REST: Final = ("succeeded", "held", "rolled_back", "cancelled")
FATES: Final = ("in the end", "in the end", "at once", "never")
"""When an apply succeeds; until then it fails, each time as its manifest lets it be tried again."""


class Life:
    """A run by the clock: what is due begins at once, and every act takes its whole limit."""

    def __init__(self, plan: Plan, at_once: int, fates: Sequence[str]) -> None:
        self.now_ms, self.fates = NOON, fates
        self.ends: dict[Act, int] = {}
        self.back_ms: int | None = None
        """When the whole run turned round."""
        first = Opened(at_ms=NOON, ticket=ticket(), ticket_digest=TICKET_DIGEST, by="olga")
        self.run: Run = opened("run-1", first)
        bounds = ALLOW.model_copy(update={"obligations": Obligations(max_parallel=at_once)})
        digest = plan.digest()
        self.allowed = Vetted(at_ms=NOON, plan_digest=digest, decision=bounds)
        self.happens(Planned(at_ms=NOON, plan=plan, plan_digest=digest))
        self.happens(self.allowed)
        self.happens(StartRequested(at_ms=NOON, by="olga", plan_digest=digest))
        self.happens(self.allowed)

    def happens(self, fact: Any) -> None:
        self.run = evolve(self.run, fact.model_copy(update={"at_ms": self.now_ms}))
        undoing = self.run.work.undoing if self.run.work else None
        if self.back_ms is None and undoing is not None and undoing.slot is None:
            self.back_ms = self.now_ms

    def goes_back(self) -> None:
        fact = RollbackRequested if self.run.phase == "succeeded" else Cancelled
        self.happens(fact(at_ms=self.now_ms, by="olga", reason="back"))
        if self.run.phase == "returning":
            self.happens(self.allowed)

    def goes_on(self, until_ms: int | None = None) -> None:
        """Let it run until it is at rest, or until an instant."""
        while self.run.phase not in AT_REST:
            self._begins()
            wakes_ms = wakes_at(self.run)
            waits = () if wakes_ms is None or wakes_ms <= self.now_ms else (wakes_ms,)
            next_ms = min((*self.ends.values(), *waits), default=None)
            if next_ms is None:
                return
            if until_ms is not None and next_ms > until_ms:
                self.now_ms = until_ms
                return
            self.now_ms = next_ms
            for act in [act for act, end_ms in self.ends.items() if end_ms == next_ms]:
                del self.ends[act]
                self.happens(self._report(act))

    def _begins(self) -> None:
        while self.run.phase == "running" and self.run.working.gates:
            name = self.run.shaped.steps[min(self.run.working.gates)].id
            self.happens(Confirmed(at_ms=NOON, step=name, answer="7", by="olga"))
        for command in due(self.run, self.now_ms):
            if isinstance(command, Note):
                self.happens(command.event)
                self._begins()
                return
            act: Any = command
            self.ends[act] = self.now_ms + limit_s(self._spec(act).timeouts, act.verb) * 1000
            self.happens(ActStarted(at_ms=NOON, step=act.step, verb=act.verb, attempt=act.attempt))

    def _report(self, act: Act) -> ActFinished:
        outcome = self._outcome(act)
        return ActFinished(
            at_ms=NOON, step=act.step, verb=act.verb, attempt=act.attempt, outcome=outcome
        )

    def _outcome(self, act: Act) -> Outcome:
        place, spec = self.run.shaped.place[act.step], self._spec(act)
        fate = self.fates[place % len(self.fates)]
        if act.attempt <= spec.retries.maximum and fate != "at once":
            return Failed(mode="busy")
        if fate == "never" and act.verb == "apply":
            return Failed(mode="refused")
        return Done(outputs={"count": 1} if act.verb == "apply" else {})

    def _spec(self, act: Act) -> ActorSpec:
        return self.run.actor(self.run.shaped.place[act.step])


@st.composite
def timed_plans(draw: st.DrawFn) -> Plan:
    """Any plan, in a window, whose actors differ in how long they may take."""
    plan = draw(plans(12))
    seconds = st.integers(1, 40)
    actors = {}
    for name, pinned in plan.actors.items():
        times = Timeouts(apply_s=draw(seconds), verify_s=draw(seconds), undo_s=draw(seconds))
        retries = Retries(
            maximum=draw(st.integers(0, 2)), backoff_s=draw(st.integers(0, 20)), factor=3
        )
        spec = pinned.spec.model_copy(update={"timeouts": times, "retries": retries})
        actors[name] = PinnedActor(spec=spec, digest=DIGEST)
    return plan.model_copy(update={"actors": actors, "window": WINDOW, "max_parallel": 10})


@given(timed_plans(), st.lists(st.sampled_from(FATES), min_size=1, max_size=12), st.integers(1, 4))
@settings(max_examples=300)
def test_no_run_takes_longer_than_the_worst_case_forward_or_back(
    plan: Plan, fates: list[str], at_once: int
) -> None:
    timing, life = timing_with(plan, at_once), Life(plan, at_once, fates)
    life.goes_on()
    forward_ms = life.now_ms if life.back_ms is None else life.back_ms
    assert forward_ms - NOON <= timing.forward_s * 1000
    event(life.run.phase)
    if life.run.phase in ("succeeded", "held"):
        life.goes_back()
        life.goes_on()
    assert life.run.phase in ("rolled_back", "cancelled")
    assert life.back_ms is not None
    assert life.now_ms - life.back_ms <= timing.rollback_s * 1000


@given(
    timed_plans(),
    st.lists(st.sampled_from(FATES), min_size=1, max_size=12),
    st.integers(1, 4),
    st.floats(0, 1),
)
@settings(max_examples=300)
def test_what_is_called_back_by_the_last_safe_abort_is_back_in_time(
    plan: Plan, fates: list[str], at_once: int, when: float
) -> None:
    timing, life = timing_with(plan, at_once), Life(plan, at_once, fates)
    assert timing.last_safe_abort_ms is not None
    room_ms = WINDOW.end_ms - timing.last_safe_abort_ms
    life.goes_on(until_ms=NOON + int(when * timing.forward_s * 1000))
    called_ms = life.now_ms
    if life.back_ms is None:
        life.goes_back()
    life.goes_on()
    assert life.run.phase in ("rolled_back", "cancelled")
    assert life.now_ms - called_ms <= room_ms


def test_an_attempt_is_counted_as_long_as_it_is_let_run() -> None:
    spec = actor(retries=2).model_copy(
        update={"timeouts": Timeouts(apply_s=100, verify_s=20, undo_s=50)}
    )
    assert forward_s(spec) == 3 * 120 + 10 + 20
    assert backward_s(spec) == 3 * 70 + 10 + 20


@pytest.mark.parametrize(("stop_after", "stopped_s"), [(1, 0), (2, 720), (3, 1440), (9, 1440)])
def test_a_slice_that_may_fail_alone_stops_all_else_meanwhile(
    stop_after: int, stopped_s: int
) -> None:
    # An act takes up to 360 s; so does undoing the one step of a slice.
    slices = [step(f"a@{n}", slot=("w", n)) for n in (1, 2)]
    plan = plan_of(*slices, step("b"), stop_after={"w": stop_after}, max_parallel=1)
    assert worst_case(plan, 1).forward_s == 3 * 360 + stopped_s


def test_times_are_counted_again_only_where_fewer_may_act_at_once() -> None:
    plan = plan_of(step("a"), step("b"), max_parallel=2)
    assert timing_with(plan, 2) is plan.timing
    assert timing_with(plan, 3) is plan.timing
    assert timing_with(plan, 1) == worst_case(plan, 1) != plan.timing
