"""What a rule's author promises of it: cases, each an input and what the rule says of it.

1. A case is the shipped base with a patch; its parameters stand in its own file, so that tuning
   `data.yaml` breaks no case.
2. A case is about its own rule alone; what other rules say of the same input is not looked at.
3. Every finding that a rule declares fires in one case at least, and one case at least is silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from actors.spec import Integer, Name
from orchestrator.pure.canonical import canonical
from orchestrator.pure.fields import Line, Model
from orchestrator.pure.levels import FindingName
from orchestrator.pure.policy_input import PolicyInput, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.pure.levels import RuleCard
    from orchestrator.pure.policy_answer import Answer, RuleFinding

__all__ = [
    "Case",
    "Cases",
    "case_data",
    "document_of",
    "gaps",
    "merged",
    "unlike",
]

Json = Any


class ExpectedFinding(Model):
    """A finding; without a subject, whatever it is about."""

    id: FindingName
    subject: Line | None = None


class ExpectedApproval(Model):
    """A consent that must be demanded."""

    role: Name
    count: Annotated[int, Field(ge=1)]


class ExpectedConstraint(Model):
    """A bound that must be set."""

    kind: Name
    value: Integer


class Expected(Model):
    """All that the rule says: what does not stand here must not be said."""

    findings: tuple[ExpectedFinding, ...] = ()
    approvals: tuple[ExpectedApproval, ...] = ()
    constraints: tuple[ExpectedConstraint, ...] = ()


class Case(Model):
    """One input, and what the rule says of it."""

    name: Line
    patch: dict[str, Json]
    expect: Expected


class Cases(Model):
    """A rule's `NAME_cases.yaml`."""

    format: Literal[1]
    params: dict[str, Json] | None = None
    """What the rule finds below `data.params` of its own name."""
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


def merged(base: Json, patch: Json) -> Json:
    """Patch as RFC 7396 does; a mapping laid on a list changes its items by `class` or number."""
    if not isinstance(patch, dict):
        return patch
    if isinstance(base, list):
        return _merged_list(base, patch)
    whole = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = merged(whole.get(key), value)
    return whole


def document_of(base: Json, patch: Mapping[str, Json]) -> PolicyInput:
    """Make a case's whole input; what no plan could be is refused, as everywhere."""
    return sealed(PolicyInput.model_validate_json(canonical(merged(base, dict(patch)))))


def case_data(files: Mapping[str, Cases]) -> dict[str, Json]:
    """Return the one data document with which all cases of all rules run."""
    params = {rule: file.params for rule, file in files.items() if file.params is not None}
    return {"params": params}


def unlike(rule: str, case: Case, answer: Answer) -> tuple[str, ...]:
    """Say in words where a rule does not say what its case expects."""
    expected = case.expect
    said = [found for found in answer.findings if found.rule == rule]
    wanted = {
        *(f"demands {one.count} x {one.role}" for one in expected.approvals),
        *(f"bounds {one.kind} to {one.value}" for one in expected.constraints),
    }
    heard = {
        *(f"demands {one.count} x {one.role}" for one in answer.approvals if one.rule == rule),
        *(f"bounds {one.kind} to {one.value}" for one in answer.constraints if one.rule == rule),
    }
    return (
        *(
            f"is silent about {_named(one)}"
            for one in expected.findings
            if not any(_fits(one, found) for found in said)
        ),
        *(
            f"says {_named(found)}: {found.msg}"
            for found in said
            if not any(_fits(one, found) for one in expected.findings)
        ),
        *(f"no longer {words}" for words in sorted(wanted - heard)),
        *(f"{words}, which nobody expects" for words in sorted(heard - wanted)),
    )


def gaps(rule: str, card: RuleCard, file: Cases) -> tuple[str, ...]:
    """Say which promises no case makes."""
    fired = {one.id for case in file.cases for one in case.expect.findings}
    declared = {f"{rule}.{what}" for what in card.findings}
    speaks = any(case.expect.approvals or case.expect.constraints for case in file.cases)
    found = [f"no case in which {name} fires" for name in sorted(declared - fired)]
    found += [f"a case expects {name}, which is not declared" for name in sorted(fired - declared)]
    if not fired and not speaks:
        found.append("no case in which it says anything")
    if not any(not case.expect.findings for case in file.cases):
        found.append("no case in which it finds nothing")
    return tuple(found)


def _merged_list(base: list[Json], patch: Mapping[str, Json]) -> list[Json]:
    items, places = list(base), _places(base)
    gone = []
    for key, value in patch.items():
        place = places.get(key)
        if place is None:
            items.append(merged(None, value))
        elif value is None:
            gone.append(place)
        else:
            items[place] = merged(items[place], value)
    return [item for place, item in enumerate(items) if place not in gone]


def _places(items: Sequence[Json]) -> dict[str, int]:
    places = {str(place): place for place in range(len(items))}
    for place, item in enumerate(items):
        if isinstance(item, dict) and isinstance(item.get("class"), str):
            places[item["class"]] = place
    return places


def _fits(wanted: ExpectedFinding, found: RuleFinding) -> bool:
    return wanted.id == found.id and wanted.subject in (None, found.subject)


def _named(one: ExpectedFinding | RuleFinding) -> str:
    return f"{one.id} of {one.subject}" if one.subject else one.id
