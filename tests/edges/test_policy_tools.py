"""The tools of policy authors, as they are typed: test, explain, mutate, backtest."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest

from desk import Desk
from orchestrator.policy_mutants import mutated

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("policy_tools")

RULE: Final = """# METADATA
# title: No web servers
# description: A candidate.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: low
#   findings:
#     web:
#       level: hard
#       satisfy: "Leave the web servers alone."
package interlock.rules.no_web

import rego.v1

deny contains {"id": "no_web.web", "subject": "plan", "msg": "it touches web servers"} if {
	input.inventory.groups.web.targets > 0
}
"""
CASES: Final = """format: 1
cases:
  - {name: web, patch: {}, expect: {findings: [{id: no_web.web}]}}
  - {name: no web, patch: {inventory: {groups: {web: {targets: 0}}}}, expect: {}}
"""
WAIVER: Final = """format: 1
waivers:
  - id: web_once
    rule: no_web
    environment: staging
    owner: ines.ferreira
    ticket: CHG-990
    reason: the last one
    until: UNTIL
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk.fresh(tmp_path_factory.mktemp("policy"), "embedded")
    desk.env["PATH"] = (
        "/usr/bin:/bin"  # without a real OPA: the trials of all engines are elsewhere
    )
    return desk


def added(desk: Desk, level: str = "hard") -> None:
    rules = desk.root / "policies" / "rules"
    (rules / "no_web.rego").write_text(RULE.replace("level: hard", f"level: {level}"))
    (rules / "no_web_cases.yaml").write_text(CASES)


def planned(desk: Desk, expect: int) -> dict[str, Any]:
    files = ("examples/basic-update/ticket.yaml", "-d", "examples/basic-update/draft.yaml")
    document: dict[str, Any] = desk.type_inside("plan", *files, "--json", expect=expect).document
    return document


# --- test -----------------------------------------------------------------------------------------


def test_one_rule_can_be_tried_alone_and_told_to_a_build_server(desk: Desk) -> None:
    report = desk.root / "report.xml"
    typed = desk.type_inside("policy", "test", "undo", "--junit", str(report), expect=0)
    assert "undo, 8 cases" in typed.out
    assert "1 rule, 0 broken, on 1 engine" in typed.out
    suites = ET.fromstring(report.read_text())  # noqa: S314 - our own report
    assert [suite.get("failures") for suite in suites] == ["0", "0"]
    assert len(suites.findall(".//testcase[@classname='undo']")) == 9


def test_a_broken_rule_is_told_and_the_exit_code_says_so(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    desk.env["PATH"] = "/usr/bin:/bin"
    desk.edit("policies/rules/undo.rego", '== "none"', '== "nothing"')
    report = desk.root / "report.xml"
    typed = desk.type_inside("policy", "test", "undo", "--junit", str(report), expect=2)
    assert "a change that cannot be undone (embedded" in typed.out
    assert "is silent about undo.none of c1" in typed.out
    failures = ET.fromstring(report.read_text()).findall(".//failure")  # noqa: S314 - our own
    assert [failure.get("message") for failure in failures] == ["is silent about undo.none of c1"]
    typed = desk.type_inside("policy", "test", "undo", "--json", expect=2)
    assert typed.document["passed"] is False
    assert planned_refused(desk)


def planned_refused(desk: Desk) -> bool:
    """The same rule judges nothing: a plan is not vetted by it."""
    files = ("examples/basic-update/ticket.yaml", "-d", "examples/basic-update/draft.yaml")
    typed = desk.type_inside("plan", *files)
    return typed.code == 2 and "rules that their cases do not prove" in typed.err


def test_a_rule_that_does_not_exist_is_answered_with_the_nearest(desk: Desk) -> None:
    for verb in ("test", "explain"):
        typed = desk.type_inside("policy", verb, "blast_raduis", expect=2)
        assert "did you mean blast_radius?" in typed.err


# --- explain --------------------------------------------------------------------------------------


def test_a_rule_is_explained_with_its_levels_and_where_they_come_from(desk: Desk) -> None:
    typed = desk.type_inside("policy", "explain", "evidence", expect=0)
    assert "advisory: levels.yaml: evidence, for staging" in typed.out
    assert "hard: the metadata of evidence" in typed.out
    document = desk.type_inside("policy", "explain", "evidence", "--json", expect=0).document
    assert document["levels"]["stale"]["staging"]["level"] == "advisory"


def test_levels_and_waivers_travel_into_the_decision_and_onto_the_page(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    added(desk, "soft")
    assert planned(desk, expect=3)["decision"]["denials"][0]["level"] == "soft"
    waivers = desk.root / "policies" / "waivers.yaml"
    waivers.write_text(WAIVER.replace("UNTIL", "2020-01-01T00:00:00+01:00"))
    decision = planned(desk, expect=3)["decision"]
    assert [use["state"] for use in decision["waivers"]] == ["expired"]
    waivers.write_text(WAIVER.replace("UNTIL", "2999-01-01T00:00:00+01:00"))
    document = planned(desk, expect=4)
    assert [use["state"] for use in document["decision"]["waivers"]] == ["applied"]
    shown = " ".join(desk.type_inside("show", document["run"], expect=0).out.split())
    assert "it touches web servers [no_web.web, soft, waived by web_once]" in shown
    assert "web_once, applied: no_web" in shown
    assert "ines.ferreira (CHG-990): the last one" in shown
    levels = desk.root / "policies" / "levels.yaml"
    levels.write_text("format: 1\nlevels: {no_web: {staging: hard}}\n")
    decision = planned(desk, expect=3)["decision"]
    assert [use["state"] for use in decision["waivers"]] == ["unused"]
    levels.write_text("format: 1\nlevels: {no_web: shadow}\n")
    decision = planned(desk, expect=4)["decision"]
    assert ("no_web", "shadow") in [(one["rule"], one["level"]) for one in decision["warnings"]]


def test_a_denied_plan_is_explained_with_edits_that_pass_when_they_are_made(
    tmp_path: Path,
) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    data = desk.root / "policies" / "data.yaml"
    text = data.read_text()
    text = text.replace("targets: 20\n", "targets: 4\n").replace("first_slice: 3", "first_slice: 1")
    data.write_text(text)
    ticket, draft = (
        desk.root / "examples" / "openssl-web-tier" / name for name in ("ticket.yaml", "draft.yaml")
    )
    frozen = ticket.read_text().replace("2026-11-25", "2099-12-24")
    ticket.write_text(frozen)
    run = desk.type_inside("plan", str(ticket), "-d", str(draft), "--json", expect=3).document
    report = desk.root / "report.sarif"
    typed = desk.type_inside("policy", "explain", run["run"], "--sarif", str(report), expect=0)
    assert "freeze.frozen" in typed.out
    assert "hard, from the metadata of blast_radius" in typed.out
    assert "with these edits nothing denies it" in typed.out
    explained = desk.type_inside("policy", "explain", run["run"], "--json", expect=0).document
    edits = {edit["mends"]: edit["says"] for edit in explained["edits"]}
    assert set(edits) == {"blast_radius.targets", "blast_radius.first_slice", "freeze.frozen"}
    assert explained["left"] == []
    sarif = json.loads(report.read_text())
    assert {result["ruleId"] for result in sarif["runs"][0]["results"]} == {
        "blast_radius",
        "freeze",
    }

    assert "4 of the 7 targets" in edits["blast_radius.targets"]
    names = re.findall(r"web-ams1-\d\d", edits["blast_radius.targets"])
    window = edits["freeze.frozen"].removeprefix("in the ticket: ")
    made = re.sub(r"window:\n  start: .*\n  end: .*\n", f"{window}\n", frozen)
    assert made != frozen
    ticket.write_text(made)
    changed = draft.read_text().replace('["@web", "!web-ams1-05"]', json.dumps(names))
    draft.write_text(changed.replace("size: 2", "size: 1"))
    assert "size: 1 of the wave web_tier" in edits["blast_radius.first_slice"]
    desk.type_inside("plan", str(ticket), "-d", str(draft), "--json", expect=4)


def test_what_no_edit_mends_is_said_to_be_left(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    added(desk)
    run = planned(desk, expect=3)["run"]
    typed = desk.type_inside("policy", "explain", run, expect=0)
    assert "no edit of the draft or the ticket mends: no_web.web" in typed.out
    typed = desk.type_inside("policy", "explain", run, "--no-edits", expect=0)
    assert "EDITS" not in typed.out


def test_a_run_without_a_plan_has_nothing_to_explain(desk: Desk) -> None:
    ticket, draft = (f"examples/refusal/{name}.yaml" for name in ("ticket", "draft"))
    run = desk.type_inside("plan", ticket, "-d", draft, "--json", expect=3).document["run"]
    assert "has no plan" in desk.type_inside("policy", "explain", run, expect=2).err


# --- mutate ---------------------------------------------------------------------------------------


def test_every_way_to_break_the_gate_denies(desk: Desk, record_property: Any) -> None:
    mutants = list(mutated(desk.root / "policies", ("staging", "prod")))
    assert [mutant.name for mutant in mutants if not mutant.denied] == []
    kinds = ("rule ", "decision.rego", "data.yaml", "the engine says", "the server", "the engine ")
    for kind in kinds:
        assert any(mutant.name.startswith(kind) for mutant in mutants), kind
    assert len(mutants) >= 200
    record_property("figure", f"broken policy gates that denied: {len(mutants)} of {len(mutants)}")


def test_a_gate_that_denies_everything_is_no_proof(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    desk.edit("policies/base.yaml", "evidence: fresh", "evidence: stale")
    typed = desk.type_inside("policy", "mutate", expect=2)
    assert "denies its own base" in typed.err


# --- backtest -------------------------------------------------------------------------------------


def test_a_candidate_is_asked_about_the_past_and_changes_nothing(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    candidate = tmp_path / "no_web.rego"
    candidate.write_text(RULE)
    (tmp_path / "no_web_cases.yaml").write_text(CASES)
    failing = "examples/foreseen-failure"
    run = desk.approved(failing)
    desk.type("run", run, expect=5)
    desk.plan()
    question = "examples/question"
    ticket, draft = f"{question}/ticket.yaml", f"{question}/draft-after-answer.yaml"
    desk.type_inside("plan", ticket, "-d", draft)
    policies = {name: raw for name, raw in desk.everything().items() if "policies" in name}
    typed = desk.type_inside("policy", "backtest", str(candidate), expect=0)
    assert "no_web.rego would have stopped 2 of 3 past changes; 1 of these went back" in typed.out
    document = desk.type_inside("policy", "backtest", str(candidate), "--json", expect=0).document
    assert {change["after"] for change in document["changes"]} == {"deny"}
    assert all(change["exact"] for change in document["changes"])
    after = {name: raw for name, raw in desk.everything().items() if "policies" in name}
    assert after == policies
    desk.edit("interlock.yaml", "engine: embedded", "engine: builtin")
    same = desk.type_inside("policy", "backtest", str(desk.root / "policies"), expect=0)
    assert "would have stopped 0 of 3" in same.out


def test_a_candidate_that_its_cases_do_not_prove_judges_no_past(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path, "embedded")
    desk.plan()
    candidate = tmp_path / "no_web.rego"
    candidate.write_text(RULE)
    assert (
        "no_web_cases.yaml" in desk.type_inside("policy", "backtest", str(candidate), expect=2).err
    )
    notes = tmp_path / "notes.txt"
    notes.write_text("x")
    assert "neither a rule" in desk.type_inside("policy", "backtest", str(notes), expect=2).err
