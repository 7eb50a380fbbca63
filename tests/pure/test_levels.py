"""Levels and waivers: what binds, what warns, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pure.cases import document_of
from orchestrator.pure.levels import RuleCard, Waiver, Weights, level_of, weigh
from orchestrator.pure.model import Denial, MissingApproval, Obligations
from orchestrator.pure.policy_answer import (
    Answer,
    Constraint,
    Floor,
    RuleFinding,
    Verdict,
    Wanted,
)

POLICIES: Final = Path(__file__).parent.parent.parent / "policies"
ABOUT: Final = document_of(yaml.safe_load((POLICIES / "base.yaml").read_text()), {})
NOW_MS: Final = ABOUT.now.epoch_s * 1000
LEVELS: Final = ("hard", "soft", "advisory", "shadow")
NO_FLOOR: Final = Floor((), (), Obligations())


def card(**levels: str) -> RuleCard:
    findings = {what: {"level": level, "satisfy": f"mend {what}"} for what, level in levels.items()}
    return RuleCard.model_validate(
        {"title": "A rule", "description": "It rules.", "severity": "low", "findings": findings}
    )


def waiver(**changes: Any) -> Waiver:
    fields = {
        "id": "w",
        "rule": "r",
        "environment": "prod",
        "owner": "ann",
        "ticket": "CHG-1",
        "reason": "the vendor is late",
        "until_ms": NOW_MS + 1,
    }
    return Waiver(**{**fields, **changes})


def weights(
    cards: dict[str, RuleCard], levels: dict[str, Any] | None = None, *waivers: Waiver
) -> Weights:
    return Weights(cards, levels or {}, waivers)


def finding(name: str, subject: str = "plan", **more: Any) -> RuleFinding:
    rule = name.partition(".")[0]
    return RuleFinding(rule=rule, id=name, subject=subject, **{"msg": f"{name} it is", **more})


def weighed(
    by: Weights,
    *findings: RuleFinding,
    approvals: tuple[Wanted, ...] = (),
    constraints: tuple[Constraint, ...] = (),
    floor: Floor = NO_FLOOR,
) -> Verdict:
    answer = Answer.model_validate(
        {
            "schema": "interlock.policy.decision/v1",
            "input_digest": ABOUT.digest,
            "rules": tuple(by.cards),
            "findings": findings,
            "approvals": approvals,
            "constraints": constraints,
        }
    )
    return weigh(answer, ABOUT, floor, by)


@pytest.mark.parametrize("level", LEVELS)
def test_only_hard_and_soft_findings_deny(level: str) -> None:
    verdict = weighed(weights({"r": card(late=level)}), finding("r.late"))
    said = (*verdict.denials, *verdict.warnings)
    assert [(one.rule, one.finding, one.level) for one in said] == [("r", "late", level)]
    assert bool(verdict.denials) == (level in ("hard", "soft"))


@pytest.mark.parametrize("level", LEVELS)
def test_a_waiver_moves_only_what_is_soft(level: str) -> None:
    verdict = weighed(weights({"r": card(late=level)}, {}, waiver()), finding("r.late"))
    assert bool(verdict.denials) == (level == "hard")
    waived = [one for one in verdict.warnings if one.waiver == "w"]
    assert bool(waived) == (level == "soft")
    (use,) = verdict.waivers
    assert use.state == ("applied" if level == "soft" else "unused")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"rule": "r.late"}, "applied"),
        ({"rule": "r.early"}, "unused"),
        ({"subject": "plan"}, "applied"),
        ({"subject": "c1"}, "unused"),
        ({"until_ms": NOW_MS}, "expired"),
        ({"until_ms": NOW_MS - 1}, "expired"),
        ({"rule": "another"}, "unused"),
    ],
    ids=["by finding", "another finding", "subject", "another subject", "now", "past", "rule"],
)
def test_a_waiver_is_shown_whatever_became_of_it(changes: dict[str, Any], state: str) -> None:
    by = weights({"r": card(late="soft", early="soft")}, {}, waiver(**changes))
    verdict = weighed(by, finding("r.late"))
    assert [use.state for use in verdict.waivers] == [state]
    assert bool(verdict.denials) == (state != "applied")


def test_a_waiver_of_another_environment_neither_counts_nor_is_shown() -> None:
    by = weights({"r": card(late="soft")}, {}, waiver(environment="staging"))
    verdict = weighed(by, finding("r.late"))
    assert verdict.denials
    assert verdict.waivers == ()


def test_a_waiver_for_an_actor_covers_every_class_of_it() -> None:
    by = weights({"r": card(late="soft")}, {}, waiver(subject="linux.package_update"))
    verdict = weighed(by, finding("r.late", "c1"), finding("r.late", "c2"))
    assert [one.step for one in verdict.denials] == ["reboot@1"]
    assert [one.step for one in verdict.warnings] == ["patch@1"]


def test_the_narrowest_word_about_a_level_wins() -> None:
    by = weights(
        {"r": card(late="hard", early="hard", other="advisory"), "q": card(x="soft")},
        {
            "r": {"prod": "advisory", "staging": "soft"},
            "r.late": {"prod": "shadow"},
            "r.early": "soft",
            "q": "advisory",
        },
    )
    assert level_of(by, "r", "late", "prod") == ("shadow", "levels.yaml: r.late, for prod")
    assert level_of(by, "r", "late", "staging") == ("soft", "levels.yaml: r, for staging")
    assert level_of(by, "r", "early", "prod") == ("soft", "levels.yaml: r.early")
    assert level_of(by, "r", "other", "lab") == ("advisory", "the metadata of r")
    assert level_of(by, "q", "x", "lab") == ("advisory", "levels.yaml: q")
    assert level_of(by, "r", None, "lab") == ("hard", "nothing says otherwise")
    assert level_of(by, "unheard", "of", "lab") == ("hard", "nothing says otherwise")


@pytest.mark.parametrize("name", ["r.unheard", "r", "stranger.late"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_finding_that_nobody_declared_denies_whatever_levels_and_waivers_say(
    name: str, level: str
) -> None:
    by = weights({"r": card(late="advisory")}, {"r": level}, waiver())
    (denial,) = weighed(by, finding(name)).denials
    assert denial.level == "hard"
    assert "does not declare" in denial.message


def test_what_is_said_of_many_classes_is_said_once_and_counted() -> None:
    by = weights({"r": card(late="soft", worse="hard")})
    same = [finding("r.late", f"c{n}", msg="late") for n in (1, 2)]
    verdict = weighed(by, *same, finding("r.worse"), finding("r.late", "c3", msg="later"))
    assert [(d.finding, d.message, d.step, d.count) for d in verdict.denials] == [
        ("worse", "r.worse it is", None, None),
        ("late", "late", "patch@1", 8),
        ("late", "later", "look@1", 4),
    ]


def test_the_edit_of_a_finding_goes_before_the_advice_of_its_rule() -> None:
    by = weights({"r": card(late="soft")})
    said = weighed(by, finding("r.late", edit="begin at nine"), finding("r.late", "c1"))
    assert {one.edit for one in said.denials} == {"begin at nine"}
    assert weighed(by, finding("r.late")).denials[0].edit == "mend late"


def test_a_message_without_end_is_cut_where_a_line_ends() -> None:
    by = weights({"r": card(late="hard")})
    for name in ("r.late", "r.unheard"):
        (denial,) = weighed(by, finding(name, msg="x" * 500)).denials
        assert len(denial.message) == 500


@pytest.mark.parametrize("level", LEVELS)
def test_consent_and_bounds_bind_like_findings(level: str) -> None:
    wanted = Wanted(rule="r", id="r.ask", subject="plan", msg="m", role="boss", count=2)
    bound = Constraint(rule="r", id="r.cap", subject="plan", msg="m", kind="max_parallel", value=3)
    by = weights({"r": card()}, {"r": level})
    verdict = weighed(by, approvals=(wanted,), constraints=(bound,))
    if level in ("hard", "soft"):
        assert verdict.wanted == (MissingApproval(role="boss", count=2),)
        assert verdict.obligations.max_parallel == 3
        assert verdict.warnings == ()
    else:
        assert (verdict.wanted, verdict.obligations) == ((), Obligations())
        said = [one.message for one in verdict.warnings]
        assert said == ["would demand 2 x boss: m", "would demand max_parallel 3: m"]


def test_a_soft_demand_can_be_waived_and_is_shown_with_its_waiver() -> None:
    wanted = Wanted(rule="r", id="r", subject="plan", msg="m", role="boss", count=1)
    verdict = weighed(weights({"r": card()}, {"r": "soft"}, waiver()), approvals=(wanted,))
    assert verdict.wanted == ()
    assert [(one.waiver, one.finding) for one in verdict.warnings] == [("w", None)]


def test_the_strictest_of_floor_and_rules_holds() -> None:
    def bound(kind: Any, value: int) -> Constraint:
        return Constraint(rule="r", id="r.x", subject="plan", msg="m", kind=kind, value=value)

    def ask(role: str, count: int) -> Wanted:
        return Wanted(rule="r", id="r.x", subject="plan", msg="m", role=role, count=count)

    floor = Floor(
        (Denial(rule="window", message="none"),),
        (MissingApproval(role="boss", count=2), MissingApproval(role="aide", count=1)),
        Obligations(max_parallel=5, not_after_ms=9_000),
    )
    verdict = weighed(
        weights({"r": card()}),
        approvals=(ask("boss", 1), ask("aide", 3), ask("dean", 1)),
        constraints=(
            bound("max_parallel", 7),
            bound("not_after", 8),
            bound("not_after", 10),
            bound("stop_after", 4),
            bound("stop_after", 2),
        ),
        floor=floor,
    )
    assert verdict.denials == floor.denials
    assert {one.role: one.count for one in verdict.wanted} == {"boss": 2, "aide": 3, "dean": 1}
    assert verdict.obligations == Obligations(max_parallel=5, not_after_ms=8_000, stop_after=2)


NAMES: Final = st.sampled_from(("r.a", "r.b", "q.a", "r.unheard"))
LEVEL: Final = st.sampled_from(LEVELS)


@given(
    findings=st.lists(st.tuples(NAMES, st.sampled_from(("plan", "c0", "c1"))), max_size=8),
    levels=st.dictionaries(st.sampled_from(("r", "q", "r.a", "q.a")), LEVEL),
    waived=st.lists(st.sampled_from(("r", "q", "r.a")), max_size=2, unique=True),
)
def test_no_finding_is_ever_lost_and_only_a_waiver_or_a_level_lets_one_pass(
    findings: list[tuple[str, str]], levels: dict[str, Any], waived: list[str]
) -> None:
    waivers = [waiver(id=f"w{n}", rule=rule) for n, rule in enumerate(waived)]
    by = weights({"r": card(a="hard", b="soft"), "q": card(a="soft")}, levels, *waivers)
    verdict = weighed(by, *(finding(name, subject) for name, subject in findings))
    said = {f"{one.rule}.{one.finding}" for one in (*verdict.denials, *verdict.warnings)}
    assert said == {name for name, _ in findings}
    assert all(one.level in ("hard", "soft") and not one.waiver for one in verdict.denials)
    for one in verdict.warnings:
        assert one.level in ("advisory", "shadow") or (one.level == "soft" and one.waiver)
    assert len(verdict.waivers) == len(waivers)


def test_what_operators_set_has_one_plain_form() -> None:
    by = weights({"r": card()}, {"r": "soft"}, waiver())
    levels, waivers = by.plain()
    assert levels == {"r": "soft"}
    assert isinstance(waivers, list)
    assert waivers[0]["owner"] == "ann"
