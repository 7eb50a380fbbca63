"""Freezes: the hour on the wall of each place, as the instants that policy compares."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.policy_calendar import freezes

PLACES = ("prod", "staging")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def entry(**changes: Any) -> dict[str, Any]:
    fields = {
        "name": "rest",
        "environments": ["prod"],
        "zone": "Europe/Amsterdam",
        "from": "2026-12-18 18:00",
        "until": "2027-01-03 06:00",
    }
    return {**fields, **changes}


def found(*entries: Any, start: str, end: str) -> list[tuple[str, str]]:
    params = {"freeze": {"calendar": list(entries)}}
    return [
        (_iso(one.start_s), _iso(one.end_s)) for one in freezes(params, PLACES, ms(start), ms(end))
    ]


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M")


SPAN = {"start": "2026-12-01T00:00:00Z", "end": "2027-02-01T00:00:00Z"}


def test_the_hour_is_the_one_on_the_wall_of_the_place() -> None:
    rest = [("2026-12-18 17:00", "2027-01-03 05:00")]
    assert found(entry(), **SPAN) == rest
    assert found(entry(zone="America/New_York"), **SPAN) == [
        ("2026-12-18 23:00", "2027-01-03 11:00")
    ]
    assert found(entry(zone="Asia/Kolkata"), **SPAN) == [("2026-12-18 12:30", "2027-01-03 00:30")]
    assert found(entry(zone="UTC"), **SPAN) == [("2026-12-18 18:00", "2027-01-03 06:00")]


def test_summer_and_winter_differ_in_one_place() -> None:
    summer = entry(**{"from": "2026-07-01 00:00", "until": "2026-12-01 00:00"})
    span = {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
    assert found(summer, **span) == [("2026-06-30 22:00", "2026-11-30 23:00")]


def test_an_hour_that_comes_twice_or_never_makes_the_freeze_longer() -> None:
    span = {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}
    twice = {"from": "2026-10-25 02:30", "until": "2026-10-26 00:00"}
    assert found(entry(**twice), **span)[0][0] == "2026-10-25 00:30"
    until = {"from": "2026-10-24 00:00", "until": "2026-10-25 02:30"}
    assert found(entry(**until), **span)[0][1] == "2026-10-25 01:30"
    never = {"from": "2026-03-29 02:30", "until": "2026-03-30 00:00"}
    assert found(entry(**never), **span)[0][0] == "2026-03-29 00:30"
    gone = {"from": "2026-03-28 00:00", "until": "2026-03-29 02:30"}
    assert found(entry(**gone), **span)[0][1] == "2026-03-29 01:30"


def test_without_a_year_a_freeze_returns_and_may_cross_the_new_year() -> None:
    yearly = entry(**{"from": "12-18 18:00", "until": "01-03 06:00"})
    assert found(yearly, **SPAN) == [("2026-12-18 17:00", "2027-01-03 05:00")]
    inside = {"start": "2031-01-02T00:00:00Z", "end": "2031-01-02T01:00:00Z"}
    assert found(yearly, **inside) == [("2030-12-18 17:00", "2031-01-03 05:00")]
    assert found(yearly, start="2031-01-03T05:00:00Z", end="2031-01-04T00:00:00Z") == []


def test_only_what_touches_the_span_is_returned_the_earliest_first() -> None:
    spring = entry(**{"name": "a", "from": "2026-03-01 00:00", "until": "2026-03-02 00:00"})
    autumn = entry(**{"name": "b", "from": "2026-11-30 00:00", "until": "2026-12-02 00:00"})
    assert len(found(entry(), spring, autumn, **SPAN)) == 2
    assert found(entry(), autumn, **SPAN)[0][0] == "2026-11-29 23:00"


def test_where_there_is_no_calendar_there_are_no_freezes() -> None:
    nothing: tuple[Any, ...] = ({}, {"freeze": {}}, {"freeze": "none"}, None)
    for params in nothing:
        assert freezes(params, PLACES, 0, 1) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zone": "Europe/Atlantis"}, "not a time zone"),
        ({"zone": "../etc/passwd"}, "not a time zone"),
        ({"environments": ["prd"]}, "no environment prd; did you mean prod?"),
        ({"environments": []}, "environments"),
        ({"from": "2026-12-18T18:00:00+01:00"}, "from"),
        ({"from": "18.12.2026 18:00"}, "from"),
        ({"from": "12-18 18:00"}, "both have a year"),
        ({"from": "2026-02-30 00:00"}, "on no calendar"),
        ({"from": "2026-12-18 24:00"}, "on no calendar"),
        ({"until": "2026-12-18 18:00"}, "ends before it begins"),
        ({"until": None}, "until"),
        ({"untill": "2027-01-03 06:00"}, "untill"),
    ],
)
def test_a_calendar_that_cannot_be_read_stops_everything(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput) as stopped:
        found(entry(**change), **SPAN)
    assert words in str(stopped.value.what)
    assert "data.yaml" in str(stopped.value.what)
