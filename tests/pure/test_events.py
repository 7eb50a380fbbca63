"""The ledger is for ever: the shape of every fact and of the great nouns, against a reviewed
snapshot.

A change of a file in `schemas/` means that ledgers written before may not be readable after.
`pytest --rewrite` writes the snapshots again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from actors.spec import ActorSpec
from orchestrator.pure import events
from orchestrator.pure.draft import Draft
from orchestrator.pure.events import Event, Opened, event_from_json, event_to_json
from orchestrator.pure.model import (
    Decision,
    Denial,
    Instant,
    Obligations,
    Plan,
    Ticket,
    WaiverUse,
)
from orchestrator.pure.run import RULES
from pure.plans import TICKET_DIGEST, plan_of, step, ticket
from world import FakeDriver, FakeWorld

if TYPE_CHECKING:
    from pydantic import BaseModel

SCHEMAS: Final = Path(__file__).parent / "schemas"
FACTS: Final[tuple[type[BaseModel], ...]] = get_args(get_args(Event)[0])
SHAPES: Final[tuple[type[BaseModel], ...]] = (*FACTS, Plan, Draft, Ticket, ActorSpec)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.__name__ for shape in SHAPES])
def test_the_shape_is_the_one_that_ledgers_hold(
    shape: type[BaseModel], request: pytest.FixtureRequest
) -> None:
    path = SCHEMAS / f"{shape.__name__}.json"
    told = json.dumps(shape.model_json_schema(), indent=1, sort_keys=True) + "\n"
    if request.config.getoption("--rewrite"):
        SCHEMAS.mkdir(exist_ok=True)
        path.write_text(told, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == told


def test_no_snapshot_is_left_of_a_shape_that_is_gone() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == {shape.__name__ for shape in SHAPES}


def test_every_fact_but_the_first_has_a_rule() -> None:
    assert {*RULES, Opened} == set(FACTS)


def test_every_fact_is_offered_by_name() -> None:
    assert {fact.__name__ for fact in FACTS} <= set(events.__all__)


def test_a_fact_is_read_as_it_was_written() -> None:
    drive = FakeDriver(FakeWorld(plan_of(step("a"))))
    drive.open(window={"start": "2026-11-25T02:00:00+01:00", "end": "2026-11-25T04:00:00Z"})
    drive.until_rest()
    for fact in drive.ledger:
        assert event_from_json(event_to_json(fact)) == fact


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"at_ms": "noon"}, {"at_ms": -1}, {"at_ms": 1.5}, {"type": "unheard"}],
    ids=["another field", "words for a time", "before time", "half a time", "another type"],
)
def test_a_torn_event_is_refused(change: dict[str, Any]) -> None:
    whole = {"type": "paused", "at_ms": 1, "by": "olga"}
    assert event_from_json(json.dumps(whole)).at_ms == 1
    with pytest.raises(ValidationError):
        event_from_json(json.dumps({**whole, **change}))


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T01:00:00.250+01:00", 250),
        ("2026-11-25T02:00:00+01:00", 1_795_568_400_000),
    ],
    ids=["utc", "milliseconds", "offset"],
)
def test_an_instant_is_read_with_its_offset(text: str, ms: int) -> None:
    assert TypeAdapter(Instant).validate_python(text) == ms


@pytest.mark.parametrize("text", ["2026-11-25T02:00:00", "tomorrow", ""], ids=repr)
def test_a_time_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"offset|date and time"):
        TypeAdapter(Instant).validate_python(text)


def test_a_plan_has_another_digest_when_anything_in_it_changes() -> None:
    plan = plan_of(step("a"), step("b", after=("a",)))
    first, second = plan.steps
    others = [
        plan.model_copy(update={"environment": "production"}),
        plan.model_copy(update={"max_parallel": 9}),
        plan.model_copy(update={"steps": (first,)}),
        plan.model_copy(update={"steps": (first, second.model_copy(update={"after": ()}))}),
        plan.model_copy(update={"steps": (second, first)}),
    ]
    assert len({plan.digest(), *(other.digest() for other in others)}) == 6
    assert plan.model_copy().digest() == plan.digest()


def test_a_ticket_is_closed() -> None:
    assert ticket().environment == "staging"
    with pytest.raises(ValidationError, match="Extra inputs"):
        ticket(approved=True)
    assert len(TICKET_DIGEST) == 64


def test_a_decision_from_before_levels_keeps_its_bytes() -> None:
    """Approvals sign its digest: a field that came later must not change it."""
    before = {
        "outcome": "allow",
        "denials": [],
        "warnings": [{"rule": "consent", "step": None, "message": "late", "edit": None}],
        "missing": [{"role": "operator", "count": 1}],
        "obligations": {"max_parallel": 4, "not_after_ms": None},
        "engine": "builtin 1",
        "policy_digest": "a" * 64,
        "input_digest": "b" * 64,
    }
    assert Decision.model_validate_json(json.dumps(before)).model_dump(mode="json") == before


def test_a_decision_of_today_is_read_as_it_was_written() -> None:
    denial = Denial(rule="window", message="late", finding="late", level="soft", waiver="w1")
    use = WaiverUse(
        id="w1",
        rule="window",
        owner="ann",
        ticket="CHG-1",
        reason="the vendor is late",
        until_ms=9,
        state="applied",
    )
    told = Decision(
        outcome="allow",
        warnings=(denial,),
        obligations=Obligations(stop_after=2),
        engine="builtin 1",
        policy_digest="a" * 64,
        input_digest="b" * 64,
        waivers=(use,),
    )
    assert Decision.model_validate_json(told.model_dump_json()) == told
    assert json.loads(told.model_dump_json()) == told.model_dump(mode="json")
