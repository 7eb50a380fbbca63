"""The process of one act: it refuses whatever is not in the approved plan, and reports honestly."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.spec import Done, InDoubt, Unexpected
from edges import rig
from orchestrator.act import main, read_outcome, write_outcome
from orchestrator.local import Local
from orchestrator.pure.canonical import digest
from orchestrator.pure.commands import Act
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


DRAFT: Final = """\
decision: plan
steps:
  - {id: a, actor: lab.change, params: {targets: [h01]}}
  - {id: b, actor: lab.change, params: {targets: [h02, h03]}, after: [a]}
  - {id: c, actor: lab.look, params: {targets: [h04]}}
  - {id: d, actor: interlock.confirm, params: {text: Go on?, expect: name}, after: [b]}
"""

Warrant = dict[str, Any]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("template") / "ws"
    change = rig.CHANGE.replace(
        "maximum: 9, required: false}\noutputs", "maximum: 9, required: false, default: 1}\noutputs"
    )
    return rig.build(root, change=change), rig.opened(root, DRAFT)


@pytest.fixture
def root(template: tuple[Path, str], tmp_path: Path) -> Path:
    return rig.copied(template[0], tmp_path / "ws")


@pytest.fixture
def run_id(template: tuple[Path, str]) -> str:
    return template[1]


def directory_of(root: Path, run: str, act: Act) -> Path:
    return root / ".interlock" / "acts" / run / f"{act.step}.{act.verb}.{act.attempt}"


def warrant_of(root: Path, run_id: str, act: Act) -> Warrant:
    """Make the warrant that an honest driver would write."""
    with Session.open(root) as session:
        run = session.load(run_id)
        local = Local(session.workspace, lambda: run, os.environ, None, run.id)
        warrant = local._warrant(act, directory_of(root, run_id, act))
    value: Warrant = json.loads(warrant.model_dump_json())
    return value


def laid(root: Path, run: str, act: Act, warrant: Warrant | str) -> Path:
    directory = directory_of(root, run, act)
    directory.mkdir(parents=True)
    text = warrant if isinstance(warrant, str) else json.dumps(warrant)
    (directory / "warrant.json").write_text(text)
    return directory


def done_with(root: Path, run: str, warrant: Warrant | str, act: Act = Act("b", "apply", 1)) -> Any:  # noqa: B008 - a value
    directory = laid(root, run, act, warrant)
    assert main(directory) == 0
    return read_outcome(directory)


def approval(run: str, plan_digest: str) -> dict[str, object]:
    return {
        "principal": "op",
        "role": "operator",
        "run": run,
        "environment": "lab",
        "plan_digest": plan_digest,
        "nonce": "0" * 32,
        "issued_ms": 1,
        "expires_ms": 2**50,
        "method": "claimed",
        "signature": None,
    }


def test_an_honest_warrant_is_acted_on_once(root: Path, run_id: str) -> None:
    warrant = warrant_of(root, run_id, Act("b", "apply", 1))
    warrant["approvals"] = [approval(run_id, warrant["plan_digest"])]
    assert isinstance(done_with(root, run_id, warrant), Done)
    assert rig.net(rig.effects(root)) == {("b", "h02"), ("b", "h03")}
    directory = directory_of(root, run_id, Act("b", "apply", 1))
    assert main(directory) == 7, "what has an outcome is closed"
    assert len(rig.effects(root)) == 1


# --- tampering ------------------------------------------------------------------------------------


def _set(*path: str | int, to: Any) -> Callable[[Warrant], None]:
    def tamper(warrant: Warrant) -> None:
        here: Any = warrant
        for name in path[:-1]:
            here = here[name]
        assert here[path[-1]] != to or isinstance(to, bool)
        here[path[-1]] = to

    return tamper


def _del(*path: str | int) -> Callable[[Warrant], None]:
    def tamper(warrant: Warrant) -> None:
        here: Any = warrant
        for name in path[:-1]:
            here = here[name]
        del here[path[-1]]

    return tamper


def _forged_header(warrant: Warrant) -> None:
    """A whole plan that is consistent in itself, under an approval for the true one."""
    warrant["approvals"] = [approval(warrant["run"], warrant["plan_digest"])]
    warrant["header"]["environment"] = "prod"
    warrant["plan_digest"] = digest(warrant["header"])


def _approved_elsewhere(warrant: Warrant) -> None:
    warrant["approvals"] = [approval("CHG-2.1", warrant["plan_digest"])]


def _one_of_two_approvals(warrant: Warrant) -> None:
    good = approval(warrant["run"], warrant["plan_digest"])
    warrant["approvals"] = [good, {**good, "plan_digest": "1" * 64}]


def _widened(warrant: Warrant) -> None:
    warrant["brief"]["targets"].append({**warrant["brief"]["targets"][0], "name": "h09"})


def _narrowed(warrant: Warrant) -> None:
    warrant["brief"]["targets"].pop()


def _reordered(warrant: Warrant) -> None:
    warrant["brief"]["targets"].reverse()


def _one_more_param(warrant: Warrant) -> None:
    warrant["brief"]["params"]["force"] = True


def _promoted_to_output(warrant: Warrant) -> None:
    """A literal that is passed off as an output, so that its value would be free."""
    warrant["step"]["params"][0].update(value=None, output="a.size", source="output")


def _beside_the_tree(warrant: Warrant) -> None:
    warrant["proof"] = []
    warrant["header"]["steps_root"] = digest(warrant["step"])


def _other_side(warrant: Warrant) -> None:
    first = warrant["proof"][0]
    warrant["proof"][0] = ("R" if first[0] == "L" else "L") + first[1:]


def _another_verb(warrant: Warrant) -> None:
    warrant["brief"]["verb"] = "undo"


def _not_a_number(warrant: Warrant) -> None:
    warrant["header"]["max_parallel"] = 1.5


TAMPERED: Final[dict[str, Callable[[Warrant], None]]] = {
    "another run": _set("run", to="CHG-2.1"),
    "another digest": _set("plan_digest", to="0" * 64),
    "no digest": _del("plan_digest"),
    "no approvals field": _del("approvals"),
    "a field too many": lambda w: w.update(force=True),
    "an empty header": _set("header", to={}),
    "no actors in the header": _set("header", "actors", to="none"),
    "no root": _del("header", "steps_root"),
    "another root": _set("header", "steps_root", to="0" * 64),
    "a header for another environment": _set("header", "environment", to="prod"),
    "another window end": _set("header", "on_window_close", to="finish"),
    "a header with a fraction": _not_a_number,
    "another pin": _set("header", "actors", "lab.change", "digest", to="0" * 64),
    "a forged header": _forged_header,
    "approved for another run": _approved_elsewhere,
    "one approval for another plan": _one_of_two_approvals,
    "another step's name": _set("step", "id", to="a"),
    "another actor": _set("step", "actor", to="lab.look"),
    "other targets in the step": _set("step", "targets", to=["h09"]),
    "no predecessors": _set("step", "after", to=[]),
    "a condition more": _set("step", "when", to={"output": "a.size", "op": "==", "value": 1}),
    "a gate in a step": _set("step", "gate", to={"gate": "hold", "until_ms": 1}),
    "another value in the step": _set("step", "params", 0, "value", to=7),
    "a literal as an output": _promoted_to_output,
    "no proof": _set("proof", to=[]),
    "half a proof": lambda w: w["proof"].pop(),
    "a proof from the other side": _other_side,
    "a proof of rubbish": _set("proof", to=["Lzz"]),
    "a leaf that is its own root": _beside_the_tree,
    "another value": _set("brief", "params", "count", to=7),
    "true for one": _set("brief", "params", "count", to=True),
    "text for one": _set("brief", "params", "count", to="1"),
    "a param less": _del("brief", "params", "count"),
    "a param more": _one_more_param,
    "another target": _set("brief", "targets", 0, "name", to="h09"),
    "a target more": _widened,
    "a target less": _narrowed,
    "targets in another order": _reordered,
    "no targets": _set("brief", "targets", to=[]),
    "another spec": _set("brief", "spec", "timeouts", "apply_s", to=9_999),
    "another kind": _set("brief", "spec", "kind", to="hostile"),
    "harmless by its spec": _set("brief", "spec", "effect", to="read"),
    "another step's key": _set("brief", "key", to="CHG-1.1/a/apply/1"),
    "another attempt's key": _set("brief", "key", to="CHG-1.1/b/apply/2"),
    "another attempt": _set("brief", "attempt", to=2),
    "another verb": _another_verb,
    "no such verb": _set("brief", "verb", to="destroy"),
    "another directory": _set("brief", "workdir", to="/tmp"),
    "a folder that is not there": _set("brief", "folder", to="/nowhere"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_warrant_that_was_tampered_with_has_no_effect(root: Path, run_id: str, how: str) -> None:
    warrant = warrant_of(root, run_id, Act("b", "apply", 1))
    honest = copy.deepcopy(warrant)
    TAMPERED[how](warrant)
    assert json.dumps(warrant) != json.dumps(honest)
    outcome = done_with(root, run_id, warrant)
    assert isinstance(outcome, Unexpected)
    assert outcome.message.startswith("refused before it acted: ")
    assert rig.effects(root) == []


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"warrant"', "\x00\xff", '{"run": NaN}'])
def test_a_torn_warrant_has_no_effect(root: Path, run_id: str, text: str) -> None:
    outcome = done_with(root, run_id, text)
    assert outcome == Unexpected(message="refused before it acted: its warrant cannot be read")
    assert rig.effects(root) == []


def test_another_actors_folder_in_a_brief_is_refused(root: Path, run_id: str) -> None:
    warrant = warrant_of(root, run_id, Act("b", "apply", 1))
    warrant["brief"]["folder"] = str(root / "playbooks" / "lab.look")
    outcome = done_with(root, run_id, warrant)
    assert isinstance(outcome, Unexpected)
    assert "the folder of lab.change is not the pinned one" in outcome.message
    assert rig.effects(root) == []


@pytest.mark.parametrize("file", ["rehearsal.yaml", "new.yaml"])
def test_an_actor_that_changed_after_planning_does_not_act(
    root: Path, run_id: str, file: str
) -> None:
    warrant = warrant_of(root, run_id, Act("b", "apply", 1))
    with (root / "playbooks" / "lab.change" / file).open("a") as written:
        written.write("# changed\n")
    outcome = done_with(root, run_id, warrant)
    assert isinstance(outcome, Unexpected)
    assert "not the pinned one" in outcome.message
    assert rig.effects(root) == []


@pytest.mark.parametrize(
    ("verb", "unchanged"),
    [("apply", ["h02"]), ("undo", ["h02", "h03"]), ("undo", ["h04"]), ("verify", ["h02", "h03"])],
)
def test_an_act_is_judged_by_at_least_one_of_its_own_targets(
    root: Path, run_id: str, verb: Any, unchanged: list[str]
) -> None:
    act = Act("b", verb, 1)
    warrant = warrant_of(root, run_id, act)
    warrant["brief"]["unchanged"] = unchanged
    outcome = done_with(root, run_id, warrant, act)
    assert isinstance(outcome, Unexpected)
    assert "what was unchanged is not a part of what is undone" in outcome.message
    assert rig.effects(root) == []


def test_a_copy_of_a_warrant_acts_on_nothing(root: Path, run_id: str) -> None:
    warrant = warrant_of(root, run_id, Act("b", "apply", 1))
    outcome = done_with(root, run_id, warrant, Act("b", "apply", 2))
    assert outcome == Unexpected(
        message="refused before it acted: the warrant is for another directory"
    )
    assert rig.effects(root) == []


def test_a_gate_is_never_an_act(root: Path, run_id: str) -> None:
    warrant = warrant_of(root, run_id, Act("b", "apply", 1))
    with Session.open(root) as session:
        plan = session.load(run_id).planned
    place = next(i for i, step in enumerate(plan.steps) if step.id == "d")
    from orchestrator.pure.canonical import merkle_levels, merkle_path  # noqa: PLC0415 - only here
    from orchestrator.pure.model import step_leaves  # noqa: PLC0415 - only here

    warrant["step"] = plan.steps[place].model_dump(mode="json")
    warrant["proof"] = merkle_path(merkle_levels(step_leaves(plan)), place)
    warrant["brief"].update(key=f"{run_id}/d/apply/1", targets=[], params={})
    outcome = done_with(root, run_id, warrant)
    assert isinstance(outcome, Unexpected)
    assert rig.effects(root) == []


# --- the process ----------------------------------------------------------------------------------


def _process(directory: Path) -> int:
    return subprocess.run(
        [sys.executable, "-P", "-m", "orchestrator.act", str(directory)],
        env={"PYTHONPATH": str(rig.TESTS.parent)},
        check=False,
        capture_output=True,
        timeout=rig.PATIENCE_S,
    ).returncode


def test_a_late_starter_refuses_a_directory_that_was_closed(root: Path, run_id: str) -> None:
    act = Act("b", "apply", 1)
    directory = laid(root, run_id, act, warrant_of(root, run_id, act))
    closed = InDoubt(message="its driver died")
    write_outcome(directory, closed)
    assert _process(directory) == 7
    assert read_outcome(directory) == closed
    assert rig.effects(root) == []


def test_two_processes_in_one_directory_act_once(root: Path, run_id: str) -> None:
    act = Act("b", "apply", 1)
    directory = laid(root, run_id, act, warrant_of(root, run_id, act))
    args = [sys.executable, "-P", "-m", "orchestrator.act", str(directory)]
    env = {"PYTHONPATH": str(rig.TESTS.parent)}
    both = [subprocess.Popen(args, env=env) for _ in range(4)]
    codes = sorted(one.wait(rig.PATIENCE_S) for one in both)
    assert codes == [0, 7, 7, 7]
    assert len(rig.effects(root)) == 1


def test_an_act_without_a_warrant_leaves_no_outcome(root: Path, run_id: str) -> None:
    directory = directory_of(root, run_id, Act("b", "apply", 1))
    directory.mkdir(parents=True)
    assert _process(directory) == 1
    assert read_outcome(directory) is None
