"""Cases: how a patch is laid on the base, and what counts as a promise that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import ValidationError

from orchestrator.pure.cases import Case, Cases, case_data, document_of, gaps, merged, unlike
from orchestrator.pure.levels import RuleCard
from orchestrator.pure.policy_answer import Answer

BASE: Final = yaml.safe_load(
    (Path(__file__).parent.parent.parent / "policies" / "base.yaml").read_text()
)


@pytest.mark.parametrize(
    ("base", "patch", "whole"),
    [
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": [1, 2]}, {"a": {"1": 3}}, {"a": [1, 3]}),
        ({"a": [1, 2]}, {"a": {"0": None}}, {"a": [2]}),
        ({"a": []}, {"a": {"new": {"x": 1}}}, {"a": [{"x": 1}]}),
        (
            {"a": [{"class": "c0", "n": 1}, {"class": "c1", "n": 2}]},
            {"a": {"c1": {"n": 3}}},
            {"a": [{"class": "c0", "n": 1}, {"class": "c1", "n": 3}]},
        ),
        ({"a": 1}, "text", "text"),
    ],
)
def test_a_patch_changes_what_it_names_and_nothing_else(base: Any, patch: Any, whole: Any) -> None:
    before = yaml.safe_dump(base)
    assert merged(base, patch) == whole
    assert yaml.safe_dump(base) == before


def test_a_case_is_sealed_anew_and_held_to_the_shape_of_every_input() -> None:
    plain, changed = document_of(BASE, {}), document_of(BASE, {"summary": {"targets": 8}})
    assert plain.digest != changed.digest
    assert changed.summary.targets == 8
    with pytest.raises(ValidationError):
        document_of(BASE, {"summary": {"tragets": 8}})
    with pytest.raises(ValidationError):
        document_of(BASE, {"summary": {"targets": "8"}})


def cases(*expected: dict[str, Any], params: dict[str, Any] | None = None) -> Cases:
    value = [{"name": str(n), "patch": {}, "expect": one} for n, one in enumerate(expected)]
    return Cases.model_validate(
        {"format": 1, "params": params, "cases": tuple(value)}, strict=False
    )


def said(**more: Any) -> Answer:
    entry = {"rule": "r", "id": "r.late", "subject": "plan", "msg": "late"}
    other = {**entry, "rule": "q", "id": "q.late"}
    value = {
        "schema": "interlock.policy.decision/v1",
        "input_digest": "0" * 64,
        "rules": ["r"],
        "findings": [entry, other],
        "approvals": [{**entry, "role": "boss", "count": 2}],
        "constraints": [{**entry, "kind": "max_parallel", "value": 3}],
        **more,
    }
    return Answer.model_validate(value, strict=False)


WHOLE: Final = {
    "findings": [{"id": "r.late"}],
    "approvals": [{"role": "boss", "count": 2}],
    "constraints": [{"kind": "max_parallel", "value": 3}],
}


def only(expected: dict[str, Any]) -> Case:
    return cases(expected).cases[0]


def test_a_rule_that_says_what_its_case_expects_is_silent_about_others() -> None:
    assert unlike("r", only(WHOLE), said()) == ()
    named = {**WHOLE, "findings": [{"id": "r.late", "subject": "plan"}]}
    assert unlike("r", only(named), said()) == ()


def test_every_difference_is_named() -> None:
    assert unlike("r", only({}), said()) == (
        "says r.late of plan: late",
        "bounds max_parallel to 3, which nobody expects",
        "demands 2 x boss, which nobody expects",
    )
    silent = said(findings=[], approvals=[], constraints=[])
    assert unlike("r", only(WHOLE), silent) == (
        "is silent about r.late",
        "no longer bounds max_parallel to 3",
        "no longer demands 2 x boss",
    )
    elsewhere = {**WHOLE, "findings": [{"id": "r.late", "subject": "c1"}]}
    assert unlike("r", only(elsewhere), said()) == (
        "is silent about r.late of c1",
        "says r.late of plan: late",
    )


def test_what_no_case_promises_is_a_gap() -> None:
    findings = {what: {"level": "hard", "satisfy": "mend it"} for what in ("late", "early")}
    card = RuleCard.model_validate(
        {"title": "t", "description": "d", "severity": "low", "findings": findings}
    )
    none = card.model_copy(update={"findings": {}})
    late, early = {"findings": [{"id": "r.late"}]}, {"findings": [{"id": "r.early"}]}
    assert gaps("r", card, cases(late, early, {})) == ()
    assert gaps("r", card, cases(late, {})) == ("no case in which r.early fires",)
    assert gaps("r", card, cases(late, early)) == ("no case in which it finds nothing",)
    strange = {"findings": [{"id": "r.other"}]}
    assert gaps("r", card, cases(late, early, strange, {})) == (
        "a case expects r.other, which is not declared",
    )
    assert gaps("r", none, cases({})) == ("no case in which it says anything",)
    assert gaps("r", none, cases({"approvals": WHOLE["approvals"]})) == ()
    assert gaps("r", none, cases({"constraints": WHOLE["constraints"]})) == ()


def test_each_rule_finds_the_parameters_of_its_own_cases() -> None:
    files = {"r": cases({}, params={"most": 1}), "q": cases({})}
    assert case_data(files) == {"params": {"r": {"most": 1}}}
