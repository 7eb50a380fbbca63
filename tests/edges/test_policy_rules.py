"""The shipped rules: proved on every engine, and equal to plans as large as they come."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from opa import opa_program
from orchestrator.errors import Unavailable
from orchestrator.policy_binary import OpaBinary
from orchestrator.policy_bundle import bundle_of, read_bundle
from orchestrator.policy_embedded import Embedded
from orchestrator.policy_engines import input_schema, judge
from orchestrator.policy_files import read_base, read_cases, read_weights
from orchestrator.policy_trials import tried
from orchestrator.pure.cases import case_data, document_of
from orchestrator.pure.levels import weigh
from orchestrator.pure.model import Obligations
from orchestrator.pure.policy_answer import Floor
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.policy_engines import Engine
    from orchestrator.pure.policy_input import PolicyInput

pytestmark = pytest.mark.xdist_group("policy_rules")

ROOT: Final = Path(__file__).parent.parent.parent
POLICIES: Final = ROOT / "policies"
PLACES: Final = ("staging", "prod")
BUNDLE: Final = read_bundle(POLICIES)
FLOOR: Final = Floor((), (), Obligations())


@pytest.fixture
def with_opa(monkeypatch: pytest.MonkeyPatch) -> str:
    program = opa_program()
    monkeypatch.setenv("PATH", f"{Path(program).parent}:/usr/bin:/bin")
    return program


def test_an_engine_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    trials = tried(POLICIES, PLACES, "undo")
    assert trials.absent == ("opa: no program opa is on PATH",)
    assert len(trials.engines) == 1
    assert trials.passed


def test_all_engines_say_the_same_of_every_case_and_opa_finds_nothing_wrong(with_opa: str) -> None:
    trials = tried(POLICIES, PLACES)
    assert len(trials.engines) == 2
    assert [trial for trial in trials.trials if trial.problems] == []
    assert {rule: gaps for rule, gaps in trials.gaps.items() if gaps} == {}
    assert {trial.rule for trial in trials.trials} == set(BUNDLE.rules)
    assert trials.differ == ()
    assert [check for check in trials.checks if not check[1]] == []
    assert len(trials.trials) == 2 * len({(t.rule, t.case) for t in trials.trials}) >= 200
    assert trials.passed


def test_the_shipped_rules_are_written_as_opa_would_write_them(with_opa: str) -> None:
    import subprocess  # noqa: PLC0415 - one use

    paths = [str(POLICIES / name) for name in BUNDLE.modules]
    done = subprocess.run(
        [with_opa, "fmt", "--list", *paths], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_every_environment_of_the_shipped_settings_has_its_parameters() -> None:
    """A section that forgets an environment would deny everything there."""
    import yaml  # noqa: PLC0415 - one use

    settings = Settings.model_validate_json(
        _json(yaml.safe_load((ROOT / "interlock.yaml").read_text(encoding="utf-8")))
    )
    whole = document_of(read_base(POLICIES), {})
    weights = read_weights(POLICIES, BUNDLE.modules, settings.environments)
    with contextlib.closing(Embedded(BUNDLE, 30.0)) as engine:
        for place in settings.environments:
            for risk in ("low", "medium", "high"):
                for kind in ("standard", "normal", "emergency"):
                    patch = {
                        "environment": {"name": place},
                        "ticket": {"risk": risk, "class": kind},
                    }
                    about = document_of(whole.document(), patch)
                    verdict = weigh(judge(engine, BUNDLE, about), about, FLOOR, weights)
                    assert [d for d in verdict.denials if d.finding == "unset"] == []


def _json(value: object) -> str:
    import json  # noqa: PLC0415 - one use

    return json.dumps(value)


# --- large plans ----------------------------------------------------------------------------------


def wide(number: int, **changes: Any) -> PolicyInput:
    """A plan in which every step is of a class of its own."""
    base = document_of(read_base(POLICIES), {}).document()
    first = {**base["plan"]["classes"][1], **changes}
    classes = [
        {**first, "class": f"c{n}", "sample": [f"s{n}"], "count": 1, "targets": 1}
        for n in range(number)
    ]
    return document_of(base, {"plan": {"classes": classes}, "summary": {"steps": number}})


def denials(engine: Engine, about: PolicyInput) -> list[tuple[str, int | None]]:
    weights = read_weights(POLICIES, BUNDLE.modules, PLACES)
    with contextlib.closing(engine):
        verdict = weigh(judge(engine, BUNDLE, about), about, FLOOR, weights)
    return [(denial.rule, denial.count) for denial in verdict.denials]


def test_ten_thousand_steps_that_are_all_different_are_judged_whole(with_opa: str) -> None:
    engine = OpaBinary(with_opa, BUNDLE, input_schema(), 60.0)
    assert denials(engine, wide(10_000)) == []


def test_hundreds_of_classes_with_one_fault_are_one_denial() -> None:
    about = wide(200, undo="none")
    assert denials(Embedded(BUNDLE, 60.0), about) == [("undo", 200)]


def test_more_faults_than_anybody_reads_are_no_decision(with_opa: str) -> None:
    engine = OpaBinary(with_opa, BUNDLE, input_schema(), 60.0)
    with pytest.raises(Unavailable) as stopped:
        denials(engine, wide(1_200, undo="none"))
    assert "findings" in stopped.value.what


def test_a_plan_too_various_for_the_embedded_engine_is_refused_with_a_way_on() -> None:
    with pytest.raises(Unavailable) as stopped:
        denials(Embedded(BUNDLE, 60.0), wide(5_001))
    assert "opa" in stopped.value.next_step


# --- rules that are wrong -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(POLICIES, tmp_path / "policies")
    return tmp_path / "policies"


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "rules" / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_rule_that_never_fires_is_found_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    edit(folder, "evidence.rego", "deny contains", "denys contains")
    trials = tried(folder, PLACES, "evidence")
    assert not trials.passed
    assert {t.case for t in trials.trials if t.problems} == {
        "an actor that was never tested",
        "an actor that was edited after its tests",
        "an actor of which nothing is known",
        "tests that passed a day too long ago",
        "tests of which nobody knows the day",
        "an environment for which no age is set",
    }


def test_engines_that_disagree_are_shown(folder: Path, with_opa: str) -> None:
    """The one trap that the linter was taught by this: let it be there once more."""
    edit(folder, "freeze.rego", "not exempt\n", "not is_string(exempts[input.ticket.class])\n")
    trials = tried(folder, PLACES, "freeze")
    assert not trials.passed
    assert trials.differ or any("embedded" in why for why in trials.absent)


def test_a_rule_that_opa_refuses_is_told_with_its_line(folder: Path, with_opa: str) -> None:
    edit(folder, "evidence.rego", "class.gate", "class.gait")
    trials = tried(folder, PLACES, "evidence")
    assert not trials.passed
    assert any("class.gait" in words for _, well, words in trials.checks if not well)


def test_tuning_the_parameters_breaks_no_case(folder: Path) -> None:
    (folder / "data.yaml").write_text("blast_radius: {prod: {targets: 1}}\n", encoding="utf-8")
    bundle = read_bundle(folder)
    assert case_data(read_cases(folder, bundle.rules)) == case_data(
        read_cases(POLICIES, bundle.rules)
    )
    assert bundle_of(bundle.modules, {}).rules == bundle.rules


def test_the_rule_that_the_readme_shows_is_a_whole_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    text = (POLICIES / "README.md").read_text(encoding="utf-8")
    blocks = [
        "\n".join(line[4:] for line in block.splitlines())
        for block in text.split("\n\n## ")[1:3]
        for block in [block.partition("\n\n")[2].partition("\n- ")[0].partition("\n`")[0]]
    ]
    (folder / "rules" / "friday.rego").write_text(f"{blocks[0].rstrip()}\n", encoding="utf-8")
    (folder / "rules" / "friday_cases.yaml").write_text(blocks[1], encoding="utf-8")
    trials = tried(folder, PLACES, "friday")
    assert [trial.problems for trial in trials.trials] == [(), ()]
    assert trials.passed
