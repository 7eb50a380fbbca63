"""The machine's refusals and its corners: one small example each."""

from __future__ import annotations

from typing import Any

import pytest

from actors.spec import Done, Failed, Found, InDoubt, Predicted, Unexpected
from orchestrator.errors import IllegalEvent
from orchestrator.pure import preview
from orchestrator.pure.commands import Act, Vet
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Cancelled,
    Confirmed,
    HoldPassed,
    Paused,
    Planned,
    PreviewRequested,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
    TakenOver,
    Unpaused,
    Vetted,
    WindowClosed,
)
from orchestrator.pure.model import Condition, Obligations, Param, Remedy
from orchestrator.pure.run import belongs, due, offered, wakes_at
from orchestrator.pure.turns import holds, inputs
from pure.plans import NOON, actor, plan_of, step
from pure.test_run import Watched, started
from world import ALLOW, FakeWorld


def opened(*sketches: Any) -> Watched:
    drive = Watched(FakeWorld(plan_of(*(sketches or (step("a"),)))))
    drive.open()
    drive.until_rest()
    return drive


def remedy(kind: Any, name: str | None = None, *, agent: bool = False) -> RemedyChosen:
    chosen = Remedy(kind=kind, step=name)
    return RemedyChosen(at_ms=NOON, remedy=chosen, by="olga", agent=agent, reason="so")


def finished(name: str, verb: Any, outcome: Any, attempt: int = 1) -> ActFinished:
    return ActFinished(at_ms=NOON, step=name, verb=verb, attempt=attempt, outcome=outcome)


# --- refusals -------------------------------------------------------------------------------------


def test_a_run_without_a_plan_has_no_steps_to_report_on() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    drive.open()
    assert not belongs(drive.run, finished("a", "apply", Done()))
    with pytest.raises(IllegalEvent, match="does not hold"):
        _ = drive.run.planned


def test_no_report_belongs_while_nothing_can_be_under_way() -> None:
    assert not belongs(opened().run, finished("a", "apply", Done()))


def test_a_plan_of_another_ticket_is_refused() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    drive.open()
    other = drive.world.plan.model_copy(update={"ticket_digest": "8" * 64})
    assert drive.refuses(Planned(at_ms=NOON, plan=other, plan_digest=other.digest()))


def test_a_new_plan_may_not_leave_the_targets_of_the_first() -> None:
    drive = started(plan_of(step("a")))
    drive.world.will("a", "apply", "unexpected before")
    drive.until_rest()
    drive.record(remedy("replan"))
    while isinstance(drive.due()[0], Act):
        drive.do(drive.due()[0])
    wider = plan_of(step("a"), step("b"))
    assert drive.run.phase == "drafting"
    assert drive.refuses(Planned(at_ms=NOON, plan=wider, plan_digest=wider.digest()))


def test_a_decision_about_another_plan_is_refused() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    drive.open()
    drive.do(drive.due()[0])
    assert drive.refuses(Vetted(at_ms=NOON, plan_digest="0" * 64, decision=ALLOW))


def test_an_epoch_only_grows() -> None:
    drive = opened()
    drive.record(TakenOver(at_ms=NOON, epoch=2, driver="two"))
    assert drive.refuses(TakenOver(at_ms=NOON, epoch=2, driver="again"))


def test_only_a_gate_that_waits_can_be_answered_and_only_a_hold_can_pass() -> None:
    drive = started(plan_of(step("a"), step("wait", hold_until_ms=NOON + 5_000)))
    assert drive.refuses(Confirmed(at_ms=NOON, step="a", answer="7", by="olga"))
    assert drive.refuses(HoldPassed(at_ms=NOON, step="a"))
    assert drive.refuses(HoldPassed(at_ms=NOON, step="wait"))
    assert drive.refuses(HoldPassed(at_ms=NOON, step="nobody"))


def test_a_window_closes_once() -> None:
    drive = started(plan_of(step("a"), on_window_close="finish"))
    drive.record(WindowClosed(at_ms=NOON))
    assert drive.refuses(WindowClosed(at_ms=NOON))


def test_who_goes_back_cannot_be_told_to_go_back() -> None:
    drive = started(plan_of(step("a")))
    drive.do(drive.due()[0])
    drive.record(RollbackRequested(at_ms=NOON, by="olga", reason="back"))
    drive.do(Vet("rollback"))
    assert drive.refuses(Cancelled(at_ms=NOON, by="olga", reason="enough"))


def test_the_agent_answers_only_when_it_was_asked_and_only_from_the_list() -> None:
    drive = started(plan_of(step("a")))
    drive.world.will("a", "apply", "unexpected before")
    drive.until_rest()
    assert drive.run.phase == "held"
    assert drive.refuses(remedy("retry", "a", agent=True))
    assert drive.refuses(remedy("retry", "b"))


def test_reports_that_answer_another_question_are_incidents() -> None:
    drive = started(plan_of(step("a")))
    drive.claim(drive.due()[0])
    drive.record(finished("a", "apply", Found(state="applied")))
    assert drive.run.incidents[0].message == "an apply answered with 'found'"
    drive.record(remedy("roll_back"))
    drive.claim(drive.due()[0])
    drive.record(finished("a", "verify", Found(state="partial")))
    drive.claim(drive.due()[0])
    drive.record(finished("a", "undo", Predicted(grade="none")))
    assert drive.run.incidents[0].message == "an undo answered with 'predicted'"


# --- the dry run ----------------------------------------------------------------------------------


def test_a_dry_run_counts_its_grades_and_refuses_other_acts() -> None:
    drive = opened(step("a"), step("b"), step("gate", confirm="7"))
    drive.record(PreviewRequested(at_ms=NOON, by="olga"))
    assert drive.refuses(ActStarted(at_ms=NOON, step="a", verb="apply", attempt=1))
    assert drive.refuses(ActStarted(at_ms=NOON, step="gate", verb="check", attempt=1))
    first, second = drive.due()
    assert isinstance(first, Act)
    assert isinstance(second, Act)
    drive.world.will("b", "check", "in doubt", "unexpected")
    drive.claim(second)
    drive.hear("b", "check")
    assert drive.due() == (Act("a", "check", 1), Act("b", "check", 2))
    drive.claim(drive.due()[1])
    drive.record(finished("b", "check", Done(), attempt=2))
    run = drive.run
    drive.until_rest()
    assert preview.grades(drive.run) == {"predicted": 2, "partial": 0, "none": 1}
    assert preview.grades(run)["none"] == 1


def test_who_only_reads_and_cannot_predict_changes_nothing_all_the_same() -> None:
    reader = actor("read", "none").model_copy(update={"dry_run": "none"})
    drive = opened(step("a"), step("look", actor=reader))
    drive.record(PreviewRequested(at_ms=NOON, by="olga"))
    assert drive.due() == (Act("a", "check", 1),)
    drive.until_rest()
    assert preview.grades(drive.run) == {"predicted": 2, "partial": 0, "none": 0}


# --- bounds ---------------------------------------------------------------------------------------


def test_a_read_that_is_interrupted_begins_again_a_bounded_number_of_times() -> None:
    drive = started(plan_of(step("a", actor=actor("read", "none"))))
    drive.world.will("a", "apply", *["in doubt before"] * 9)
    drive.until_rest()
    assert (drive.run.phase, drive.seen.steps[0].applies) == ("held", 4)
    assert "were interrupted" in drive.run.reason


def test_a_read_that_is_interrupted_while_the_run_stops_does_not_begin_again() -> None:
    drive = started(plan_of(step("a", actor=actor("read", "none"))))
    drive.claim(drive.due()[0])
    drive.record(Cancelled(at_ms=NOON, by="olga", reason="enough"))
    drive.record(finished("a", "apply", InDoubt(message="lost")))
    assert drive.run.phase == "cancelled"


def test_after_twenty_remedies_only_a_person_can_go_on_by_hand() -> None:
    drive = started(plan_of(step("a")))
    drive.world.will("a", "apply", *["unexpected before"] * 30)
    for _ in range(20):
        drive.until_rest()
        assert {"retry:a", "roll_back", "take_over"} <= {one.name for one in offered(drive.run)}
        drive.record(remedy("retry", "a"))
    drive.until_rest()
    assert [one.name for one in offered(drive.run)] == ["take_over"]


def test_a_written_draft_is_not_planned_again() -> None:
    drive = Watched(FakeWorld(plan_of(step("a"))))
    drive.open(draft="{}")
    drive.until_rest()
    drive.world.will("a", "apply", "unexpected before")
    start = drive.run.plan_digest
    drive.record(StartRequested(at_ms=NOON, by="olga", plan_digest=start))
    drive.until_rest()
    assert "replan" not in {r.kind for r in offered(drive.run)}


# --- slices ---------------------------------------------------------------------------------------


def test_what_stood_ready_on_a_slice_that_went_back_waits_again() -> None:
    plan = plan_of(
        step("a@1", slot=("w", 1)),
        step("b@1", slot=("w", 1)),
        step("a@2", slot=("w", 2)),
        step("on", after=("a@1",)),
        step("ask", after=("a@1",), confirm="7"),
        stop_after={"w": 3},
    )
    drive = started(plan)
    first, second = drive.due()
    assert isinstance(first, Act)
    assert isinstance(second, Act)
    drive.claim(first)
    drive.claim(second)
    drive.hear("a@1", "apply")
    assert Act("on", "apply", 1) in drive.due()
    drive.record(finished("b@1", "apply", Failed(mode="refused")))
    drive.until_rest()
    assert drive.run.phase == "held"
    assert drive.world.truth == {"a@1": "not applied", "b@1": "applied", "a@2": "applied"}
    assert drive.refuses(Confirmed(at_ms=NOON, step="ask", answer="7", by="olga"))


def test_policy_may_turn_a_run_round_after_fewer_failed_slices_than_the_plan() -> None:
    plan = plan_of(
        step("a@1", slot=("w", 1)),
        step("b@1", after=("a@1",), slot=("w", 1)),
        step("a@2", slot=("w", 2)),
        stop_after={"w": 3},
    )
    bound = ALLOW.model_copy(update={"obligations": Obligations(stop_after=1)})
    drive = Watched(FakeWorld(plan))
    drive.world.policy.extend((bound, bound))
    drive.open()
    drive.until_rest()
    drive.record(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.case.digest))
    drive.do(drive.due()[0])
    drive.world.will("b@1", "apply", "fail refused")
    drive.until_rest()
    assert drive.run.phase == "rolled_back"
    assert drive.world.truth["a@2"] == "not applied"


def test_what_waits_for_more_than_the_slice_that_went_back_goes_on_waiting() -> None:
    plan = plan_of(
        step("a@1", slot=("w", 1)),
        step("b@1", after=("a@1",), slot=("w", 1)),
        step("ask", confirm="7"),
        step("on", after=("a@1", "ask")),
        stop_after={"w": 3},
    )
    drive = started(plan)
    drive.world.will("b@1", "apply", "fail refused")
    drive.until_rest()
    drive.record(Confirmed(at_ms=drive.now_ms, step="ask", answer="7", by="olga"))
    drive.until_rest()
    assert drive.run.phase == "held"
    assert drive.world.truth["on"] == "not applied"
    assert drive.world.truth["a@1"] == "not applied"


def test_a_slice_on_which_others_stand_takes_the_whole_run_back() -> None:
    plan = plan_of(
        step("a@1", slot=("w", 1)),
        step("b@1", after=("a@1",), slot=("w", 1)),
        step("on", after=("a@1",)),
        stop_after={"w": 3},
    )
    drive = started(plan)
    drive.do(drive.due()[0])
    drive.do(next(c for c in drive.due() if isinstance(c, Act) and c.step == "on"))
    drive.world.will("b@1", "apply", "fail torn")
    drive.until_rest()
    assert drive.run.phase == "rolled_back"
    assert set(drive.world.truth.values()) == {"not applied"}


def test_a_condition_holds_also_for_a_slice_that_opens_after_a_failed_one() -> None:
    plan = plan_of(
        step("look", actor=actor("read", "none")),
        step("a@1", slot=("w", 1)),
        step(
            "a@2",
            after=("look",),
            when=Condition(output="look.count", op=">", value=5),
            slot=("w", 2),
        ),
        stop_after={"w": 3},
    )
    drive = started(plan)
    drive.do(drive.due()[0])
    drive.world.will("a@1", "apply", "fail refused")
    drive.until_rest()
    assert drive.world.effects == []
    assert not drive.complaints


# --- conditions and outputs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "value", "on"),
    [
        ("==", 1, True),
        ("!=", 1, False),
        ("<", 2, True),
        ("<=", 0, False),
        (">", 0, True),
        (">=", 2, False),
        ("==", True, False),
        ("<", "2", False),
        ("!=", "1", True),
    ],
    ids=range(9),
)
def test_a_condition_compares_like_with_like(op: Any, value: Any, on: bool) -> None:
    condition = Condition(output="a.count", op=op, value=value)
    run = started(plan_of(step("a"), step("b", after=("a",)))).run
    assert holds(run.shape, condition, {0: run.step(0)._replace(outputs={"count": 1})}) is on


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ({}, "did not put out count"),
        ({"count": 1, "more": 2}, "does not declare"),
        ({"count": "one"}, "must be a whole number"),
    ],
    ids=["missing", "undeclared", "mistyped"],
)
def test_outputs_that_do_not_fit_the_manifest_are_an_incident(
    outputs: dict[str, Any], why: str
) -> None:
    drive = started(plan_of(step("a")))
    drive.claim(drive.due()[0])
    drive.record(finished("a", "apply", Done(outputs=outputs)))
    assert drive.run.phase == "held"
    assert why in drive.run.reason


def test_a_reference_to_a_skipped_step_has_no_value() -> None:
    off = Condition(output="a.count", op=">", value=5)
    plan = plan_of(
        step("a"), step("b", after=("a",), when=off), step("c", after=("b",), wanted="b.count")
    )
    drive = started(plan)
    drive.until_rest()
    assert "which has no value" in drive.run.reason
    assert [r.kind for r in offered(drive.run)] == ["roll_back", "replan", "take_over"]


def test_an_undo_that_nobody_foresaw_is_kept_for_a_person() -> None:
    drive = started(plan_of(step("a")))
    drive.until_rest()
    drive.record(RollbackRequested(at_ms=NOON, by="olga", reason="back"))
    drive.do(Vet("rollback"))
    drive.claim(drive.due()[0])
    drive.record(finished("a", "undo", Unexpected(message="")))
    assert drive.run.incidents[0].message == "no reason was given"
    assert due(drive.run, NOON) == ()
    assert drive.refuses(Unpaused(at_ms=NOON, by="olga"))


def test_what_is_ready_may_not_begin_while_nothing_forward_may() -> None:
    drive = started(plan_of(step("a")))
    drive.record(Paused(at_ms=NOON, by="olga"))
    assert drive.refuses(ActStarted(at_ms=NOON, step="a", verb="apply", attempt=1))


def test_the_checks_of_a_driver_that_died_are_asked_for_again() -> None:
    drive = opened()
    drive.record(PreviewRequested(at_ms=NOON, by="olga"))
    drive.claim(Act("a", "check", 1))
    drive.crash()
    assert drive.due() == (Act("a", "check", 1, orphan=True),)
    drive.until_rest()
    assert drive.run.phase == "approved"


def test_a_second_backoff_does_not_wake_at_the_instant_of_the_first() -> None:
    retrying = actor(retries=2)
    drive = started(plan_of(step("a", actor=retrying), step("b", actor=retrying)))
    drive.world.will("a", "apply", "fail busy", "fail busy")
    drive.world.will("b", "apply", "fail busy", "fail busy")
    drive.until_rest()
    assert (drive.run.phase, drive.now_ms) == ("succeeded", NOON + 30_000)


def test_a_stale_instant_deep_in_the_heap_wakes_nobody() -> None:
    plan = plan_of(step("a", actor=actor(retries=2)), step("pause", hold_until_ms=NOON + 5_000))
    drive = started(plan)
    drive.world.will("a", "apply", "fail busy", "fail busy")
    drive.do(drive.due()[0])
    drive.now_ms = NOON + 10_000
    drive.claim(Act("a", "apply", 2))
    drive.hear("a", "apply")
    drive.record(HoldPassed(at_ms=drive.now_ms, step="pause"))
    assert wakes_at(drive.run) == NOON + 30_000
    drive.until_rest()
    assert drive.run.phase == "succeeded"


def test_an_act_gets_its_values_where_its_plan_refers_to_outputs() -> None:
    plan = plan_of(step("a"), step("b", after=("a",), wanted="a.count"))
    given = Param(name="wanted", value=4, source="draft")
    first = plan.steps[0].model_copy(update={"params": (given,)})
    drive = started(plan.model_copy(update={"steps": (first, plan.steps[1])}))
    drive.world.will("a", "apply", "count 3")
    assert inputs(drive.run, 0) == {"wanted": 4}
    assert inputs(drive.run, 1) == {}
    drive.until_rest()
    assert inputs(drive.run, 1) == {"wanted": 3}
    assert drive.run.phase == "succeeded"


def test_an_optional_output_may_be_missing() -> None:
    spec = actor()
    optional = spec.outputs["count"].model_copy(update={"required": False})
    modest = spec.model_copy(update={"outputs": {"count": optional}})
    drive = started(plan_of(step("a", actor=modest)))
    drive.claim(drive.due()[0])
    drive.record(finished("a", "apply", Done()))
    assert drive.run.phase == "succeeded"
