"""The rehearsal: what a script makes of an act, and what its world remembers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actors.effects import World
from actors.kinds import ActorsError
from actors.rehearsal import Rehearsal, read_script
from actors.spec import (
    ActorSpec,
    Brief,
    Done,
    Failed,
    FailureMode,
    Found,
    InDoubt,
    Predicted,
    Target,
    Unexpected,
)

if TYPE_CHECKING:
    from actors.spec import Outcome

OUTPUT = {"cut": {"type": "integer", "summary": "how many", "minimum": 0, "maximum": 9}}
QUICK = (
    "format: 1\ndurations_ms: {check: 0, apply: 0, verify: 0, undo: 0}\noutputs: {cut: 2, no: 1}\n"
)


class Stage:
    """One actor, its script and its world."""

    def __init__(self, tmp_path: Path, rules: str = "", **spec: Any) -> None:
        self.folder = tmp_path
        self.world = tmp_path / "world"
        (tmp_path / "rehearsal.yaml").write_text(QUICK + (f"on:\n{rules}\n" if rules else ""))
        described: dict[str, Any] = {
            "name": "web.member_drain",
            "version": "1.0.0",
            "kind": "rehearsal",
            "summary": "x",
            "when_to_use": "x",
            "when_not_to_use": "x",
            "effect": "change",
            "outputs": OUTPUT,
            "writes": ("pool",),
            "idempotent": True,
            "undo": "full",
            "dry_run": "partial",
            "failure_modes": (
                FailureMode(name="busy", summary="x"),
                FailureMode(name="half", summary="x", leaves="partial"),
            ),
        }
        self.spec = ActorSpec.model_validate({**described, **spec})

    def brief(self, verb: str = "apply", *, step: str = "drain", **more: Any) -> Brief:
        asked: dict[str, Any] = {
            "key": f"run/1/{step}/{verb}/1",
            "verb": verb,
            "attempt": 1,
            "folder": str(self.folder),
            "spec": self.spec,
            "params": {"grace_s": 5},
            "targets": (Target(name="web-1"), Target(name="web-2")),
            "timeout_s": 1,
            "workdir": str(self.folder),
        }
        return Brief.model_validate({**asked, **more})

    def ask(self, verb: str = "apply", *, step: str = "drain", **more: Any) -> Outcome:
        return self.perform(self.brief(verb, step=step, **more))

    def perform(self, brief: Brief) -> Outcome:
        return Rehearsal().perform(brief, {"world": str(self.world)})

    def state(self, **more: Any) -> str:
        found = self.ask("verify", **more)
        assert isinstance(found, Found)
        return found.state

    def in_a_child(self, brief: Brief) -> Any:
        child = multiprocessing.get_context("fork").Process(target=self.perform, args=(brief,))
        child.start()
        return child


def test_an_apply_leaves_one_effect_and_its_outputs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.ask() == Done(changed=True, outputs={"cut": 2})
    (effect,) = World(stage.world).effects()
    assert effect["key"] == "run/1/drain/apply/1"
    assert (effect["run"], effect["step"], effect["verb"]) == ("run/1", "drain", "apply")
    assert effect["targets"] == ["web-1", "web-2"]
    assert effect["params"] == {"grace_s": 5}
    assert effect["pid"] == os.getpid()


def test_a_second_apply_is_a_second_effect(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask()
    stage.ask()
    assert len(World(stage.world).effects()) == 2


def test_verify_and_check_leave_no_effect(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.state() == "not_applied"
    outcome = stage.ask("check")
    assert isinstance(outcome, Predicted)
    assert [change.target for change in outcome.changes] == ["web-1", "web-2"]
    assert outcome.grade == "partial"
    assert World(stage.world).effects() == ()


def test_nothing_is_predicted_where_the_wanted_state_holds(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask()
    outcome = stage.ask("check")
    assert isinstance(outcome, Predicted)
    assert outcome.changes == ()


def test_an_undo_takes_its_own_apply_away(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask()
    assert stage.state() == "applied"
    assert stage.ask("undo") == Done(changed=True)
    assert stage.state() == "not_applied"


def test_other_params_are_another_state(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask()
    assert stage.state(params={"grace_s": 6}) == "not_applied"


def test_other_targets_make_it_partial(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask(targets=(Target(name="web-1"),))
    assert stage.state() == "partial"


def test_whoever_wrote_the_aspect_last_holds_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask(step="drain")
    stage.ask(step="enable")
    assert stage.state(step="drain") == "not_applied"
    stage.ask("undo", step="enable")
    assert stage.state(step="drain") == "applied"


def test_another_run_did_not_do_this_runs_step(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask(key="run/0/drain/apply/1")
    assert stage.state() == "not_applied"


def test_an_actor_without_targets_has_a_state_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path, untargeted_because="x")
    stage.ask(targets=())
    assert stage.state(targets=()) == "applied"


def test_a_torn_line_makes_every_state_unknown(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ask()
    with (stage.world / "effects.jsonl").open("ab") as file:
        file.write(b'{"key": "run/1/dra')
    assert stage.state() == "unknown"
    assert len(World(stage.world).effects()) == 1


@pytest.mark.parametrize(
    ("rule", "outcome", "state"),
    [
        ("do: fail, mode: busy", Failed, "not_applied"),
        ("do: fail, mode: undeclared", Unexpected, "not_applied"),
        ("do: break", Unexpected, "not_applied"),
        ("do: partial", Unexpected, "partial"),
        ("do: partial, mode: half", Failed, "partial"),
        ("do: doubt", InDoubt, "not_applied"),
        ("do: doubt_applied", InDoubt, "applied"),
        ("do: work, outputs: {cut: 7}", Done, "applied"),
    ],
)
def test_a_rule_decides_what_becomes_of_an_act(
    tmp_path: Path, rule: str, outcome: type, state: str
) -> None:
    stage = Stage(tmp_path, f"  - {{step: drain, {rule}}}")
    assert isinstance(stage.ask(), outcome)
    assert stage.state() == state


def test_half_of_one_target_is_partial(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "  - {do: partial}\n  - {verb: undo, do: partial}")
    one = (Target(name="web-1"),)
    stage.ask(targets=one)
    assert stage.state(targets=one) == "partial"
    stage.ask("undo", targets=one)
    assert stage.state(targets=one) == "partial"


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ("step: 'dr*'", True),
        ("step: patch", False),
        ("target: web-2", True),
        ("target: 'db-*'", False),
        ("attempt: 1", True),
        ("attempt: 2", False),
        ("params: {grace_s: 5}", True),
        ("params: {grace_s: 6}", False),
        ("verb: undo", False),
    ],
)
def test_a_rule_matches_what_it_says_and_nothing_else(
    tmp_path: Path, match: str, *, hit: bool
) -> None:
    stage = Stage(tmp_path, f"  - {{{match}, do: break}}")
    assert isinstance(stage.ask(), Unexpected) is hit


@pytest.mark.parametrize("state", ["unknown", "partial", "applied", "not_applied"])
def test_verify_finds_what_the_script_says(tmp_path: Path, state: str) -> None:
    stage = Stage(tmp_path, f"  - {{verb: verify, do: find, state: {state}}}")
    assert stage.state() == state


def test_check_predicts_what_the_script_says(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "  - {verb: check, do: work, changes: [one, two]}")
    outcome = stage.ask("check", targets=(Target(name="web-1"),))
    assert isinstance(outcome, Predicted)
    assert [change.summary for change in outcome.changes] == ["one", "two"]


@pytest.mark.parametrize(
    ("rule", "state"), [("crash_before", "not_applied"), ("crash_after", "applied")]
)
def test_a_crash_kills_the_process_before_or_after_the_effect(
    tmp_path: Path, rule: str, state: str
) -> None:
    stage = Stage(tmp_path, f"  - {{verb: apply, do: {rule}}}")
    child = stage.in_a_child(stage.brief())
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert stage.state() == state


def test_what_hangs_ends_in_doubt_at_its_timeout_without_effect(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "  - {do: hang}")
    assert isinstance(stage.ask(), InDoubt)
    assert stage.state() == "not_applied"


def test_what_takes_longer_than_it_may_ends_in_doubt(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "  - {do: work, takes_ms: 60000}")
    assert isinstance(stage.ask(), InDoubt)
    assert stage.state() == "not_applied"


@pytest.mark.parametrize(
    ("modes", "outcome"),
    [((FailureMode(name="stopped", summary="x"),), Failed), ((), InDoubt)],
)
def test_a_request_to_stop_ends_the_wait_before_the_effect(
    tmp_path: Path, modes: tuple[FailureMode, ...], outcome: type
) -> None:
    stage = Stage(tmp_path, "  - {do: hang}", failure_modes=modes)
    brief = stage.brief(timeout_s=600)
    read_end, write_end = multiprocessing.get_context("fork").Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: write_end.send(stage.perform(brief).kind)
    )
    child.start()
    while child.exitcode is None and not _listens_for_sigterm(child.pid):
        time.sleep(0.005)
    os.kill(child.pid or 0, signal.SIGTERM)
    child.join()
    assert read_end.recv() == outcome.model_fields["kind"].default  # type: ignore[attr-defined]  # a pipe has no type here
    assert stage.state() == "not_applied"


def _listens_for_sigterm(pid: int | None) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def test_somebody_elses_listener_is_left_alone(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        stage.ask()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_listener_is_gone_after_an_act(tmp_path: Path) -> None:
    Stage(tmp_path).ask()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("settings", [{}, {"world": 5}, {"world": "relative"}])
def test_without_a_world_nothing_is_done(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ActorsError, match="no world"):
        Rehearsal().perform(Stage(tmp_path).brief(), settings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("format: 1\non:\n  - {do: explode}\n", ":3: on.1.do is"),
        ("format: 2\n", ":1: format is 2"),
        ("format: 1\na: [\n", "is not YAML"),
        ("format: 1\nonn: []\n", "did you mean on"),
    ],
)
def test_a_script_that_cannot_be_used_says_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "rehearsal.yaml").write_text(text)
    with pytest.raises(ActorsError) as caught:
        read_script(tmp_path)
    assert says in caught.value.what


def test_a_missing_script_says_so(tmp_path: Path) -> None:
    with pytest.raises(ActorsError, match="cannot be read"):
        read_script(tmp_path)
