"""The outside of a local run: pins are checked, briefs hold what was planned and no more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from actors.spec import Target
from edges import rig
from orchestrator.errors import Corrupted, Unavailable
from orchestrator.local import Local
from orchestrator.pure.commands import Act, Diagnose, Propose, Vet
from orchestrator.pure.events import Planned, Vetted
from orchestrator.pure.warrant import problem_with_warrant
from orchestrator.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pure.state import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    root = rig.build(tmp_path / "ws")
    path = root / "inventory" / "lab.yaml"
    path.write_text(path.read_text().replace("{name: h01,", "{name: h01, connection: {port: 9},"))
    return rig.folded(root, rig.opened(root, rig.chain("a", "b")))


@pytest.fixture
def local(run: Run, tmp_path: Path) -> Local:
    with Session.open(tmp_path / "ws") as session:
        return Local(session.workspace, lambda: run, os.environ, None, run.id)


def test_a_draft_is_compiled_to_the_same_plan_again(local: Local, run: Run) -> None:
    drafting = run._replace(phase="drafting", plan=None)
    answer = local.ask(Propose(), drafting, 1)
    assert isinstance(answer, Planned)
    assert answer.plan_digest == run.plan_digest


@pytest.mark.parametrize("mode", ["plan", "start"])
def test_a_plan_that_is_as_it_was_is_vetted(local: Local, run: Run, mode: str) -> None:
    answer = local.ask(Vet(mode), run, run.at_ms)
    assert isinstance(answer, Vetted)
    assert (answer.decision.outcome, answer.plan_digest) == ("allow", run.plan_digest)


def test_a_plan_with_another_digest_is_corrupted(local: Local, run: Run) -> None:
    other = run.planned.model_copy(update={"max_parallel": 7})
    for ask in (
        lambda: local.ask(Vet("start"), run._replace(plan=other), 1),
        lambda: local.check(run._replace(plan=other)),
    ):
        with pytest.raises(Corrupted, match="does not have the digest that was recorded"):
            ask()


def test_what_changed_while_a_driver_waited_for_its_start_is_seen(
    local: Local, run: Run, tmp_path: Path
) -> None:
    local.ask(Vet("plan"), run, run.at_ms)
    (tmp_path / "ws" / "playbooks" / "lab.change" / "extra.yaml").write_text("x: 1\n")
    with pytest.raises(Corrupted, match=r"actors of CHG-1\.1 have changed .*: lab\.change"):
        local.ask(Vet("start"), run, run.at_ms)
    with pytest.raises(Corrupted) as refused:
        local.check(run)
    assert refused.value.next_step.endswith("; nothing was recorded")


def test_another_address_of_a_target_is_another_inventory(
    local: Local, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "ws" / "inventory" / "lab.yaml"
    path.write_text(path.read_text().replace("port: 9", "port: 10"))
    with pytest.raises(Corrupted, match="the inventory has changed") as refused:
        local.check(run)
    assert "plan the ticket anew" in refused.value.next_step


def test_an_agent_that_is_not_there_gives_no_answer(local: Local, run: Run) -> None:
    with pytest.raises(Unavailable, match="none is configured"):
        local.ask(Diagnose(()), run, 1)


def test_a_brief_holds_the_step_and_nothing_else(local: Local, run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "acts" / run.id / "a.apply.1"
    warrant = local._warrant(Act("a", "apply", 1), directory)
    brief = warrant.brief
    assert (brief.key, brief.verb, brief.attempt) == (f"{run.id}/a/apply/1", "apply", 1)
    assert brief.targets == (Target(name="h01", connection={"port": 9}),)
    assert brief.workdir == str(directory)
    assert brief.spec == run.planned.actors["lab.change"].spec
    assert warrant.settings == {"world": str(tmp_path / "ws" / ".interlock" / "rehearsal")}
    assert problem_with_warrant(warrant, run.planned.actors["lab.change"].digest) is None


@pytest.mark.parametrize(
    ("verb", "timeout_s"), [("check", 10), ("apply", 30), ("verify", 10), ("undo", 30)]
)
def test_an_act_may_take_as_long_as_its_manifest_says_with_its_verify(
    local: Local, tmp_path: Path, verb: str, timeout_s: int
) -> None:
    act = Act("b", verb, 1)  # type: ignore[arg-type]  # the table holds verbs
    assert local._warrant(act, tmp_path).brief.timeout_s == timeout_s
    assert local.acts.timeout_s_for(act) == timeout_s
