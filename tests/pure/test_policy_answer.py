"""An engine's answer: what counts as one, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.pure.policy_answer import Answer, answer_from, problem_with_answer
from pure.plans import DIGEST

RULES = ("freeze", "undo")


def finding(rule: str = "undo", what: str = "none", **fields: Any) -> dict[str, Any]:
    return {"rule": rule, "id": f"{rule}.{what}", "subject": "c0", "msg": "It says so.", **fields}


def document(**fields: Any) -> dict[str, Any]:
    return {
        "schema": "interlock.policy.decision/v1",
        "input_digest": DIGEST,
        "rules": ["undo", "freeze"],
        "findings": [],
        "approvals": [],
        "constraints": [],
        **fields,
    }


def read(**fields: Any) -> Answer:
    answer = answer_from(json.dumps(document(**fields)))
    assert isinstance(answer, Answer), answer
    return answer


def test_the_order_in_which_an_engine_lists_its_sets_does_not_matter() -> None:
    entries = [finding(subject=name) for name in ("c2", "c0", "c1")]
    one, other = read(findings=entries), read(findings=entries[::-1], rules=["freeze", "undo"])
    assert one == other
    assert one.rules == RULES


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"schema": "interlock.policy.decision/v2"}, "schema"),
        ({"input_digest": None}, "input_digest"),
        ({"rules": []}, "rules"),
        ({"rules": {"undo": True}}, "rules"),
        ({"allow": True}, "allow"),
        ({"findings": None}, "findings"),
        ({"findings": [finding(msg="")]}, "findings.0.msg"),
        ({"findings": [finding(severity="low")]}, "findings.0.severity"),
        ({"findings": [finding(id="Undo")]}, "findings.0.id"),
        ({"findings": [finding(evidence={"a": 1.5})]}, "findings.0.evidence"),
        ({"findings": [finding(subject=f"c{n}") for n in range(1_001)]}, "findings"),
        ({"approvals": [finding(role="operator", count=0)]}, "approvals.0.count"),
        ({"approvals": [finding(role="operator", count="1")]}, "approvals.0.count"),
        ({"constraints": [finding(kind="max_memory", value=1)]}, "constraints.0.kind"),
        ({"constraints": [finding(kind="not_after", value=0)]}, "constraints.0.value"),
        ({"constraints": [finding(kind="not_after", value=2**60)]}, "constraints.0.value"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_answer_of_another_shape_is_none(change: dict[str, Any], place: str) -> None:
    says = answer_from(json.dumps(document(**change)))
    assert isinstance(says, str)
    assert says.startswith(f"it has another shape than agreed: {place}"), says


@pytest.mark.parametrize("text", ["", "null", "[]", "true", "{}", "<html>", '{"allow": true}'])
def test_what_is_no_document_is_no_answer(text: str) -> None:
    assert isinstance(answer_from(text), str)


def test_a_missing_list_is_no_empty_list() -> None:
    whole = document()
    for name in ("findings", "approvals", "constraints", "rules", "input_digest", "schema"):
        without = {key: value for key, value in whole.items() if key != name}
        assert isinstance(answer_from(json.dumps(without)), str), name


def test_a_whole_answer_has_no_problem() -> None:
    answer = read(
        findings=[finding(edit="Do less.", evidence={"count": 3, "name": "x", "yes": True})],
        approvals=[finding("freeze", role="operator", count=2)],
        constraints=[{**finding("freeze"), "id": "freeze", "kind": "not_after", "value": 5}],
    )
    assert problem_with_answer(answer, DIGEST, RULES) is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"input_digest": "6" * 64}, "another input"),
        ({"rules": ["undo"]}, "missing: freeze; unknown: none"),
        ({"rules": ["undo", "freeze", "mine"]}, "missing: none; unknown: mine"),
        ({"rules": ["undo", "undo", "freeze"]}, "not made by the rules of this workspace"),
        ({"findings": [finding("mine")]}, "mine.none does not belong to the rule mine"),
        ({"findings": [finding(id="freeze.none")]}, "freeze.none does not belong to the rule undo"),
        (
            {"approvals": [finding(id="undone", role="operator", count=1)]},
            "undone does not belong to the rule undo",
        ),
    ],
)
def test_an_answer_to_something_else_or_by_other_rules_does_not_count(
    fields: dict[str, Any], problem: str
) -> None:
    says = problem_with_answer(read(**fields), DIGEST, RULES)
    assert says is not None
    assert problem in says
