"""What hosts publish: checked against the manifest, and made into the one value of a step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from actors.ansible.stage import target_names
from actors.spec import BooleanParam, ListParam, problem_with

if TYPE_CHECKING:
    from actors.ansible.results import Played
    from actors.ansible.sheet import Fold, Sheet
    from actors.spec import Brief, ParamSpec, Value

__all__ = ["FAILURE", "LEFT", "STATE", "folded", "problem_with_published"]

STATE: Final = "interlock_state"
FAILURE: Final = "interlock_failure"
LEFT: Final = "interlock_left"
STATES: Final = ("applied", "not_applied", "partial", "unknown")
TRUTH: Final = BooleanParam(type="boolean", summary="One host's word.")


def problem_with_published(brief: Brief, played: Played) -> str | None:
    """Say what a host published that nobody declared, or did not publish."""
    for name in target_names(brief):
        published = played.host(name).published
        for key, value in published.items():
            problem = _problem_with(brief, key, value)
            if problem:
                return f"{name} published {key}, {problem}"
        wants_state = brief.verb == "verify" and brief.spec.effect != "read"
        if wants_state and STATE not in published:
            return f"{name} did not say its {STATE} in verify.yml"
    return None


def _problem_with(brief: Brief, key: str, value: Any) -> str | None:
    if key == STATE and brief.verb == "verify":
        return None if value in STATES else f"which must be one of {', '.join(STATES)}"
    if key == FAILURE and brief.verb != "verify":
        known = brief.spec.failure(value) if isinstance(value, str) else None
        return None if known else "which names no declared failure mode"
    if key == LEFT and brief.verb != "verify":
        return None if value == "nothing" else "which can only be nothing"
    return None if key in brief.spec.outputs else "which the manifest does not declare"


def folded(brief: Brief, sheet: Sheet, played: Played) -> dict[str, Value] | str:
    """Make each output's one value, or say why there is none."""
    outputs: dict[str, Value] = {}
    for name, declared in brief.spec.outputs.items():
        fold = sheet.outputs.get(name, "same")
        said = {
            host: played.host(host).published[name]
            for host in target_names(brief)
            if name in played.host(host).published
        }
        if not said:
            if declared.required:
                return f"no host published {name}, which the manifest declares"
            continue
        problem = _problem_with_hosts(name, _of_a_host(declared, fold), said)
        missing = [host for host in target_names(brief) if host not in said]
        if not problem and missing and fold != "list":
            problem = f"{missing[0]} did not publish {name}, though other hosts did"
        if problem:
            return problem
        if fold == "same" and len({json.dumps(value) for value in said.values()}) > 1:
            return f"hosts do not agree on {name}: {_split(said)}"
        value = _fold(fold, list(said.values()))
        problem = problem_with(declared, value)
        if problem:
            return f"the output {name} {problem}"
        outputs[name] = value
    return outputs


def _of_a_host(declared: ParamSpec, fold: Fold) -> ParamSpec:
    if fold == "count":
        return TRUTH
    if fold == "list" and isinstance(declared, ListParam):
        return declared.items
    return declared


def _problem_with_hosts(name: str, declared: ParamSpec, said: dict[str, Any]) -> str | None:
    for host, value in said.items():
        problem = problem_with(declared, value)
        if problem:
            return f"{host} published {name}, which {problem}"
    return None


def _split(said: dict[str, Any]) -> str:
    return ", ".join(f"{host} says {json.dumps(value)[:60]}" for host, value in [*said.items()][:4])


def _fold(fold: Fold, values: list[Any]) -> Any:
    match fold:
        case "same":
            return tuple(values[0]) if isinstance(values[0], list) else values[0]
        case "any":
            return any(values)
        case "all":
            return all(values)
        case "sum" | "count":
            return sum(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "list":
            return tuple(values)
