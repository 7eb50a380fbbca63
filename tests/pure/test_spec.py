"""Values against the declarations of a manifest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from actors.spec import (
    SECRET_UNAVAILABLE,
    BooleanParam,
    Brief,
    ChoiceParam,
    IntegerParam,
    ListParam,
    SecretParam,
    TargetsParam,
    TextParam,
    Timeouts,
    Verb,
    problem_with,
)
from orchestrator.pure.limits import limit_s
from orchestrator.pure.model import Window
from pure.plans import actor

SPEC = actor()
TEXT = TextParam(type="text", summary="A name.", pattern="[a-z]+", max_length=5)
NUMBER = IntegerParam(type="integer", summary="A count.", minimum=1, maximum=9)
TRUTH = BooleanParam(type="boolean", summary="Whether.")
WORD = ChoiceParam(type="choice", summary="Which.", choices=("red", "blue"))
LIST = ListParam(type="list", summary="Some.", items=NUMBER, minimum=1, maximum=2)
TARGETS = TargetsParam(type="targets", summary="Where.")


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (TEXT, "abc"),
        (NUMBER, 9),
        (TRUTH, False),
        (WORD, "red"),
        (LIST, (1, 2)),
        (LIST, [1]),
        (TARGETS, ("web-1",)),
    ],
    ids=range(7),
)
def test_a_value_that_fits_has_no_problem(spec: Any, value: Any) -> None:
    assert problem_with(spec, value) is None


@pytest.mark.parametrize(
    ("spec", "value", "problem"),
    [
        (TEXT, 7, "must be a string"),
        (TEXT, "abcdef", "at most 5 characters"),
        (TEXT, "ABC", "must match"),
        (TEXT, "abc\n", "must match"),
        (NUMBER, "7", "must be a whole number"),
        (NUMBER, True, "must be a whole number"),
        (NUMBER, 10, "between 1 and 9"),
        (TRUTH, 1, "true or false"),
        (WORD, "green", "one of red, blue"),
        (WORD, "x" * 100, "..."),
        (LIST, 1, "must be a list"),
        (LIST, (), "1 to 2 items"),
        (LIST, (1, 99), "item 2 must be between"),
        (TARGETS, "web-1", "list of target names"),
        (TARGETS, (1,), "list of target names"),
    ],
    ids=range(15),
)
def test_a_value_that_does_not_fit_is_told_why(spec: Any, value: Any, problem: str) -> None:
    assert problem in str(problem_with(spec, value))


def test_an_actor_knows_its_failures_and_its_targets() -> None:
    plain = actor()
    assert plain.target_param is None
    assert plain.failure("nobody_said") is None
    mode = plain.failure("torn")
    assert mode is not None
    assert mode.leaves == "partial"
    params = {**plain.params, "hosts": TARGETS}
    assert plain.model_copy(update={"params": params}).target_param == "hosts"


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_an_instant_that_utc_cannot_hold_is_refused_in_words(instant: str) -> None:
    with pytest.raises(ValueError, match="between the years 1970 and 9999"):
        Window.model_validate_json(f'{{"start": "{instant}", "end": 5}}')


def test_an_actor_that_takes_a_secret_may_fail_for_want_of_it() -> None:
    secret = {"password": SecretParam(type="secret", summary="A password.")}
    takes = SPEC.model_copy(update={"params": secret})
    assert SPEC.failure("secret_unavailable") is None
    assert takes.failure("secret_unavailable") == SECRET_UNAVAILABLE
    own = SECRET_UNAVAILABLE.model_copy(update={"retry": True})
    declares = takes.model_copy(update={"failure_modes": (own,)})
    assert declares.failure("secret_unavailable") == own


def test_a_brief_neither_shows_nor_writes_its_secrets() -> None:
    given = {"password": SecretStr("hunter2")}
    brief = Brief(
        key="r/s/apply/1",
        verb="apply",
        attempt=1,
        folder="/",
        spec=SPEC,
        params={},
        secrets=given,
        targets=(),
        timeout_s=1,
        workdir="/",
    )
    assert "hunter2" not in f"{brief!r} {brief} {brief.model_dump()} {brief.model_dump_json()}"
    assert brief.model_copy(update={"verb": "verify"}).secrets == given


@pytest.mark.parametrize(
    ("verb", "most_s"), [("check", 4), ("apply", 12), ("verify", 2), ("undo", 32)]
)
def test_an_act_that_verifies_itself_has_the_time_for_both(verb: Verb, most_s: int) -> None:
    times = Timeouts(apply_s=10, verify_s=2, undo_s=30, check_s=4)
    assert limit_s(times, verb) == most_s
