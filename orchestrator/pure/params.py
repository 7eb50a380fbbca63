"""Rungs 4 and 5: every param has a fitting value, and every output that is used fits where it goes.

1. A value is taken as it stands: nothing is trimmed, converted or rounded.
2. A secret is picked by its name from the workspace's list; its value is nobody's business here.
3. An output fits when *every* value it can have fits; two patterns fit when they are equal.
4. Whoever uses an output comes after the step that puts it out, under the same condition, in the
   same wave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import ValidationError

from actors.spec import (
    BooleanParam,
    ChoiceParam,
    IntegerParam,
    ListParam,
    SecretParam,
    SecretRef,
    TargetsParam,
    TextParam,
    problem_with,
)
from orchestrator.pure.draft import OutputRef
from orchestrator.pure.findings import Names, add, finding, listed, remove, replace
from orchestrator.pure.graph import reaches_back
from orchestrator.pure.model import HOLD, Hold, Param

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actors.spec import OutputSpec, ParamSpec, Value
    from orchestrator.pure.draft import Draft, DraftStep, Edit, Finding
    from orchestrator.pure.findings import Path
    from orchestrator.pure.model import Condition, Ticket
    from orchestrator.pure.selection import Traits

__all__ = ["Settler", "hold_until_ms", "param_findings", "reference_findings", "wait_for"]

SEARCH_VISITS: Final = 2_000


# --- rung 4 -------------------------------------------------------------------------------------


def param_findings(
    draft: Draft, traits: Mapping[str, Traits], ticket: Ticket, secrets: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Rung 4: no param unknown, none missing, each value as its declaration wants it."""
    for place, step in enumerate(draft.steps):
        declared = traits[step.actor]
        for name, value in step.params.items():
            spec = declared.params.get(name)
            if spec is None:
                yield _unknown_param(step, name, declared, ("steps", place, "params", name))
            elif not isinstance(value, OutputRef):
                path: Path = ("steps", place, "params", name)
                yield from _value_findings(step, name, spec, path)
                if isinstance(value, SecretRef):
                    yield from _secret_findings(step, name, value.secret, ticket, secrets, path)
        for name, spec in declared.params.items():
            if name not in step.params:
                yield from _absence_findings(step, place, name, spec, ticket.params)


def hold_until_ms(text: str) -> int | None:
    """Read the instant of a hold; nothing when there is no such date."""
    try:
        return Hold.model_validate({"until_ms": text}).until_ms
    except ValidationError:
        return None


class Settler:
    """Settles params; equal ones are one object, since a large plan repeats few values often."""

    def __init__(self, given: Mapping[str, Value | SecretRef]) -> None:
        self._given = given
        self._made: dict[tuple[str, str, str], Param] = {}
        self._defaults: dict[str, list[tuple[str, Value | None]]] = {}
        """By actor: its params but the targets, sorted, each with its default."""

    def settled(
        self, step: DraftStep, traits: Traits, copies: Mapping[str, str]
    ) -> tuple[Param, ...]:
        """Return the params but the targets, sorted, each with its source."""
        if traits.spec is None:
            return ()
        params: list[Param] = []
        if step.actor not in self._defaults:
            self._defaults[step.actor] = [
                (name, spec.default)
                for name, spec in sorted(traits.params.items())
                if not isinstance(spec, TargetsParam)
            ]
        for name, default in self._defaults[step.actor]:
            value = step.params.get(name, default)
            if isinstance(value, OutputRef):
                source, _, output = value.output.partition(".")
                here = f"{copies.get(source, source)}.{output}"
                params.append(Param(name=name, output=here, source="output"))
            elif value is not None:
                params.append(self._literal(name, value, chosen=name in step.params))
        return tuple(params)

    def _literal(self, name: str, value: Value | SecretRef, *, chosen: bool) -> Param:
        source: Literal["draft", "default", "ticket"] = "draft" if chosen else "default"
        if chosen and name in self._given and _identical(value, self._given[name]):
            source = "ticket"
        key = (name, source, repr(value))
        if key not in self._made:
            self._made[key] = Param(name=name, value=value, source=source)
        return self._made[key]


def _identical(one: object, other: object) -> bool:
    """Compare so that `true` is not 1."""
    return repr(one) == repr(other)


def _unknown_param(step: DraftStep, name: str, declared: Traits, path: Path) -> Finding:
    near = Names(declared.params).nearest(name)
    hint = f"did you mean {near[0]}?" if near else "see the actor's params"
    says = f"{step.id}: {step.actor} has no param {name}; {hint}"
    return finding("R4-unknown-param", says, path, edit=remove(path, f"leave {name} out"))


def _value_findings(step: DraftStep, name: str, spec: ParamSpec, path: Path) -> Iterator[Finding]:
    value = step.params[name]
    problem = problem_with(spec, value)
    if problem is not None and isinstance(spec, SecretParam):
        says = f"{step.id}: {name} {problem}; if a secret stands there, it is no longer one"
        yield finding("R4-literal-secret", says, path)
    elif problem is not None:
        edit = _nearest_value(spec, value, path)
        yield finding("R4-bad-value", f"{step.id}: {name} {problem}", path, edit=edit)
    elif step.actor == HOLD and hold_until_ms(str(value)) is None:
        says = f"{step.id}: {name} is {value}, and there is no such date and time"
        yield finding("R4-not-an-instant", says, path)


def _secret_findings(
    step: DraftStep,
    name: str,
    secret: str,
    ticket: Ticket,
    secrets: Mapping[str, Sequence[str]],
    path: Path,
) -> Iterator[Finding]:
    usable = [one for one, where in secrets.items() if not where or ticket.environment in where]
    if secret in usable:
        return
    near = Names(usable).nearest(secret)
    hint = f"did you mean {near[0]}?" if near else _which(usable, ticket.environment)
    edit = replace((*path, "secret"), near[0], f"pick the secret {near[0]}") if near else None
    if secret in secrets:
        where = listed(secrets[secret])
        says = f"{step.id}: {name} picks the secret {secret}, which is for {where}; {hint}"
        yield finding("R4-wrong-secret", says, path, edit=edit)
    else:
        says = f"{step.id}: {name} picks the secret {secret}, and there is none; {hint}"
        yield finding("R4-unknown-secret", says, path, edit=edit)


def _which(usable: Sequence[str], environment: str) -> str:
    if not usable:
        return f"interlock.yaml names no secret for {environment}"
    return f"interlock.yaml names {listed(usable)} for {environment}"


def _nearest_value(spec: ParamSpec, value: object, path: Path) -> Edit | None:
    if isinstance(spec, IntegerParam) and isinstance(value, int) and not isinstance(value, bool):
        bound = min(max(value, spec.minimum), spec.maximum)
        return replace(path, bound, f"use {bound}, the nearest that is allowed")
    if isinstance(spec, ChoiceParam) and isinstance(value, str):
        near = Names(spec.choices).nearest(value)
        return replace(path, near[0], f"choose {near[0]}") if near else None
    return None


def _absence_findings(
    step: DraftStep, place: int, name: str, spec: ParamSpec, given: Mapping[str, Value | SecretRef]
) -> Iterator[Finding]:
    path: Path = ("steps", place, "params", name)
    if spec.type == "targets":
        if step.wave is None:
            says = f"{step.id}: {step.actor} needs {name}, the targets it shall touch"
            yield finding("R4-missing-param", says, path)
    elif spec.default is not None:
        problem = problem_with(spec, spec.default)
        if problem is not None:
            says = f"{step.id}: the default of {name} of {step.actor} {problem}; mend the actor"
            yield finding("R4-bad-default", says, path)
    elif spec.required:
        edit = _from_ticket(step, spec, path, given)
        says = f"{step.id}: {step.actor} needs {name} ({spec.summary})"
        yield finding("R4-missing-param", says, path, edit=edit)


def _from_ticket(
    step: DraftStep, spec: ParamSpec, path: Path, given: Mapping[str, Value | SecretRef]
) -> Edit | None:
    name = str(path[-1])
    if name not in given or problem_with(spec, given[name]) is not None:
        return None
    says = f"use the ticket's own {name}"
    if "params" in step.model_fields_set:
        return add(path, given[name], says)
    return add(path[:-1], {name: given[name]}, says)


# --- rung 5 -------------------------------------------------------------------------------------


def reference_findings(
    draft: Draft, traits: Mapping[str, Traits], before: Sequence[Sequence[int]]
) -> Iterator[Finding]:
    """Rung 5: each output that is used exists, fits, and is known when it is needed."""
    places = {step.id: place for place, step in enumerate(draft.steps)}
    links = _Links(draft, before)
    for place, step in enumerate(draft.steps):
        for name, value in step.params.items():
            if isinstance(value, OutputRef):
                source, _, output = value.output.partition(".")
                path: Path = ("steps", place, "params", name)
                declared = traits[draft.steps[places[source]].actor].outputs.get(output)
                wanted = traits[step.actor].params[name]
                yield from _param_use(step, traits[step.actor], wanted, declared, path)
                yield from links.findings(place, places[source], path, value.output)
        if step.when is not None:
            source, _, output = step.when.output.partition(".")
            path = ("steps", place, "when")
            declared = traits[draft.steps[places[source]].actor].outputs.get(output)
            yield from _condition_use(step.when, declared, path)
            yield from links.findings(place, places[source], path, step.when.output)


def _param_use(
    step: DraftStep, own: Traits, wanted: ParamSpec, declared: OutputSpec | None, path: Path
) -> Iterator[Finding]:
    if own.spec is None:
        says = f"{step.id}: the machine's own gates take plain values, not outputs"
        yield finding("R5-reference-in-gate", says, path)
    elif wanted.type == "targets":
        says = f"{step.id}: targets are named in the plan, never taken from an output"
        yield finding("R5-target-reference", says, path)
    elif declared is None:
        yield finding("R5-unknown-output", f"{step.id}: the named step has no such output", path)
    else:
        problem = _misfit(declared, wanted)
        if problem is not None:
            yield finding("R5-type-mismatch", f"{step.id}: {path[-1]} {problem}", path)


def _condition_use(when: Condition, declared: OutputSpec | None, path: Path) -> Iterator[Finding]:
    if declared is None:
        yield finding(
            "R5-unknown-output", f"{when.output}: the named step has no such output", path
        )
    elif isinstance(declared, ListParam):
        yield finding(
            "R5-condition-type", f"{when.output} is a list, which compares to nothing", path
        )
    elif when.op not in ("==", "!=") and not isinstance(declared, IntegerParam):
        says = f"{when.output} is a {declared.type}; only whole numbers compare with {when.op}"
        edit = replace((*path, "op"), "==", "compare for equality")
        yield finding("R5-condition-type", says, path, edit=edit)
    else:
        problem = problem_with(declared, when.value)
        if problem is not None:
            says = f"{when.output} can never be compared so: it {problem}"
            yield finding("R5-condition-value", says, (*path, "value"))


def _misfit(output: OutputSpec, param: ParamSpec) -> str | None:
    """Say why some value of the output would not fit, or nothing."""
    match output, param:
        case IntegerParam(), IntegerParam():
            if param.minimum <= output.minimum and output.maximum <= param.maximum:
                return None
            takes = f"{param.minimum} to {param.maximum}"
            return f"takes {takes}, but the output may be {output.minimum} to {output.maximum}"
        case ChoiceParam(), ChoiceParam():
            foreign = [choice for choice in output.choices if choice not in param.choices]
            return f"does not take {foreign[0]}, which the output may be" if foreign else None
        case TextParam(), TextParam():
            same = output.pattern == param.pattern and output.max_length <= param.max_length
            return None if same else "takes texts of another pattern or shorter ones"
        case BooleanParam(), BooleanParam():
            return None
        case ListParam(), ListParam():
            if output.minimum < param.minimum or output.maximum > param.maximum:
                return f"takes {param.minimum} to {param.maximum} items, the output may have others"
            return _misfit(output.items, param.items)
        case _:
            return f"is a {param.type}, but the output is a {output.type}"


class _Links:
    """What must hold between the step that uses an output and the step that puts it out."""

    def __init__(self, draft: Draft, before: Sequence[Sequence[int]]) -> None:
        self._steps = draft.steps
        self._before = before
        self._left = SEARCH_VISITS * 100 + 20 * len(before)

    def findings(self, user: int, source: int, path: Path, output: str) -> Iterator[Finding]:
        step, origin = self._steps[user], self._steps[source]
        if user == source:
            yield finding("R5-own-output", f"{step.id} refers to its own output {output}", path)
            return
        if origin.when is not None and origin.when != step.when:
            yield _conditional(step, origin, path)
        if origin.wave is not None and origin.wave != step.wave:
            says = f"{output} differs from slice to slice; only the wave {origin.wave} can use it"
            yield finding("R5-wave-output", says, path)
        if source not in self._before[user] and not self._reaches(user, source):
            says = f"{step.id} uses {output}, but is not known to come after {origin.id}"
            yield finding(
                "R5-unordered-reference", says, path, edit=wait_for(step, user, origin.id)
            )

    def _reaches(self, user: int, source: int) -> bool:
        most = min(SEARCH_VISITS, max(0, self._left))
        found, visits = reaches_back(self._before, user, source, most)
        self._left -= visits
        return found


def wait_for(step: DraftStep, place: int, earlier: str) -> Edit:
    """Propose that a step waits for another."""
    says = f"let {step.id} wait for {earlier}"
    if "after" in step.model_fields_set:
        return add(("steps", place, "after", len(step.after)), earlier, says)
    return add(("steps", place, "after"), (earlier,), says)


def _conditional(step: DraftStep, origin: DraftStep, path: Path) -> Finding:
    edit = None
    if step.when is None and origin.when is not None:
        says = f"run {step.id} under the same condition"
        edit = add((*path[:2], "when"), origin.when.model_dump(), says)
    says = (
        f"{origin.id} is conditional, so its output may never exist; {step.id} needs the same when"
    )
    return finding("R5-conditional-output", says, path, edit=edit)
