"""The planner's four answers to a draft file, and what it says when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edges import rig
from orchestrator.errors import Unavailable
from orchestrator.planner import propose
from orchestrator.pure.compile import Limits
from orchestrator.pure.events import Asked, Declined, DraftRejected, Opened, Planned
from orchestrator.pure.run import evolve, opened
from orchestrator.workspace import open_workspace, ticket_digest

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pure.events import Event
    from orchestrator.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = rig.build(tmp_path_factory.mktemp("planner") / "ws")
    (root / "ticket.yaml").write_text(rig.TICKET.format(id="CHG-1"))
    return open_workspace(root)


def answered(workspace: Workspace, draft: str | None, limits: Limits | None = None) -> Event:
    ticket = workspace.ticket(workspace.root / "ticket.yaml")
    event = Opened(
        at_ms=1, ticket=ticket, ticket_digest=ticket_digest(ticket), by="ann", draft=draft
    )
    run = opened("CHG-1.1", event)
    answer = propose(
        run,
        2,
        catalog=workspace.catalog()[0],
        inventory=workspace.inventory(),
        limits=limits or Limits(),
    )
    evolve(run, answer)  # whatever it answers fits the machine
    return answer


def test_a_draft_that_compiles_is_planned_with_its_digest(workspace: Workspace) -> None:
    answer = answered(workspace, rig.chain("a", "b"))
    assert isinstance(answer, Planned)
    assert answer.plan_digest == answer.plan.digest()
    assert [step.id for step in answer.plan.steps] == ["a", "b"]


def test_a_refusal_is_declined_with_its_reason(workspace: Workspace) -> None:
    draft = (
        "decision: refuse\ncode: out_of_scope\nreason: not for a machine\nnext_step: ask a person\n"
    )
    answer = answered(workspace, draft)
    assert isinstance(answer, Declined)
    assert answer.refusal.reason == "not for a machine"


def test_a_question_is_asked(workspace: Workspace) -> None:
    answer = answered(workspace, "decision: ask\nquestion: Which one?\nchoices: [h01, h02]\n")
    assert isinstance(answer, Asked)
    assert answer.question.choices == ("h01", "h02")


def test_a_draft_that_does_not_compile_is_rejected_with_a_place(workspace: Workspace) -> None:
    answer = answered(workspace, rig.chain("a").replace("lab.change", "lab.chance"))
    assert isinstance(answer, DraftRejected)
    (finding,) = answer.findings
    assert (finding.rung, finding.line) == (2, 3)
    assert "lab.change" in finding.message


@pytest.mark.parametrize(
    ("draft", "line"),
    [
        ("decision: plan\nsteps: [\n", 3),
        ("decision: plan\ndecision: plan\n", 2),
        ("decision: plan\nsteps:\n  - {id: a, actor: !!python/name:os.system x}\n", 3),
        ('decision: plan\nrationale: "\x07"\n', 2),
        ("decision: plan\nsteps: &a [*a]\n", 2),
        ("decision: plan\nmax_parallel: 1.5\n", 2),
    ],
)
def test_yaml_that_two_readers_could_read_differently_is_a_finding_with_its_line(
    workspace: Workspace, draft: str, line: int
) -> None:
    answer = answered(workspace, draft)
    assert isinstance(answer, DraftRejected)
    (finding,) = answer.findings
    assert (finding.rung, finding.line) == (0, line)


def test_a_draft_without_measure_is_a_finding(workspace: Workspace) -> None:
    answer = answered(workspace, rig.chain("a") + "#" * 2_000, Limits(max_bytes=1_000))
    assert isinstance(answer, DraftRejected)
    assert "1000" in answer.findings[0].message


@pytest.mark.parametrize("draft", ["", "null\n", "just words\n", "[]\n"])
def test_a_draft_that_is_no_draft_is_rejected(workspace: Workspace, draft: str) -> None:
    assert isinstance(answered(workspace, draft), DraftRejected)


def test_without_a_draft_nothing_is_assumed(workspace: Workspace) -> None:
    with pytest.raises(Unavailable, match="no planner is configured"):
        answered(workspace, None)


def test_the_answer_is_the_same_twice(workspace: Workspace, tmp_path: Path) -> None:
    assert answered(workspace, rig.chain("a", "b")) == answered(workspace, rig.chain("a", "b"))
