"""Examples for seeded bugs that no test, or only a long search, had found (tests/mutants.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.spec import Done, Found, InDoubt
from orchestrator.errors import IllegalEvent
from orchestrator.pure.canonical import merkle_levels, proves
from orchestrator.pure.commands import Act
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Cancelled,
    Planned,
    RollbackRequested,
    StartRequested,
    Vetted,
)
from orchestrator.pure.run import evolve
from pure.plans import actor, plan_of, step
from world import ALLOW, FakeDriver, FakeWorld

if TYPE_CHECKING:
    from actors.spec import Outcome, Verb
    from orchestrator.pure.model import Plan


def begun(plan: Plan, words: dict[tuple[str, str], str]) -> FakeDriver:
    """Start a run whose world says the same words again and again."""
    drive = FakeDriver(FakeWorld(plan))
    for (name, verb), word in words.items():
        drive.world.will(name, verb, *[word] * 50)
    drive.open()
    drive.until_rest()
    start = StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=plan.digest())
    drive.record(start)
    return drive


def claims(drive: FakeDriver, verb: str) -> int:
    return sum(isinstance(e, ActStarted) and e.verb == verb for e in drive.ledger)


def driven(drive: FakeDriver) -> None:
    """Drive for so many turns as three attempts could ever need."""
    for _ in range(60):
        asked = drive.due()
        if not asked:
            return
        drive.do(asked[0])


def test_a_step_that_is_always_interrupted_is_left_to_a_person() -> None:
    drive = begun(plan_of(step("a")), {("a", "apply"): "in doubt before"})
    driven(drive)
    assert (drive.run.phase, claims(drive, "apply")) == ("held", 4)


def test_a_verify_that_never_answers_is_asked_three_times() -> None:
    words = {("a", "apply"): "in doubt after", ("a", "verify"): "in doubt"}
    drive = begun(plan_of(step("a")), words)
    driven(drive)
    assert (drive.run.phase, claims(drive, "verify")) == ("held", 3)


def test_a_decision_on_another_plan_is_refused() -> None:
    drive = FakeDriver(FakeWorld(plan_of(step("a"))))
    drive.open()
    drive.do(drive.due()[0])
    assert drive.run.phase == "vetting"
    assert drive.refuses(Vetted(at_ms=drive.now_ms, plan_digest="0" * 64, decision=ALLOW))


def test_a_new_plan_may_not_leave_the_targets_of_the_first() -> None:
    first = plan_of(step("a"))
    drive = FakeDriver(FakeWorld(first))
    drive.open()
    again = drive.run._replace(phase="drafting", bound=frozenset({"web1"}))
    inside, outside = (
        plan.model_copy(
            update={"steps": tuple(s.model_copy(update={"targets": names}) for s in plan.steps)}
        )
        for plan, names in ((first, ("web1",)), (first, ("web1", "web2")))
    )
    planned = evolve(again, Planned(at_ms=drive.now_ms, plan=inside, plan_digest=inside.digest()))
    assert planned.phase == "vetting"
    with pytest.raises(IllegalEvent, match="leaves the targets"):
        evolve(again, Planned(at_ms=drive.now_ms, plan=outside, plan_digest=outside.digest()))


def test_a_step_that_may_happen_once_only_is_never_offered_again() -> None:
    once = actor(idempotent=False)
    drive = begun(plan_of(step("a", actor=once)), {("a", "apply"): "unexpected after"})
    driven(drive)
    assert drive.run.phase == "held"
    assert not [name for name in drive.offered() if name.startswith("retry")]


def applied(unchanged: tuple[str, ...], attempt: int = 1) -> FakeDriver:
    """Apply a step on two targets, on some of which there was nothing to do."""
    plan = plan_of(step("a"))
    both = tuple(s.model_copy(update={"targets": ("web1", "web2")}) for s in plan.steps)
    drive = acting(plan.model_copy(update={"steps": both}))
    for number in range(1, attempt):
        drive.claim(Act("a", "apply", number))
        drive.take(_finished(drive, number, InDoubt(message="cut off")))
        drive.claim(Act("a", "verify", number))
        drive.take(_finished(drive, number, Found(state="not_applied"), "verify"))
    drive.claim(Act("a", "apply", attempt))
    outcome = Done(outputs={"count": 1}, unchanged=unchanged)
    drive.take(_finished(drive, attempt, outcome))
    return drive


def _finished(
    drive: FakeDriver, attempt: int, outcome: Outcome, verb: Verb = "apply"
) -> ActFinished:
    return ActFinished(at_ms=drive.now_ms, step="a", verb=verb, attempt=attempt, outcome=outcome)


def test_an_undo_leaves_what_the_apply_found_done() -> None:
    drive = applied(("web2",))
    assert (drive.run.phase, drive.run.step(0).unchanged) == ("succeeded", ("web2",))
    drive.record(RollbackRequested(at_ms=drive.now_ms, by="olga", reason="back"))
    assert drive.run.step(0).unchanged == ("web2",)
    drive.until_rest()
    assert (drive.run.phase, drive.run.step(0).unchanged) == ("rolled_back", ())


def test_what_a_second_attempt_found_done_may_be_of_the_first() -> None:
    drive = applied(("web2",), attempt=2)
    assert (drive.run.phase, drive.run.step(0).unchanged) == ("succeeded", ())


@pytest.mark.parametrize("unchanged", [("web1", "web2"), ("db1",)])
def test_an_apply_that_misnames_what_it_found_done_is_an_incident(
    unchanged: tuple[str, ...],
) -> None:
    drive = applied(unchanged)
    assert drive.run.phase == "held"
    assert "names as unchanged" in drive.run.incidents[0].message


# --- what a digest proves -------------------------------------------------------------------------


def test_two_leaves_together_are_not_their_node() -> None:
    levels = merkle_levels([b"a", b"b"])
    assert not proves(b"".join(levels[0]), (), levels[-1][0].hex())


# --- how often, and how many at once --------------------------------------------------------------


def test_a_foreseen_failure_is_retried_as_often_as_declared() -> None:
    drive = begun(plan_of(step("a", actor=actor(retries=1))), {("a", "apply"): "fail busy"})
    drive.until_rest()
    assert (drive.run.phase, claims(drive, "apply")) == ("rolled_back", 2)


def test_no_more_begins_than_may_be_under_way() -> None:
    drive = acting(plan_of(step("a"), step("b"), step("c"), max_parallel=2))
    assert drive.due() == (Act("a", "apply", 1), Act("b", "apply", 1))
    drive.claim(Act("a", "apply", 1))
    assert drive.due() == (Act("b", "apply", 1),)


def test_a_report_of_another_attempt_changes_nothing() -> None:
    drive = acting(plan_of(step("a")))
    drive.claim(Act("a", "apply", 1))
    late = ActFinished(at_ms=drive.now_ms, step="a", verb="apply", attempt=2, outcome=Done())
    assert not drive.take(late)


# --- whose turn it is -----------------------------------------------------------------------------


def acting(plan: Plan) -> FakeDriver:
    """Bring a run to the moment when its first acts are due."""
    drive = begun(plan, {})
    drive.do(drive.due()[0])
    return drive


def test_a_step_waits_for_all_that_come_before_it() -> None:
    drive = acting(plan_of(step("a"), step("b"), step("c", after=("a", "b"))))
    drive.do(Act("a", "apply", 1))
    assert drive.due() == (Act("b", "apply", 1),)


def test_a_slice_waits_for_every_step_of_the_slice_before() -> None:
    slots = [step(f"{name}@{n}", slot=("w", n)) for n in (1, 2) for name in ("a", "b")]
    drive = acting(plan_of(*slots))
    drive.do(Act("a@1", "apply", 1))
    assert drive.due() == (Act("b@1", "apply", 1),)
    drive.do(Act("b@1", "apply", 1))
    assert drive.due() == (Act("a@2", "apply", 1), Act("b@2", "apply", 1))


def test_a_run_that_was_called_off_begins_nothing_while_something_ends() -> None:
    drive = acting(plan_of(step("a"), step("b")))
    drive.claim(Act("a", "apply", 1))
    drive.record(Cancelled(at_ms=drive.now_ms, by="olga", reason="stop"))
    assert drive.due() == ()


def test_an_open_incident_begins_nothing_while_something_ends() -> None:
    drive = acting(plan_of(step("a"), step("b"), step("c")))
    drive.world.will("a", "apply", "unexpected before")
    drive.claim(Act("a", "apply", 1))
    drive.claim(Act("b", "apply", 1))
    drive.hear("a", "apply")
    assert drive.run.incidents
    assert drive.due() == ()


def test_what_stands_alone_is_undone_newest_first() -> None:
    drive = acting(plan_of(step("a"), step("b"), step("c")))
    for name in ("b", "c", "a"):
        drive.do(Act(name, "apply", 1))
    assert drive.run.phase == "succeeded"
    drive.record(RollbackRequested(at_ms=drive.now_ms, by="olga", reason="back"))
    drive.until_rest()
    undone = [e.step for e in drive.ledger if isinstance(e, ActStarted) and e.verb == "undo"]
    assert undone == ["a", "c", "b"]
