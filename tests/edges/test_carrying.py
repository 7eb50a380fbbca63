"""Consent carried over to an equivalent plan: asked for, shown, acted on, and lied about."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.spec import Done
from desk import Desk
from edges import rig
from edges.keys import key, line, revoke
from edges.test_consent_acts import (
    APPLY,
    PEOPLE,
    SETTINGS,
    approve,
    directory_of,
    done_with,
    record,
    refusal,
    start,
    warrant_of,
)
from orchestrator.pure.carrying import CARRIED_TO
from orchestrator.pure.equivalence import equivalence_digest
from orchestrator.pure.events import Cancelled, Carried, Opened
from orchestrator.session import Session, clock_ms
from orchestrator.workspace import read_ticket, ticket_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.pure.state import Run

OLD_DRAFT: Final = """\
decision: plan
steps:
  - {id: a, actor: lab.change, params: {targets: [h01]}}
  - {id: b, actor: lab.change, params: {targets: [h02], count: 3}, after: [a]}
"""
NEW_DRAFT: Final = """\
decision: plan
rationale: The same, in other words.
steps:
  - {id: second, actor: lab.change, params: {targets: [h02], count: 3}, after: [first], why: Later.}
  - {id: first, actor: lab.change, params: {targets: [h01]}}
"""
OTHER_DRAFT: Final = NEW_DRAFT.replace("count: 3", "count: 4")
OLD: Final = "CHG-1.1"
NEW: Final = "CHG-1.2"
OTHER: Final = "CHG-1.3"
THIRD: Final = "CHG-1.4"
OURS: Final = "CHG-1.5"
"""The same change again, opened by one of its approvers."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in (*PEOPLE, "nobody"):
        key(folder, name)
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """One change, planned again and again; its first plan was approved by bea and dan."""
    root = rig.build(tmp_path_factory.mktemp("template") / "ws", settings=SETTINGS)
    (root / "signers").write_text("".join(line(name, keys / name) for name in PEOPLE))
    revoke(root / "revoked", keys / "nobody")
    for draft, by in (
        (OLD_DRAFT, "olga"),
        (NEW_DRAFT, "olga"),
        (OTHER_DRAFT, "olga"),
        (OLD_DRAFT, "olga"),
        (NEW_DRAFT, "dan"),
    ):
        planned(root, draft, by)
    approve(root, OLD, "bea", "boss", keys / "bea")
    assert approve(root, OLD, "dan", "operator", keys / "dan").phase == "approved"
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return rig.copied(template, tmp_path / "ws")


def planned(root: Path, draft: str, by: str) -> str:
    file = root / "CHG-1.yaml"
    file.write_text(rig.TICKET.format(id="CHG-1"))
    words = read_ticket(file)
    event = Opened(
        at_ms=clock_ms(), ticket=words, ticket_digest=ticket_digest(words), by=by, draft=draft
    )
    with Session.open(root, create=True) as session:
        name = session.begin(event)
        with session.driver(name, lambda _run, _events: None) as driver:
            assert driver.drive().phase == "waiting"
    return name


def carry(root: Path, name: str, earlier: str, expect: int | None = 0) -> str:
    typed = Desk(root).type_inside("approve", name, "--from", earlier, expect=expect)
    return " ".join((typed.out + typed.err).split())


def forged(root: Path, name: str, earlier: str) -> Run:
    """Record what nobody checked, as a driver could."""
    with Session.open(root) as session:
        run, old = session.load(name), session.load(earlier)
        at_ms = max(clock_ms(), run.at_ms)
        event = Carried(
            at_ms=at_ms,
            by="olga",
            plan_digest=run.plan_digest,
            earlier_run=earlier,
            earlier_digest=old.plan_digest,
            earlier_plan=old.planned,
            equivalence_digest=equivalence_digest(old.planned),
            approvals=old.approvals,
        )
        return record(session, name, event)


# --- the honest way -------------------------------------------------------------------------------


def test_an_equivalent_plan_needs_no_new_signature_and_says_where_consent_comes_from(
    root: Path,
) -> None:
    said = carry(root, NEW, OLD)
    assert "carried over" in said
    assert f"of {OLD}; operator carried it over" in said
    assert rig.folded(root, OLD).phase == "cancelled"
    assert rig.folded(root, OLD).reason.endswith(f"{CARRIED_TO}{NEW}")
    assert rig.folded(root, NEW).phase == "approved"
    desk = Desk(root)
    shown = desk.type_inside("show", NEW, expect=0).out
    assert "bea, dan signed the plan" in " ".join(shown.split())
    document = desk.type_inside("show", NEW, "--json", expect=0).document
    assert document["carried_from"]["earlier_run"] == OLD
    replayed = desk.type_inside("audit", "replay", NEW).out
    assert "operator carried consent over: bea, dan signed" in " ".join(replayed.split())
    assert start(root, NEW).phase == "succeeded"
    assert rig.net(rig.effects(root)) == {("first", "h01"), ("second", "h02")}
    assert desk.type_inside("audit", "verify", NEW).code == 0


def test_a_plan_that_differs_in_one_number_needs_new_signatures(root: Path) -> None:
    said = carry(root, OTHER, OLD, expect=2)
    assert "differ in more than names and order" in said
    assert rig.folded(root, OLD).phase == "approved"
    assert rig.folded(root, OTHER).approvals == ()


def test_where_the_new_run_cannot_go_on_the_earlier_one_is_not_called_off(root: Path) -> None:
    (root / "playbooks" / "lab.change" / "actor.yaml").write_text("name: [\n")
    assert "nothing was recorded" in carry(root, NEW, OLD, expect=2)
    assert rig.folded(root, OLD).phase == "approved"
    assert rig.folded(root, NEW).phase == "waiting"


def test_consent_goes_over_once(root: Path) -> None:
    carry(root, NEW, OLD)
    assert f"{OLD} is cancelled" in carry(root, THIRD, OLD, expect=2)
    assert "no signed approval" in carry(root, THIRD, NEW, expect=2)
    assert rig.folded(root, NEW).phase == "approved"


def test_a_run_that_acted_or_was_called_off_keeps_its_consent(root: Path, tmp_path: Path) -> None:
    other = rig.copied(root, tmp_path / "other")
    assert start(root, OLD).phase == "succeeded"
    assert f"{OLD} is succeeded" in carry(root, NEW, OLD, expect=2)
    assert f"{NEW} is that run itself" in carry(other, NEW, NEW, expect=2)
    Desk(other).type_inside("cancel", OLD, "--reason", "not today")
    assert f"{OLD} is cancelled" in carry(other, NEW, OLD, expect=2)


def test_what_was_interrupted_after_the_earlier_run_was_called_off_can_be_finished(
    root: Path,
) -> None:
    with Session.open(root) as session:
        record(session, OLD, Cancelled(at_ms=clock_ms(), by="olga", reason=f"{CARRIED_TO}{NEW}"))
    assert f"{OLD} is cancelled" in carry(root, THIRD, OLD, expect=2)
    carry(root, NEW, OLD)
    assert rig.folded(root, NEW).phase == "approved"


def test_whoever_opened_the_new_run_does_not_count_in_it(root: Path) -> None:
    carry(root, OURS, OLD, expect=4)
    run = rig.folded(root, OURS)
    assert [given.principal for given in run.approvals] == ["bea"]
    assert run.phase == "waiting"


def test_a_revoked_key_does_not_go_over(root: Path, keys: Path) -> None:
    revoke(root / "revoked", keys / "bea")
    carry(root, NEW, OLD, expect=4)
    assert [given.principal for given in rig.folded(root, NEW).approvals] == ["dan"]


def test_when_the_rules_of_consent_have_changed_nothing_goes_over(root: Path, keys: Path) -> None:
    with (root / "signers").open("a") as file:
        file.write(line("eve", keys / "nobody"))
    said = carry(root, NEW, OLD, expect=2)
    assert "have changed since it was given" in said
    assert rig.folded(root, OLD).phase == "approved"


def test_nothing_else_goes_with_it(root: Path) -> None:
    typed = Desk(root).type_inside("approve", NEW, "--from", OLD, "--role", "boss", expect=2)
    assert "nothing else of yours goes with it" in typed.err


# --- drivers that lie -----------------------------------------------------------------------------


def test_a_driver_that_records_it_for_another_change_gets_no_approval(root: Path) -> None:
    run = forged(root, OTHER, OLD)
    assert run.phase == "waiting"
    assert run.decision is not None
    said = " ".join(warning.message for warning in run.decision.warnings)
    assert f"the plan of {OLD} is not equivalent to that of {OTHER}" in said


SECOND: Final = APPLY.__class__("second", "apply", 1)


def honest(root: Path, name: str = NEW) -> dict[str, Any]:
    return warrant_of(root, name, SECOND)


def test_the_honest_warrant_is_acted_on(root: Path) -> None:
    forged(root, NEW, OLD)
    assert isinstance(done_with(root, NEW, honest(root), SECOND), Done)


def _without(w: dict[str, Any]) -> None:
    w["earlier"] = None


def _another_run(w: dict[str, Any]) -> None:
    w["earlier"]["run"] = "CHG-7.1"


def _another_step(w: dict[str, Any]) -> None:
    step = next(p for p in w["step"]["params"] if p["name"] == "count")
    step["value"] = w["brief"]["params"]["count"] = 4


def _another_step_there(w: dict[str, Any]) -> None:
    _another_step(w)
    step = next(p for p in w["earlier"]["step"]["params"] if p["name"] == "count")
    step["value"] = 4


def _another_head(w: dict[str, Any]) -> None:
    w["earlier"]["header"]["max_parallel"] = 7


def _path(w: dict[str, Any]) -> None:
    w["earlier"]["run"] = "../acts"


def _longer(w: dict[str, Any]) -> None:
    w["approvals"][0]["expires_ms"] += 1


def _no_boss(w: dict[str, Any]) -> None:
    w["approvals"] = w["approvals"][1:]


LIES: Final[dict[str, tuple[Callable[[dict[str, Any]], None], str]]] = {
    "no earlier plan": (_without, "an approval is for another plan or run"),
    "another earlier run": (_another_run, "an approval is for another plan or run"),
    "another step": (_another_step, "does not hold this step"),
    "another step in both": (_another_step_there, "does not hold this step"),
    "another head": (_another_head, "does not hold this step"),
    "a path": (_path, "an approval is for another plan or run"),
    "a longer life": (_longer, "bea does not count: it is not what bea signed"),
    "one of two": (_no_boss, "consent is missing: 1 x boss"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_driver_that_lies_about_the_earlier_run_gets_no_effect(root: Path, name: str) -> None:
    lie, says = LIES[name]
    forged(root, NEW, OLD)
    warrant = honest(root)
    lie(warrant)
    assert says in refusal(done_with(root, NEW, warrant, SECOND))
    assert rig.effects(root) == []


def test_the_step_of_another_change_is_not_in_the_plan_that_was_approved(root: Path) -> None:
    """A driver that carries consent over to a plan of its own, with proofs that are all true."""
    forged(root, NEW, OLD)
    true = honest(root)
    warrant = warrant_of(root, OTHER, SECOND)
    warrant["earlier"], warrant["approvals"] = true["earlier"], true["approvals"]
    assert "does not hold this step" in refusal(done_with(root, OTHER, warrant, SECOND))
    assert rig.effects(root) == []


def test_a_key_that_is_revoked_afterwards_stops_the_next_act(root: Path, keys: Path) -> None:
    forged(root, NEW, OLD)
    warrant = honest(root)
    revoke(root / "revoked", keys / "bea")
    said = refusal(done_with(root, NEW, warrant, SECOND))
    assert "bea does not count: its key is revoked" in said
    assert rig.effects(root) == []


def test_an_approval_serves_whichever_run_acts_first_and_no_other(
    root: Path, tmp_path: Path
) -> None:
    forged(root, NEW, OLD)
    forged(root, THIRD, OLD)
    other = rig.copied(root, tmp_path / "other")
    b = APPLY.__class__("b", "apply", 1)

    assert isinstance(done_with(root, NEW, honest(root), SECOND), Done)
    said = refusal(done_with(root, THIRD, warrant_of(root, THIRD, b), b))
    assert "were carried over to another run" in said
    said = refusal(done_with(root, OLD, warrant_of(root, OLD, b), b))
    assert f"its approvals were carried over to {NEW}" in said
    assert len(rig.effects(root)) == 1

    assert isinstance(done_with(other, OLD, warrant_of(other, OLD, b), b), Done)
    assert f"{OLD}, from which" in refusal(done_with(other, NEW, honest(other), SECOND))
    assert len(rig.effects(other)) == 1


def test_a_verify_or_a_check_of_the_earlier_run_is_no_act(root: Path) -> None:
    forged(root, NEW, OLD)
    for name in ("a.verify.1", "a.check.1", "odd"):
        (root / ".interlock" / "acts" / OLD / name).mkdir(parents=True)
    assert isinstance(done_with(root, NEW, honest(root), SECOND), Done)
    assert json.loads((directory_of(root, NEW, SECOND) / "outcome.json").read_text())
    shutil.rmtree(root / ".interlock" / "carried")
