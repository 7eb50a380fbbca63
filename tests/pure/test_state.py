"""What is copied by place is what would be copied by name."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

import pytest
from immutables import Map

from orchestrator.pure.queues import Queue
from orchestrator.pure.state import NOTHING_YET, READY, Run, StepRun, Work


def full(kind: type[Any]) -> Any:
    """Fill one with values that stand nowhere else in it."""
    numbers = count(100)
    return kind._make(f"{name} {next(numbers)}" for name in kind._fields)


STEP, WORK, RUN = full(StepRun), full(Work), full(Run)._replace(events=7)
CHANGED: Final[dict[str, Any]] = {
    "steps": Map({1: NOTHING_YET}),
    "acting": Map(),
    "began": 4,
    "left": 5,
    "ready": Queue(1, (1, 2)),
    "probes": Queue(3, (3,)),
}
BY_PLACE_AND_BY_NAME: Final[dict[str, tuple[Any, Any]]] = {
    "in_phase": (STEP.in_phase("left"), STEP._replace(phase="left")),
    "ready": (READY, NOTHING_YET._replace(phase="ready")),
    "done": (
        STEP.done({"n": 1}),
        STEP._replace(phase="succeeded", retried=False, outputs={"n": 1}, unchanged=()),
    ),
    "done in part": (
        STEP.done({"n": 1}, ("h1",)),
        STEP._replace(phase="succeeded", retried=False, outputs={"n": 1}, unchanged=("h1",)),
    ),
    **{
        f"begun {verb}": (
            STEP._replace(verb=verb).begun(5, STEP.touched),
            STEP._replace(verb=verb, phase="acting", **{counted: 5}),
        )
        for verb, counted in (("apply", "applies"), ("undo", "undos"), ("verify", "probes"))
    },
    "touched": (
        STEP._replace(verb="apply").begun(5, 6),
        STEP._replace(verb="apply", phase="acting", applies=5, touched=6),
    ),
    "changed": (WORK.changed(**CHANGED), WORK._replace(**CHANGED)),
    "after": (RUN.after(9), RUN._replace(at_ms=9, events=8)),
    "working_on": (RUN.working_on(WORK), RUN._replace(work=WORK)),
}


@pytest.mark.parametrize("way", BY_PLACE_AND_BY_NAME)
def test_a_copy_by_place_is_the_copy_by_name(way: str) -> None:
    by_place, by_name = BY_PLACE_AND_BY_NAME[way]
    assert by_place == by_name
    assert type(by_place) is type(by_name)
