"""What a policy author or an operator mistypes is refused, with the file, the line and a way on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.policy_bundle import read_bundle
from orchestrator.policy_files import read_base, read_cases, read_weights

POLICIES: Final = Path(__file__).parent.parent.parent / "policies"
PLACES: Final = ("staging", "prod")
WAIVER: Final = """format: 1
waivers:
  - id: w1
    rule: dry_run_coverage
    environment: prod
    owner: ines.ferreira
    ticket: CHG-990
    reason: the vendor cannot predict
    until: 2026-12-24T00:00:00+01:00
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(POLICIES, tmp_path / "policies")
    return tmp_path / "policies"


def _read(folder: Path, *, cases: bool) -> None:
    bundle = read_bundle(folder)
    read_weights(folder, bundle.modules, PLACES)
    if cases:
        read_cases(folder, bundle.rules)
        read_base(folder)


def refused(folder: Path, *, cases: bool = False) -> str:
    with pytest.raises(InvalidInput) as stopped:
        _read(folder, cases=cases)
    assert stopped.value.next_step
    return str(stopped.value.what)


def test_the_shipped_files_are_read_and_every_rule_says_what_it_wants() -> None:
    bundle = read_bundle(POLICIES)
    weights = read_weights(POLICIES, bundle.modules, PLACES)
    assert set(weights.cards) == set(bundle.rules) == set(read_cases(POLICIES, bundle.rules))
    assert len(weights.cards) >= 16
    for card in weights.cards.values():
        assert card.title
        assert card.description


def test_without_levels_and_waivers_the_authors_words_hold(folder: Path) -> None:
    (folder / "levels.yaml").unlink()
    (folder / "waivers.yaml").unlink()
    weights = read_weights(folder, read_bundle(folder).modules, PLACES)
    assert (dict(weights.levels), weights.waivers) == ({}, ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format: 1\nlevels: {evidense: soft}\n", "levels.yaml:2: there is no rule evidense"),
        ("format: 1\nlevels: {evidence.stail: soft}\n", "did you mean stale?"),
        ("format: 1\nlevels: {evidence: {produ: soft}}\n", "no environment produ"),
        ("format: 1\nlevels: {evidence: mandatory}\n", "levels.yaml:2"),
        ("format: 1\nlevels: {evidence: soft, evidence: hard}\n", "levels.yaml:2"),
        ("format: 2\nlevels: {}\n", "levels.yaml:1"),
        ("format: 1\nlevel: {}\n", "level"),
        ("", "levels.yaml"),
        ("levels: [", "levels.yaml"),
    ],
)
def test_a_level_that_would_bind_nothing_is_refused(folder: Path, text: str, words: str) -> None:
    (folder / "levels.yaml").write_text(text, encoding="utf-8")
    assert words in refused(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rule: dry_run_coverage", "rule: dry_run_coverige", "did you mean dry_run_coverage?"),
        ("rule: dry_run_coverage", "rule: dry_run_coverage.unheard", "has no finding unheard"),
        ("environment: prod", "environment: production", "no environment production"),
        ("+01:00", "", "offset"),
        ("2026-12-24T00:00:00+01:00", "2026-12-24", "offset"),
        ("2026-12-24T00:00:00+01:00", "when it is done", "date and time"),
        ("    until: 2026-12-24T00:00:00+01:00\n", "", "until"),
        ("    owner: ines.ferreira\n", "", "owner"),
        ("    reason: the vendor cannot predict\n", "", "reason"),
        ("    ticket: CHG-990\n", "", "ticket"),
        ("    id: w1", "    id: W 1", "id"),
    ],
)
def test_a_waiver_that_is_not_whole_is_refused(
    folder: Path, old: str, new: str, words: str
) -> None:
    text = WAIVER.replace("- id: w1", "-\n    id: w1")
    assert old in text
    (folder / "waivers.yaml").write_text(text.replace(old, new), encoding="utf-8")
    says = refused(folder)
    assert "waivers.yaml:" in says
    assert words in says


def test_two_waivers_of_one_name_are_refused(folder: Path) -> None:
    both = WAIVER + WAIVER.partition("waivers:\n")[2]
    (folder / "waivers.yaml").write_text(both, encoding="utf-8")
    assert "w1 is there already" in refused(folder)


def test_a_waiver_ends_at_an_instant_wherever_it_was_written(folder: Path) -> None:
    ends = set()
    for until in ("2026-12-24T00:00:00+01:00", "2026-12-23T23:00:00Z", "2026-12-23T18:00:00-05:00"):
        text = WAIVER.replace("2026-12-24T00:00:00+01:00", until)
        (folder / "waivers.yaml").write_text(text, encoding="utf-8")
        (waiver,) = read_weights(folder, read_bundle(folder).modules, PLACES).waivers
        ends.add(waiver.until_ms)
    assert ends == {1_798_066_800_000}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("# METADATA", "# metadata", "has no METADATA"),
        ("# title: Undo", "# titel: Undo", "titel"),
        ("#   severity: high", "#   severity: grave", "severity"),
        ("#       level: hard", "#       level: mandatory", "level"),
        ("# scope: package", "# scope: rule", "scope"),
        ("# custom:", "# costum:", "costum"),
        ("#   findings:", "#   finding:", "finding"),
        ('satisfy: "Put', 'satisfy: Put: "', "undo.rego:"),
        ("import rego.v1", "import rego.v1\n# METADATA", ""),
    ],
)
def test_metadata_that_nobody_could_read_is_refused(
    folder: Path, old: str, new: str, words: str
) -> None:
    path = folder / "rules" / "undo.rego"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    if words:
        says = refused(folder)
        assert "undo.rego:" in says
        assert words in says
    else:
        read_weights(folder, read_bundle(folder).modules, PLACES)


def test_two_rules_with_one_package_are_refused(folder: Path) -> None:
    shutil.copyfile(folder / "rules" / "undo.rego", folder / "rules" / "undo_too.rego")
    assert "undo_too.rego:1: must begin with `package interlock.rules.undo_too`" in refused(folder)


def test_a_rule_without_cases_and_cases_without_a_rule_are_refused(folder: Path) -> None:
    cases = folder / "rules" / "undo_cases.yaml"
    cases.rename(folder / "rules" / "undoing_cases.yaml")
    assert "undoing_cases.yaml: there is no rule of this name" in refused(folder, cases=True)
    (folder / "rules" / "undoing_cases.yaml").unlink()
    assert "undo_cases.yaml: cannot be read" in refused(folder, cases=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema: [", "base.yaml:"),
        ("just words", "base.yaml: is no whole input"),
        ("mode: plan\n", "base.yaml: is no whole input"),
    ],
)
def test_a_base_that_is_no_input_is_refused(folder: Path, text: str, words: str) -> None:
    (folder / "base.yaml").write_text(text, encoding="utf-8")
    assert words in refused(folder, cases=True)


@pytest.mark.parametrize("name", ["decision.rego", "data.yaml", "levels.yaml", "rules/undo.rego"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name}: cannot be read: it is not a plain file" in refused(folder)
