"""Who counts, and what is signed: properties of consent, without keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pure.canonical import canonical, digest
from orchestrator.pure.consent import (
    is_of_another_change,
    missing_approvals,
    requested_by,
    statement,
)
from orchestrator.pure.model import Approval, Decision, MissingApproval, Seen
from pure.plans import plan_of, step
from pure.policy_world import run_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PEOPLE: Final = ("ann", "bob", "cid", "olga")
ROLES: Final = ("boss", "operator")
DECISION: Final = Decision(
    outcome="allow", engine="none", policy_digest="a" * 64, input_digest="b" * 64
)
DIGESTS: Final = st.text("0123456789abcdef", min_size=64, max_size=64)


def approval(principal: str = "ann", role: str = "boss", **changes: Any) -> Approval:
    fields = {
        "principal": principal,
        "role": role,
        "run": "CHG-1.1",
        "environment": "prod",
        "plan_digest": "a" * 64,
        "nonce": "0" * 32,
        "issued_ms": 1,
        "expires_ms": 2,
        "method": "claimed",
        "seen": Seen(
            requested_by=("olga",),
            ticket_digest="1" * 64,
            equivalence_digest="2" * 64,
            view_digest="3" * 64,
            decision_digest="4" * 64,
            trust_digest="5" * 64,
            ledger_head=f"{'6' * 64}@7",
        ),
    }
    return Approval(**{**fields, **changes})


GIVEN: Final = st.lists(
    st.builds(approval, st.sampled_from(PEOPLE), st.sampled_from(ROLES)), max_size=8
)
WANTED: Final = st.lists(
    st.builds(MissingApproval, role=st.sampled_from(ROLES), count=st.integers(1, 3)),
    max_size=2,
    unique_by=lambda rule: rule.role,
)
HELD: Final = st.sets(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(ROLES)))


def lacking(given: Sequence[Approval], wanted: Sequence[MissingApproval], held: Any) -> int:
    missing = missing_approvals(
        given, wanted, never=(), holds=lambda who, role: (who, role) in held
    )
    return sum(rule.count for rule in missing)


@given(GIVEN, WANTED, HELD)
def test_each_person_counts_once_and_who_asked_never(
    given: list[Approval], wanted: list[MissingApproval], held: set[tuple[str, str]]
) -> None:
    counted = sum(rule.count for rule in wanted) - lacking(given, wanted, held)
    able = {a.principal for a in given if (a.principal, a.role) in held} - {"olga"}
    assert counted <= len(able)


@given(GIVEN, WANTED, HELD)
def test_what_is_given_twice_counts_once(
    given: list[Approval], wanted: list[MissingApproval], held: set[tuple[str, str]]
) -> None:
    assert lacking(given + given, wanted, held) == lacking(given, wanted, held)


@given(GIVEN, WANTED, HELD, st.sampled_from(ROLES))
def test_a_role_that_nobody_gave_counts_for_nothing(
    given: list[Approval], wanted: list[MissingApproval], held: set[tuple[str, str]], role: str
) -> None:
    """Roles come from the workspace: what a statement says of a role gives none."""
    without = {(who, held_role) for who, held_role in held if held_role != role}
    asked = [rule for rule in wanted if rule.role == role]
    assert lacking(given, asked, without) == sum(rule.count for rule in asked)


@given(st.data())
def test_a_statement_says_every_field_but_the_signature(data: st.DataObject) -> None:
    one = approval()
    assert one.seen is not None
    changes: list[dict[str, Any]] = [
        {"principal": "bob"},
        {"role": "operator"},
        {"run": "CHG-1.2"},
        {"environment": "lab"},
        {"plan_digest": data.draw(DIGESTS)},
        {"nonce": data.draw(DIGESTS)[:32]},
        {"issued_ms": data.draw(st.integers(2, 2**53 - 1))},
        {"expires_ms": data.draw(st.integers(3, 2**53 - 1))},
    ]
    changes += [
        {"seen": one.seen.model_copy(update={name: value})}
        for name, value in (
            ("requested_by", ()),
            ("ticket_digest", data.draw(DIGESTS)),
            ("equivalence_digest", data.draw(DIGESTS)),
            ("view_digest", data.draw(DIGESTS)),
            ("decision_digest", data.draw(DIGESTS)),
            ("trust_digest", data.draw(DIGESTS)),
            ("ledger_head", f"{'0' * 64}@8"),
        )
    ]
    named = {*Approval.model_fields} - {"method", "signature", "seen"} | {*Seen.model_fields}
    told = {name for change in changes for name in change} - {"seen"}
    assert named == told | {*Seen.model_fields}, "a new field needs a row here"
    for change in changes:
        changed = one.model_copy(update=change)
        assert (statement(changed) == statement(one)) == (changed == one)
    assert statement(one.model_copy(update={"signature": "x"})) == statement(one)


def test_a_statement_is_an_in_toto_statement_in_canonical_form() -> None:
    raw = statement(approval())
    value = json.loads(raw)
    assert canonical(value) == raw
    assert set(value) == {"_type", "subject", "predicateType", "predicate"}
    assert value["subject"] == [{"name": "CHG-1.1", "digest": {"sha256": "a" * 64}}]
    assert value["predicate"]["decision"] == "approve"


def test_who_asked_and_who_opened_are_named_once() -> None:
    assert requested_by("rik", "olga") == requested_by("olga", "rik", "rik") == ("olga", "rik")


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("requested_by", ("rik",)),
        ("ticket_digest", "f" * 64),
        ("decision_digest", "f" * 64),
    ],
)
def test_consent_is_to_what_was_seen(field: str, other: Any) -> None:
    run = run_of(plan_of(step("a")), decision=DECISION)
    seen = Seen(
        requested_by=requested_by(run.ticket.requester, run.by),
        ticket_digest=run.ticket_digest,
        equivalence_digest="2" * 64,
        view_digest="3" * 64,
        decision_digest=digest(DECISION.model_dump(mode="json")),
        trust_digest="5" * 64,
        ledger_head=f"{'6' * 64}@7",
    )
    assert not is_of_another_change(run, approval(seen=seen))
    assert not is_of_another_change(run, approval(seen=None))
    assert is_of_another_change(run, approval(seen=seen.model_copy(update={field: other})))
