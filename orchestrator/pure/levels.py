"""How the findings of rules bind: levels and waivers, which no rule can set for itself.

1. `hard` denies, `soft` denies unless it is waived, `advisory` warns, `shadow` is only recorded.
2. The narrowest word wins: of `levels.yaml` for the finding, then for the rule, each for the
   environment before everywhere; then the rule's own metadata; and where nothing says, `hard`.
3. A finding that its rule does not declare denies.
4. A waiver sets soft findings aside for one environment until an instant; it is shown whatever
   became of it, and the finding stays, as a warning.
5. Floor and answer are joined: denials and consent add up, of obligations the tightest holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, Field, StringConstraints

from actors.spec import Name
from orchestrator.pure.fields import Instant, Line, Model, Principal, Prose, TicketId
from orchestrator.pure.model import Denial, Level, MissingApproval, Obligations, WaiverUse
from orchestrator.pure.policy_answer import Entry, RuleFinding, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.pure.policy_answer import Answer, Constraint, Floor, Wanted
    from orchestrator.pure.policy_input import PolicyInput

__all__ = [
    "FindingCard",
    "FindingName",
    "LevelsFile",
    "RuleCard",
    "Severity",
    "Waiver",
    "WaiversFile",
    "Weights",
    "level_of",
    "weigh",
]

BINDING: Final = ("hard", "soft")
ORDER: Final = ("hard", "soft", "advisory", "shadow")
MAX_LINE: Final = 500

FindingName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?$")
]
"""A rule, or one of its findings: `rule.what`."""


Severity = Literal["low", "medium", "high", "critical"]


class FindingCard(Model):
    """What an author says of one finding."""

    level: Level
    satisfy: Line


class RuleCard(Model):
    """What an author says of a rule, in its METADATA."""

    title: Line
    description: Prose
    severity: Severity
    findings: dict[Name, FindingCard]
    narrows: bool = False
    """Its findings also say which actors are offered to whoever drafts a plan."""


class LevelsFile(Model):
    """A workspace's `levels.yaml`."""

    format: Literal[1]
    levels: dict[FindingName, Level | dict[Name, Level]]


class Waiver(Model):
    """A soft finding set aside by name, until an instant."""

    id: Name
    rule: FindingName
    environment: Name
    subject: Line | None = None
    """Only this subject: the finding's own, or the actor of its class."""
    owner: Principal
    ticket: TicketId
    reason: Line
    until_ms: Instant = Field(alias="until")

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)


class WaiversFile(Model):
    """A workspace's `waivers.yaml`."""

    format: Literal[1]
    waivers: tuple[Waiver, ...]


class Weights(NamedTuple):
    """By what findings are weighed."""

    cards: Mapping[str, RuleCard]
    levels: Mapping[str, Level | dict[str, Level]]
    waivers: tuple[Waiver, ...]

    def plain(self) -> list[object]:
        """Return what operators have set, to take a digest of; the cards stand in the rules."""
        return [dict(self.levels), [waiver.model_dump(mode="json") for waiver in self.waivers]]


E = TypeVar("E", bound=Entry)


class _Weighed(NamedTuple, Generic[E]):
    """One entry of an answer, and how it binds."""

    entry: E
    what: str | None
    level: Level
    waiver: Waiver | None

    @property
    def binds(self) -> bool:
        return self.level in BINDING and self.waiver is None


def level_of(weights: Weights, rule: str, what: str | None, environment: str) -> tuple[Level, str]:
    """Return how a finding binds in an environment, and where that is said."""
    for key in (f"{rule}.{what}", rule) if what else (rule,):
        said = weights.levels.get(key)
        if isinstance(said, str):
            return said, f"levels.yaml: {key}"
        if said is not None and environment in said:
            return said[environment], f"levels.yaml: {key}, for {environment}"
    card = weights.cards.get(rule)
    if card is not None and what in card.findings:
        return card.findings[what].level, f"the metadata of {rule}"
    return "hard", "nothing says otherwise"


def weigh(answer: Answer, about: PolicyInput, floor: Floor, weights: Weights) -> Verdict:
    """Join an engine's answer with the floor."""
    scale = _Scale(weights, about)
    findings = [scale.weighed(entry) for entry in answer.findings]
    consent = [scale.weighed(entry) for entry in answer.approvals]
    bounds = [scale.weighed(entry) for entry in answer.constraints]
    grouped = scale.grouped(findings)
    loose = [
        *(_loose(one, f"{one.entry.count} x {one.entry.role}") for one in consent if not one.binds),
        *(_loose(one, f"{one.entry.kind} {one.entry.value}") for one in bounds if not one.binds),
    ]
    return Verdict(
        denials=(*floor.denials, *(denial for denial, binds in grouped if binds)),
        warnings=(*(denial for denial, binds in grouped if not binds), *loose),
        wanted=_most(floor.wanted, [one.entry for one in consent if one.binds]),
        obligations=_tightest(floor.obligations, [one.entry for one in bounds if one.binds]),
        waivers=scale.uses([*findings, *consent, *bounds]),
    )


class _Scale:
    """Weighs the entries of one answer."""

    def __init__(self, weights: Weights, about: PolicyInput) -> None:
        self.weights = weights
        self.environment = about.environment.name
        self.now_ms = about.now.epoch_s * 1000
        self.classes = {found.id: found for found in about.plan.classes}

    def weighed(self, entry: E) -> _Weighed[E]:
        """Find how an entry binds."""
        what = entry.id.partition(".")[2] or None
        level, _ = level_of(self.weights, entry.rule, what, self.environment)
        if isinstance(entry, RuleFinding) and not self._declared(entry.rule, what):
            level = "hard"
        fits = (waiver for waiver in self.weights.waivers if self._waives(waiver, entry))
        return _Weighed(entry, what, level, next(fits, None) if level == "soft" else None)

    def grouped(self, findings: Sequence[_Weighed[RuleFinding]]) -> list[tuple[Denial, bool]]:
        """Say once what is said of many classes, the gravest first."""
        alike: dict[tuple[object, ...], list[_Weighed[RuleFinding]]] = {}
        for one in sorted(findings, key=lambda one: (ORDER.index(one.level), one.entry.id)):
            waiver = one.waiver.id if one.waiver else None
            alike.setdefault((one.entry.id, one.entry.msg, one.level, waiver), []).append(one)
        return [(self._denial(group), group[0].binds) for group in alike.values()]

    def uses(self, weighed: Sequence[_Weighed[Any]]) -> tuple[WaiverUse, ...]:
        """Tell of every waiver of this environment what became of it."""
        used = {one.waiver.id for one in weighed if one.waiver is not None}
        return tuple(
            WaiverUse(
                **waiver.model_dump(exclude={"environment", "subject"}),
                state="expired"
                if waiver.until_ms <= self.now_ms
                else "applied"
                if waiver.id in used
                else "unused",
            )
            for waiver in self.weights.waivers
            if waiver.environment == self.environment
        )

    def _declared(self, rule: str, what: str | None) -> bool:
        card = self.weights.cards.get(rule)
        return card is not None and what in card.findings

    def _waives(self, waiver: Waiver, entry: Entry) -> bool:
        found = self.classes.get(entry.subject)
        subjects = (None, entry.subject, found.actor if found else None)
        return (
            waiver.rule in (entry.rule, entry.id)
            and waiver.environment == self.environment
            and waiver.until_ms > self.now_ms
            and waiver.subject in subjects
        )

    def _denial(self, group: Sequence[_Weighed[RuleFinding]]) -> Denial:
        first = group[0]
        found = [self.classes[o.entry.subject] for o in group if o.entry.subject in self.classes]
        declared = self._declared(first.entry.rule, first.what)
        card = self.weights.cards[first.entry.rule].findings[str(first.what)] if declared else None
        message = first.entry.msg
        if card is None:
            message = f"{first.entry.id} is a finding that its rule does not declare: {message}"
        return Denial(
            rule=first.entry.rule,
            finding=first.what,
            step=found[0].sample[0] if found else None,
            count=sum(one.count for one in found) or None,
            message=message[:MAX_LINE],
            edit=first.entry.edit or (card.satisfy if card else None),
            level=first.level,
            waiver=first.waiver.id if first.waiver else None,
        )


def _loose(one: _Weighed[Any], words: str) -> Denial:
    """Tell of a demand that does not bind."""
    return Denial(
        rule=one.entry.rule,
        finding=one.what,
        message=f"would demand {words}: {one.entry.msg}"[:MAX_LINE],
        level=one.level,
        waiver=one.waiver.id if one.waiver else None,
    )


def _most(
    floor: Sequence[MissingApproval], wanted: Sequence[Wanted]
) -> tuple[MissingApproval, ...]:
    counts = {missing.role: missing.count for missing in floor}
    for one in wanted:
        counts[one.role] = max(counts.get(one.role, 0), one.count)
    return tuple(MissingApproval(role=role, count=count) for role, count in counts.items())


def _tightest(floor: Obligations, bounds: Sequence[Constraint]) -> Obligations:
    def least(kind: str, of_floor: int | None, unit: int = 1) -> int | None:
        values = [bound.value * unit for bound in bounds if bound.kind == kind]
        return min([*values, *([] if of_floor is None else [of_floor])], default=None)

    return Obligations(
        max_parallel=least("max_parallel", floor.max_parallel),
        not_after_ms=least("not_after", floor.not_after_ms, unit=1000),
        stop_after=least("stop_after", floor.stop_after),
    )
