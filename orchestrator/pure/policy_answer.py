"""What an engine answers, and the decision that follows from it.

1. An answer is closed: a field, a kind or a rule that is not known here is an error, never ignored.
2. It must name the very input and exactly the rules that were asked; anything else is no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from actors.spec import Integer, Name, Scalar
from orchestrator.pure.model import (
    Denial,
    Digest,
    Line,
    MissingApproval,
    Model,
    Obligations,
    WaiverUse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ANSWER_SCHEMA",
    "Answer",
    "Constraint",
    "Entry",
    "Floor",
    "RuleFinding",
    "Verdict",
    "Wanted",
    "answer_from",
    "problem_with_answer",
]

ANSWER_SCHEMA: Final = "interlock.policy.decision/v1"
MAX_ENTRIES: Final = 1_000

FindingId = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?$")
]


class Entry(Model):
    """What a rule says of one subject."""

    model_config = ConfigDict(validate_by_alias=True)

    rule: Name
    """The rule's package, filled in by `decision.rego`: a rule cannot speak for another."""
    id: FindingId
    """The rule's name, or `rule.what`."""
    subject: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """A class (`c3`), `plan`, or a name."""
    msg: Line


E = TypeVar("E", bound=Entry)


class RuleFinding(Entry):
    """A reason against the plan."""

    edit: Line | None = None
    """The smallest edit that would pass, in words."""
    evidence: dict[Name, Scalar] = Field(default_factory=dict, max_length=20)


class Wanted(Entry):
    """Somebody must consent, because of this."""

    role: Name
    count: Annotated[int, Field(ge=1, le=100)]


class Constraint(Entry):
    """What must hold while the run acts; only what the machine can enforce has a name here."""

    kind: Literal["max_parallel", "not_after", "stop_after"]
    """`max_parallel` in acts at once; `not_after` in seconds since 1970; `stop_after` in failed
    slices of a wave."""
    value: Annotated[Integer, Field(ge=1)]


class Answer(Model):
    """What `data.interlock.main.decision` is."""

    model_config = ConfigDict(validate_by_alias=True)

    schema_name: Literal["interlock.policy.decision/v1"] = Field(alias="schema")
    input_digest: Digest
    rules: Annotated[tuple[Name, ...], Field(min_length=1)]
    findings: Annotated[tuple[RuleFinding, ...], Field(max_length=MAX_ENTRIES)]
    approvals: Annotated[tuple[Wanted, ...], Field(max_length=MAX_ENTRIES)]
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=MAX_ENTRIES)]


class Floor(NamedTuple):
    """What `interlock.yaml` demands, whatever an engine says."""

    denials: tuple[Denial, ...]
    wanted: tuple[MissingApproval, ...]
    """Who must consent, before anybody has."""
    obligations: Obligations


class Verdict(NamedTuple):
    """Floor and answer as one."""

    denials: tuple[Denial, ...]
    warnings: tuple[Denial, ...]
    wanted: tuple[MissingApproval, ...]
    obligations: Obligations
    waivers: tuple[WaiverUse, ...] = ()


def answer_from(text: bytes | str) -> Answer | str:
    """Read an answer, in an order that no engine's sets decide; or say what is wrong with it."""
    try:
        answer = Answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"it has another shape than agreed: {place or 'the whole'}: {first['msg']}"
    return answer.model_copy(
        update={
            "rules": tuple(sorted(answer.rules)),
            "findings": _in_order(answer.findings),
            "approvals": _in_order(answer.approvals),
            "constraints": _in_order(answer.constraints),
        }
    )


def problem_with_answer(answer: Answer, input_digest: str, rules: Iterable[str]) -> str | None:
    """Say why an answer is not one to this input by these rules, or nothing."""
    if answer.input_digest != input_digest:
        return "it answers to another input than it was asked about"
    asked, said = sorted(rules), sorted(answer.rules)
    if asked != said:
        silent = ", ".join(name for name in asked if name not in said) or "none"
        strange = ", ".join(name for name in said if name not in asked) or "none"
        rules_differ = f"missing: {silent}; unknown: {strange}"
        return f"it was not made by the rules of this workspace: {rules_differ}"
    entries: tuple[Entry, ...] = (*answer.findings, *answer.approvals, *answer.constraints)
    for entry in entries:
        if entry.rule not in asked or entry.id.partition(".")[0] != entry.rule:
            return f"{entry.id} does not belong to the rule {entry.rule} that says it"
    return None


def _in_order(entries: tuple[E, ...]) -> tuple[E, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.model_dump_json()))
