"""What is said to be done stands: nothing that was undone is counted."""

from __future__ import annotations

from orchestrator.pure.events import Cancelled, RollbackRequested
from orchestrator.pure.standing import done_steps, undone_steps
from pure.plans import actor, plan_of, step
from pure.test_machine import opened
from pure.test_run import Watched, started


def going_back(drive: Watched) -> Watched:
    drive.record(RollbackRequested(at_ms=drive.now_ms, by="olga", reason="back"))
    return drive


def succeeded() -> Watched:
    drive = started(
        plan_of(
            step("look", actor=actor("read", "none")),
            step("kept", actor=actor("change", "none"), after=("look",)),
            step("a", after=("kept",)),
            step("b", after=("a",)),
        )
    )
    drive.until_rest()
    assert drive.run.phase == "succeeded"
    return drive


def test_nothing_is_done_before_anything_acts() -> None:
    assert (done_steps(opened().run), undone_steps(opened().run)) == (0, 0)


def test_all_steps_of_a_success_are_done() -> None:
    assert (done_steps(succeeded().run), undone_steps(succeeded().run)) == (4, 0)


def test_after_a_rollback_only_what_could_not_be_undone_is_done() -> None:
    drive = going_back(succeeded())
    drive.until_rest()
    assert drive.run.phase == "rolled_back"
    assert (done_steps(drive.run), undone_steps(drive.run)) == (1, 2)


def test_on_the_way_back_what_is_not_yet_undone_is_done() -> None:
    drive = going_back(succeeded())
    seen = []
    while drive.run.phase != "rolled_back":
        drive.do(drive.due()[0])
        if drive.run.phase == "rolling_back":
            seen.append((done_steps(drive.run), undone_steps(drive.run)))
    assert seen[0] == (2, 0)
    assert seen[-1] == (1, 0)


def test_a_torn_apply_that_stays_is_not_done() -> None:
    drive = started(plan_of(step("a", actor=actor("change", "none"))))
    drive.world.will("a", "apply", "fail torn")
    drive.until_rest()
    assert drive.run.phase == "rolled_back"
    assert drive.run.touched == [0]
    assert done_steps(drive.run) == 0


def test_a_slice_that_goes_back_alone_leaves_the_others_done() -> None:
    drive = started(
        plan_of(step("a@1", slot=("w", 1)), step("a@2", slot=("w", 2)), stop_after={"w": 2})
    )
    drive.world.will("a@1", "apply", "fail refused")
    drive.until_rest()
    assert done_steps(drive.run) == 1
    drive.record(Cancelled(at_ms=drive.now_ms, by="olga", reason="enough"))
    drive.until_rest()
    assert (done_steps(drive.run), undone_steps(drive.run)) == (0, 1)
