"""What the verbs decide before they record anything."""

from __future__ import annotations

from orchestrator.pure.events import Cancelled, Paused, StartRequested, Unpaused
from orchestrator.verbs import unpausing
from pure.plans import plan_of, step
from world import FakeDriver, FakeWorld


def _acting() -> FakeDriver:
    drive = FakeDriver(FakeWorld(plan_of(step("a"), step("b", after=("a",)))))
    drive.open()
    drive.until_rest()
    drive.record(StartRequested(at_ms=drive.now_ms, by="olga", plan_digest=drive.run.plan_digest))
    drive.do(drive.due()[0])
    drive.do(drive.due()[0])
    drive.record(Paused(at_ms=drive.now_ms, by="olga"))
    return drive


def test_resuming_lifts_a_pause() -> None:
    (lifted,) = unpausing(_acting().run)
    assert isinstance(lifted, Unpaused)


def test_resuming_on_the_way_back_has_no_pause_to_lift() -> None:
    drive = _acting()
    drive.record(Cancelled(at_ms=drive.now_ms, by="olga", reason="not today"))
    assert (drive.run.phase, drive.run.paused) == ("rolling_back", True)
    assert unpausing(drive.run) == []
