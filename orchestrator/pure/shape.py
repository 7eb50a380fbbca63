"""Rungs 0 and 1: from a strictly read value to a draft, or plain words about what is in the way.

1. Size and ambiguity come first: nothing later meets a value that two readers read differently.
2. The validator's own words never reach a person: each of its complaints is said again in ours.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from actors.strict import UnreadableError, refuse_ambiguous
from orchestrator.pure.draft import Draft, DraftStep, DraftWave, Question, Refusal
from orchestrator.pure.findings import Names, finding, listed, remove, replace, unreadable
from orchestrator.pure.model import Condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from actors.strict import Json
    from orchestrator.pure.draft import Finding
    from orchestrator.pure.findings import Path

__all__ = ["read_shape", "size_findings"]

Answer = Draft | Refusal | Question

PARAM_FORMS: Final = (
    "text, a whole number, true or false, a list of these, {output: step.name} or {secret: name}"
)
EXAMPLES: Final = {
    "id": "restart_web",
    "actor": "linux.service_restart",
    "after": "drain_web",
    "wave": "web_tier",
    "output": "drain_web.sessions_left",
    "targets": "app01, @web, rack:r1 or !app02",
    "params": "grace_s",
    "code": "no_actor_fits",
}
EXPECTED: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
}


def size_findings(value: Json, *, max_bytes: int, max_steps: int) -> list[Finding]:
    """Rung 0: nothing ambiguous, not too large, not too many steps."""
    try:
        refuse_ambiguous(value)
    except UnreadableError as error:
        return [unreadable(error)]
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > max_bytes:
        return [
            finding("R0-too-large", f"the draft has {size} bytes; at most {max_bytes} are read")
        ]
    steps = value.get("steps") if isinstance(value, dict) else None
    if isinstance(steps, (list, tuple)) and len(steps) > max_steps:
        says = (
            f"the draft has {len(steps)} steps; at most {max_steps} are compiled: split the change"
        )
        return [finding("R0-too-many-steps", says, ("steps",))]
    return []


def read_shape(value: Json) -> Answer | list[Finding]:
    """Rung 1: every field known, present, of its type and within its limits."""
    if not isinstance(value, dict):
        return [_not_an_object((), value)]
    models: dict[str, type[Answer]] = {"plan": Draft, "refuse": Refusal, "ask": Question}
    decision = value.get("decision", "plan")
    if not isinstance(decision, str) or decision not in models:
        return [_wrong_decision(decision, models)]
    model = models[decision]
    try:
        answer = model.model_validate(_with_tuples(value))
    except ValidationError as error:
        return _in_plain_words(error, value, model)
    if isinstance(answer, Draft) and not answer.steps:
        says = "the plan has no steps; add one, or answer with the decision refuse"
        return [finding("R1-no-steps", says, ("steps",))]
    return answer


def _with_tuples(value: Json) -> Json:
    """Lists become tuples, the only form a frozen noun has; nothing else changes."""
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_with_tuples(inner) for inner in value)
    return value


def _wrong_decision(decision: object, models: Mapping[str, object]) -> Finding:
    near = Names(models).nearest(decision) if isinstance(decision, str) else ()
    edit = replace(("decision",), near[0], f"decide {near[0]}") if near else None
    says = f"the decision is {_shown(decision)}; it must be plan, refuse or ask"
    return finding("R1-wrong-decision", says, ("decision",), edit=edit)


def _in_plain_words(error: ValidationError, value: Json, model: type[Answer]) -> list[Finding]:
    found: dict[tuple[Path, str, str], Finding] = {}
    for trouble in error.errors(include_url=False, include_input=False):
        said = _said_again(trouble, value, model)
        found.setdefault((said.path, said.code, said.message), said)
    return list(found.values())


def _said_again(trouble: ErrorDetails, value: Json, model: type[Answer]) -> Finding:
    loc, kind = trouble["loc"], trouble["type"]
    path = _path_in(value, loc)
    held = _at(value, path)
    if path[2:3] == ("params",) and len(path) > 3 and loc[4:] != ("[key]",):
        says = f"the param {path[3]} must be {PARAM_FORMS}; it is {_shown(_at(value, path[:4]))}"
        return finding("R1-wrong-type", says, path[:4])
    if path[2:] == ("when", "value"):
        says = (
            f"a condition compares with a text, a whole number or true or false, not {_shown(held)}"
        )
        return finding("R1-wrong-type", says, path)
    if kind in EXPECTED:
        says = f"{_field(path)} must be {EXPECTED[kind]}; it is {_shown(held)}"
        return finding("R1-wrong-type", says, path)
    if kind == "missing":
        return finding("R1-missing-field", f"the field {loc[-1]} is missing", path)
    return _misfit(trouble, path, held, model)


def _misfit(trouble: ErrorDetails, path: Path, held: object, model: type[Answer]) -> Finding:
    limits = trouble.get("ctx", {})
    match trouble["type"]:
        case "extra_forbidden":
            return _unknown_field(path, model)
        case "string_pattern_mismatch":
            return _bad_name(path, held)
        case "literal_error":
            return _not_allowed(path, held, str(limits["expected"]))
        case "model_type" | "dict_type":
            return _not_an_object(path, held)
        case _:
            return _out_of_range(path, held, limits)


def _unknown_field(path: Path, model: type[Answer]) -> Finding:
    nouns: dict[tuple[str, ...], Iterable[str]] = {
        (): model.model_fields,
        ("steps",): DraftStep.model_fields,
        ("steps", "when"): Condition.model_fields,
        ("waves",): DraftWave.model_fields,
    }
    legal = nouns[tuple(part for part in path[:-1] if isinstance(part, str))]
    near = Names(legal).nearest(str(path[-1]))
    hint = f"did you mean {near[0]}?" if near else f"there are {listed(legal, 20)}"
    edit = None if near else remove(path, f"take {path[-1]} away")
    return finding("R1-unknown-field", f"there is no field {path[-1]}; {hint}", path, edit=edit)


def _bad_name(path: Path, held: object) -> Finding:
    field = _field(path)
    given = path[-1] if field == "params" else held
    says = f"{field} cannot be {_shown(given)}; it must look like {EXAMPLES[field]}"
    return finding("R1-bad-name", says, path)


def _not_allowed(path: Path, held: object, expected: str) -> Finding:
    words = expected.replace("'", "").replace(" or ", ", ").split(", ")
    near = Names(words).nearest(held) if isinstance(held, str) else ()
    edit = replace(path, near[0], f"use {near[0]}") if near else None
    says = f"{_field(path)} is {_shown(held)}; it must be one of {', '.join(words)}"
    return finding("R1-not-allowed", says, path, edit=edit)


def _out_of_range(path: Path, held: object, limits: Mapping[str, object]) -> Finding:
    least = limits.get("ge", limits.get("min_length"))
    most = limits.get("le", limits.get("max_length"))
    bound = f"at least {least}" if most is None else f"at most {most}"
    if isinstance(held, int):
        nearest = least if most is None else most
        edit = replace(path, nearest, f"use {nearest}")
        says = f"{_field(path)} must be {bound}; it is {held}"
        return finding("R1-out-of-range", says, path, edit=edit)
    size = len(held) if isinstance(held, (str, list, tuple)) else 0
    says = f"{_field(path)} must have a length of {bound}; it has {size}"
    return finding("R1-out-of-range", says, path)


def _not_an_object(path: Path, held: object) -> Finding:
    what = _field(path) if path else "the draft"
    return finding(
        "R1-not-an-object", f"{what} must be an object with fields, not {_shown(held)}", path
    )


def _path_in(value: Json, loc: Path) -> Path:
    """Follow the validator's place as far as it is a place of the draft."""
    for depth, part in enumerate(loc):
        inside = isinstance(value, dict) and part in value
        if not inside and not (isinstance(value, (list, tuple)) and isinstance(part, int)):
            return loc[:depth]
        value = value[part]
    return loc


def _at(value: Json, path: Path) -> Json:
    for part in path:
        value = value[part]
    return value


def _field(path: Path) -> str:
    """Name the field that a place belongs to: `after` for its third entry, `params` for a param."""
    words = [part for part in path if isinstance(part, str)]
    return "params" if words[1:2] == ["params"] else words[-1]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
