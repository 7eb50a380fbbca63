"""The floor of policy: who counts, what is denied, and that silence is a denial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from edges import rig
from orchestrator import policy
from orchestrator.policy import vet
from orchestrator.pure.model import Approval, MissingApproval, Obligations, Window
from orchestrator.pure.policy_answer import Verdict
from orchestrator.pure.window import worst_case
from orchestrator.session import Session
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pure.model import Decision
    from orchestrator.pure.state import Run

NOW: Final = 1_000_000_000
HOUR: Final = 3_600_000
RECORD: Final = {"engine": "test", "policy_digest": "5" * 64, "input_digest": "6" * 64}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that ann opened and requested, with one reversible step on each of two hosts."""
    root = rig.build(tmp_path_factory.mktemp("policy") / "ws")
    name = rig.opened(root, rig.chain("a", "b"))
    with Session.open(root) as session:
        return session.load(name)._replace(by="opener")


def settings(*approvals: tuple[str, int], **rules: Any) -> Settings:
    wanted = [{"role": role, "count": count} for role, count in approvals]
    lab = {"approvals": wanted, "max_targets": 2, "allow_undo_none": True, **rules}
    value = {
        "format": 1,
        "environments": {"lab": lab},
        "policy": {"engine": "builtin"},
        "roles": {"operator": "anyone", "manager": ["mia", "max"]},
        "allowed_signers": "signers",
        "parallelism": 3,
    }
    return Settings.model_validate_json(_json(value))


def _json(value: object) -> str:
    import json  # noqa: PLC0415 - one use

    return json.dumps(value)


def approval(run: Run, principal: str, role: str = "operator", **more: Any) -> Approval:
    return Approval(
        **{
            "principal": principal,
            "role": role,
            "run": run.id,
            "environment": "lab",
            "plan_digest": run.plan_digest,
            "nonce": "0" * 32,
            "issued_ms": NOW - 1,
            "expires_ms": NOW + 1,
            "method": "claimed",
            **more,
        }
    )


def judged(run: Run, told: Settings, *given: Approval, mode: str = "plan") -> Decision:
    return vet(run._replace(approvals=given), mode, NOW, told)


def missing(run: Run, told: Settings, *given: Approval) -> dict[str, int]:
    return {wanted.role: wanted.count for wanted in judged(run, told, *given).missing}


def rules(decision: Decision) -> list[str]:
    return [denial.rule for denial in decision.denials]


# --- who counts -----------------------------------------------------------------------------------


def test_nobody_is_missing_where_nobody_is_asked_for(run: Run) -> None:
    decision = judged(run, settings())
    assert (decision.outcome, decision.missing) == ("allow", ())


def test_each_role_needs_its_quorum(run: Run) -> None:
    told = settings(("operator", 2), ("manager", 1))
    assert missing(run, told) == {"operator": 2, "manager": 1}
    assert missing(run, told, approval(run, "bob")) == {"operator": 1, "manager": 1}
    both = approval(run, "bob"), approval(run, "cid")
    assert missing(run, told, *both) == {"manager": 1}
    assert missing(run, told, *both, approval(run, "mia", "manager")) == {}


def test_more_approvals_than_asked_for_change_nothing(run: Run) -> None:
    given = [approval(run, name) for name in ("bob", "cid", "dan")]
    assert missing(run, settings(("operator", 2)), *given) == {}


def test_one_person_counts_once(run: Run) -> None:
    twice = approval(run, "bob"), approval(run, "bob", nonce="1" * 32)
    assert missing(run, settings(("operator", 2)), *twice) == {"operator": 1}


def test_one_person_fills_one_role_only(run: Run) -> None:
    told = settings(("operator", 1), ("manager", 1))
    both = approval(run, "mia"), approval(run, "mia", "manager")
    assert missing(run, told, *both) == {"manager": 1}
    assert missing(run, told, *both, approval(run, "max", "manager")) == {}


def test_the_order_of_approvals_does_not_matter_for_distinct_people(run: Run) -> None:
    told = settings(("operator", 1), ("manager", 1))
    both = approval(run, "mia", "manager"), approval(run, "bob")
    assert missing(run, told, *both) == missing(run, told, *reversed(both)) == {}


@pytest.mark.parametrize("who", ["ann", "opener"])
def test_neither_requester_nor_opener_counts(run: Run, who: str) -> None:
    assert missing(run, settings(("operator", 1)), approval(run, who)) == {"operator": 1}


@pytest.mark.parametrize(
    ("left_ms", "wanted"), [(1, {}), (0, {"operator": 1}), (-1, {"operator": 1})]
)
def test_an_approval_counts_until_the_instant_it_expires(
    run: Run, left_ms: int, wanted: dict[str, int]
) -> None:
    given = approval(run, "bob", expires_ms=NOW + left_ms)
    assert missing(run, settings(("operator", 1)), given) == wanted


def test_a_role_that_somebody_does_not_hold_does_not_count(run: Run) -> None:
    told = settings(("manager", 1))
    assert missing(run, told, approval(run, "bob", "manager")) == {"manager": 1}
    assert missing(run, told, approval(run, "mia", "operator")) == {"manager": 1}
    assert missing(run, told, approval(run, "mia", "manager")) == {}


def test_a_claimed_approval_does_not_count_where_signatures_are_required(run: Run) -> None:
    told = settings(("operator", 1), require_signatures=True)
    assert missing(run, told, approval(run, "bob")) == {"operator": 1}
    signed = approval(run, "bob", method="sshsig", signature="…")
    assert missing(run, told, signed) == {}


# --- what is denied -------------------------------------------------------------------------------


def test_an_environment_without_rules_is_denied_and_asks_for_nobody_there_is(run: Run) -> None:
    elsewhere = run.planned.model_copy(update={"environment": "prod"})
    decision = judged(run._replace(plan=elsewhere), settings())
    assert rules(decision) == ["environment"]
    assert decision.outcome == "deny"
    assert decision.missing == (MissingApproval(role="nobody", count=1),)


def test_too_many_targets_are_denied_with_the_edit_that_would_pass(run: Run) -> None:
    assert rules(judged(run, settings(max_targets=2))) == []
    decision = judged(run, settings(max_targets=1))
    assert rules(decision) == ["max_targets"]
    assert decision.denials[0].edit == "split the ticket into parts of at most 1 targets"


def test_a_step_without_undo_is_denied_unless_the_environment_allows_it(tmp_path: Path) -> None:
    change = rig.CHANGE.replace("undo: full", "undo: none")
    root = rig.build(tmp_path / "ws", change=change)
    name = rig.opened(root, rig.chain("a").replace("after: []", "after: [], accept_no_undo: true"))
    with Session.open(root) as session:
        run = session.load(name)
    assert rules(judged(run, settings())) == []
    (denial,) = judged(run, settings(allow_undo_none=False)).denials
    assert (denial.rule, denial.step) == ("undo", "a")


def test_a_ticket_without_a_window_is_denied_where_one_is_required(run: Run) -> None:
    assert rules(judged(run, settings())) == []
    assert rules(judged(run, settings(require_window=True))) == ["window"]


@pytest.mark.parametrize(
    ("mode", "spare_ms", "denied"),
    [("start", 0, []), ("start", -1, ["window"]), ("plan", -1, []), ("start", -HOUR, ["window"])],
)
def test_what_is_left_of_the_window_must_hold_the_worst_case_at_the_start(
    run: Run, mode: str, spare_ms: int, denied: list[str]
) -> None:
    timing = run.planned.timing
    needed_ms = (timing.forward_s + timing.rollback_s) * 1000
    window = Window(start_ms=NOW - HOUR, end_ms=NOW + needed_ms + spare_ms)
    inside = run._replace(plan=run.planned.model_copy(update={"window": window}))
    assert rules(judged(inside, settings(require_window=True), mode=mode)) == denied


@pytest.mark.parametrize(("parallelism", "denied"), [(2, []), (1, ["window"])])
def test_where_fewer_may_act_than_was_counted_with_the_worst_case_is_counted_again(
    tmp_path: Path, parallelism: int, denied: list[str]
) -> None:
    root = rig.build(tmp_path / "ws")
    name = rig.opened(root, rig.chain("a", "b").replace("after: [a]", "after: []"))
    with Session.open(root) as session:
        run = session.load(name)
    plan = run.planned.model_copy(update={"max_parallel": 2})
    timing = worst_case(plan, 2)
    assert worst_case(plan, 1).forward_s > timing.forward_s
    window = Window(start_ms=NOW, end_ms=NOW + (timing.forward_s + timing.rollback_s) * 1000)
    fits = run._replace(plan=plan.model_copy(update={"window": window, "timing": timing}))
    told = settings().model_copy(update={"parallelism": parallelism})
    for mode in ("plan", "start"):
        assert rules(vet(fits, mode, NOW, told)) == denied
    demanded = Verdict((), (), (), Obligations(max_parallel=parallelism))
    decision = policy._decision(fits, "plan", NOW, settings(), demanded, RECORD)
    assert rules(decision) == denied


def test_the_way_back_needs_no_consent_of_its_own_and_can_be_denied(run: Run) -> None:
    wanted = settings(("operator", 1))
    assert judged(run, wanted, mode="start").missing
    assert not judged(run, wanted, mode="rollback").missing
    assert rules(judged(run, wanted, mode="rollback")) == []
    assert rules(judged(run, settings(require_window=True), mode="rollback")) == ["window"]


def test_what_is_due_to_the_run_follows_from_window_and_settings(run: Run) -> None:
    window = Window(start_ms=NOW - HOUR, end_ms=NOW + HOUR)
    inside = run._replace(plan=run.planned.model_copy(update={"window": window}))
    obligations = judged(inside, settings()).obligations
    assert (obligations.max_parallel, obligations.not_after_ms) == (3, NOW + HOUR)
    assert judged(run, settings()).obligations.not_after_ms is None


def test_a_decision_names_what_it_was_taken_from(run: Run) -> None:
    told = settings(("operator", 1))
    plain = judged(run, told)
    assert judged(run, told) == plain
    assert judged(run, settings(("operator", 2))).policy_digest != plain.policy_digest
    given = judged(run, told, approval(run, "bob"))
    assert given.policy_digest == plain.policy_digest
    inputs = {
        plain.input_digest,
        given.input_digest,
        judged(run, told, mode="start").input_digest,
        vet(run, "plan", NOW + 1, told).input_digest,
    }
    assert len(inputs) == 4
