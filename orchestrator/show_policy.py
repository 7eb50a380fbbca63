"""What policy authors read: trials, explanations, broken gates and the past; text, SARIF, JUnit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from orchestrator.pure.levels import level_of
from orchestrator.show_text import Page, Span, clean, count, instant, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.policy_edits import Mended
    from orchestrator.policy_mutants import Mutant
    from orchestrator.policy_past import Verdicts
    from orchestrator.policy_trials import Trials
    from orchestrator.pure.levels import RuleCard, Weights
    from orchestrator.pure.model import Decision, Denial

__all__ = [
    "junit",
    "mutants_text",
    "past_text",
    "reasons_text",
    "rule_document",
    "rule_text",
    "sarif",
    "trials_document",
    "trials_text",
]

UNBOUND: Final = 10_000
NAMED: Final = 8
BADLY: Final = ("rolled_back", "held", "diagnosing", "taken_over")
SARIF: Final = {"hard": "error", "soft": "error", "advisory": "warning", "shadow": "note"}


# --- trials ---------------------------------------------------------------------------------------


def trials_text(trials: Trials, *, color: bool) -> str:
    """Show what each rule said in its cases, and where engines differ."""
    page = Page(UNBOUND, color=color)
    for name in trials.engines:
        page.line(Span("engine   ", "dim"), name)
    for why in trials.absent:
        page.line(Span("skipped  ", "warn"), why)
    for rule, gaps in sorted(trials.gaps.items()):
        mine = [trial for trial in trials.trials if trial.rule == rule]
        broken = [trial for trial in mine if trial.problems]
        cases = count(len({trial.case for trial in mine}), "case")
        says = [f"{t.case} ({t.engine}): {words}" for t in broken for words in t.problems]
        _add_result(page, f"{rule}, {cases}", [*gaps, *says])
    for differ in trials.differ:
        page.line(Span("DIFFER   ", "red"), differ)
    for name, well, words in trials.checks:
        _add_result(page, name, [] if well else words.splitlines() or ["it failed"])
    broken_rules = {t.rule for t in trials.trials if t.problems}
    broken_rules |= {rule for rule, gaps in trials.gaps.items() if gaps}
    rules, engines = count(len(trials.gaps), "rule"), count(len(trials.engines), "engine")
    page.line(Span(f"{rules}, {len(broken_rules)} broken, on {engines}", "bold"))
    return page.text()


def _add_result(page: Page, what: str, problems: Sequence[str]) -> None:
    page.line(Span("BROKEN   " if problems else "passed   ", "red" if problems else "green"), what)
    for problem in problems:
        page.line(problem, indent=11)


def trials_document(trials: Trials) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "format": 1,
        "passed": trials.passed,
        "engines": list(trials.engines),
        "absent": list(trials.absent),
        "gaps": {rule: list(gaps) for rule, gaps in trials.gaps.items() if gaps},
        "differ": list(trials.differ),
        "checks": [{"name": n, "passed": well, "says": words} for n, well, words in trials.checks],
        "trials": [
            {"rule": t.rule, "case": t.case, "engine": t.engine, "problems": list(t.problems)}
            for t in trials.trials
        ],
    }


def junit(trials: Trials) -> str:
    """Write trials as a report that build servers read."""
    root = ET.Element("testsuites", name="interlock policy test")
    rows = [(t.engine, t.rule, t.case, t.problems) for t in trials.trials]
    rows += [("cases", rule, "promises", gaps) for rule, gaps in sorted(trials.gaps.items())]
    rows += [("engines", "all", words, (words,)) for words in trials.differ]
    rows += [("opa", name, name, () if well else (words,)) for name, well, words in trials.checks]
    for suite in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == suite]
        failures = sum(bool(row[3]) for row in mine)
        told = {"name": suite, "tests": str(len(mine)), "failures": str(failures)}
        node = ET.SubElement(root, "testsuite", told)
        for _, rule, case, problems in mine:
            test = ET.SubElement(node, "testcase", {"classname": rule, "name": clean(case)})
            if problems:
                says = "\n".join(clean(problem) for problem in problems)
                ET.SubElement(test, "failure", {"message": says.partition("\n")[0]}).text = says
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


# --- explanations ---------------------------------------------------------------------------------


def rule_text(
    name: str, weights: Weights, environments: Iterable[str], params: object, *, color: bool
) -> str:
    """Say what a rule wants, how it binds here, and how to satisfy it."""
    card, page = weights.cards[name], Page(100, color=color)
    page.line(Span(card.title, "bold"), Span(f"  {name}, severity {card.severity}", "dim"))
    page.words(" ".join(card.description.split()), indent=2)
    page.field("file", f"policies/rules/{name}.rego")
    for what, finding in card.findings.items():
        page.head(f"{name}.{what}")
        for environment in environments:
            level, source = level_of(weights, name, what, environment)
            page.field(environment, f"{level}: {source}")
        page.field("satisfy", finding.satisfy)
    for waiver in weights.waivers:
        if waiver.rule.partition(".")[0] == name:
            until = f"{waiver.environment}, until {instant(waiver.until_ms)}"
            page.field("waiver", f"{waiver.id}: {until}, {waiver.owner} ({waiver.ticket})", "warn")
    if params is not None:
        page.head("data.yaml")
        page.words(json.dumps(params, ensure_ascii=False), indent=2)
    return page.text()


def rule_document(
    name: str, weights: Weights, environments: Iterable[str], params: object
) -> dict[str, Any]:
    """Return the same as plain values."""
    card, places = weights.cards[name], list(environments)
    return {
        "format": 1,
        "rule": name,
        **card.model_dump(mode="json"),
        "levels": {
            what: {
                place: dict(
                    zip(("level", "source"), level_of(weights, name, what, place), strict=True)
                )
                for place in places
            }
            for what in card.findings
        },
        "waivers": [
            waiver.model_dump(mode="json")
            for waiver in weights.waivers
            if waiver.rule.partition(".")[0] == name
        ],
        "params": params,
    }


def reasons_text(
    run: str,
    environment: str,
    decision: Decision,
    weights: Weights,
    mended: Mended | None,
    *,
    color: bool,
) -> str:
    """Say of each denial and warning what it rests on, and with which edits the plan passes."""
    page = Page(100, color=color)
    words = "denied" if decision.outcome == "deny" else "allowed"
    page.line(Span(run, "bold"), f"  as of now {words}, by {decision.engine}")
    for denial in decision.denials:
        _add_reason(page, denial, weights, environment, "alarm")
    for denial in decision.warnings:
        _add_reason(page, denial, weights, environment, "warn")
    for use in decision.waivers:
        page.field("waiver", f"{use.id}, {use.state}: {use.rule}, until {instant(use.until_ms)}")
    if not decision.denials:
        page.line("nothing denies it")
    if mended is not None and decision.denials:
        _add_edits(page, mended)
    return page.text()


def _add_reason(page: Page, denial: Denial, weights: Weights, place: str, style: Any) -> None:
    card: RuleCard | None = weights.cards.get(denial.rule)
    name = f"{denial.rule}.{denial.finding}" if denial.finding else denial.rule
    page.line()
    page.line(Span(name, style), Span(f"  {card.title}" if card else "  interlock.yaml", "dim"))
    others = (denial.count or 1) - 1
    if denial.step:
        more = f" and {count(others, 'more step')}" if others else ""
        page.field("step", f"{denial.step}{more}")
    page.field("why", denial.message)
    if card is not None:
        level, source = level_of(weights, denial.rule, denial.finding, place)
        page.field("level", f"{denial.level or level}, from {source}")
    if denial.waiver:
        page.field("waived", f"by {denial.waiver}")
    declared = card.findings.get(denial.finding or "") if card else None
    if declared is not None:
        page.field("satisfy", declared.satisfy)
    if denial.edit and (declared is None or denial.edit != declared.satisfy):
        page.field("edit", denial.edit, "cyan")


def _add_edits(page: Page, mended: Mended) -> None:
    page.head("EDITS", note=f"found by trying {mended.tries} on the gate")
    for number, edit in enumerate(mended.edits, 1):
        page.field(f"{number}.", f"{edit.says}  [{edit.mends}]", "cyan")
    if not mended.left:
        page.line(Span("with these edits nothing denies it", "green"), indent=2)
        return
    left = joined((f"{d.rule}.{d.finding}" if d.finding else d.rule for d in mended.left), NAMED)
    page.words(f"no edit of the draft or the ticket mends: {left}", "warn", indent=2)


def sarif(decision: Decision, weights: Weights, run: str) -> str:
    """Write a decision's reasons as a report that code hosts read."""
    names = sorted({d.rule for d in (*decision.denials, *decision.warnings)})
    results = [
        {
            "ruleId": denial.rule,
            "level": SARIF[denial.level or "hard"] if not denial.waiver else "note",
            "message": {"text": clean(denial.message)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _file(denial.rule, weights.cards)}
                    },
                    "logicalLocations": [{"name": denial.step or run}],
                }
            ],
        }
        for denial in (*decision.denials, *decision.warnings)
    ]
    rules = [
        {
            "id": name,
            "shortDescription": {"text": weights.cards[name].title},
            "help": {"text": weights.cards[name].description},
        }
        if name in weights.cards
        else {"id": name, "shortDescription": {"text": "interlock.yaml"}}
        for name in names
    ]
    driver = {"name": "interlock", "rules": rules}
    report = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _file(rule: str, cards: Mapping[str, RuleCard]) -> str:
    return f"policies/rules/{rule}.rego" if rule in cards else "interlock.yaml"


# --- broken gates, and the past -------------------------------------------------------------------


def mutants_text(mutants: Sequence[Mutant], *, color: bool) -> str:
    """Say how many broken gates let something pass; name each of them."""
    page = Page(UNBOUND, color=color)
    for mutant in mutants:
        if not mutant.denied:
            page.line(Span("ALLOWED  ", "red"), mutant.name)
    denied = sum(mutant.denied for mutant in mutants)
    score = denied * 100 // len(mutants) if mutants else 0
    page.line(Span(f"{denied} of {len(mutants)} broken gates denied: score {score} %", "bold"))
    return page.text()


def past_text(verdicts: Sequence[Verdicts], what: str, *, color: bool) -> str:
    """Say which past changes the candidate would have judged otherwise."""
    page = Page(UNBOUND, color=color)
    for one in verdicts:
        if not one.changed:
            continue
        page.line(Span(one.run, "bold"), f"  {one.before} → {one.after}  ", Span(one.ended, "dim"))
        page.line(one.title, indent=4)
        for reason in one.reasons:
            page.line(reason, indent=4)
    stopped = [v for v in verdicts if v.after == "deny" != v.before]
    failed = sum(v.ended in BADLY for v in stopped)
    says = f"{what} would have stopped {len(stopped)} of {count(len(verdicts), 'past change')}"
    page.line(Span(f"{says}; {failed} of these went back or are held", "bold"))
    unsure = sum(not one.exact for one in verdicts)
    if unsure:
        words = f"{count(unsure, 'change')} judged with today's inventory: the one of then is gone"
        page.line(Span(words, "warn"))
    return page.text()
