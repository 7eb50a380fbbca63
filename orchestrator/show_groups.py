"""Steps that are alike are shown as one: a plan of 100,000 steps is read on one screen.

1. A plan of few steps is shown step by step, but a wave of several slices by its first slice.
2. Otherwise steps of one actor, one wave and one id before the `@` are one group, if they are many.
3. Nothing is left out silently: what is not shown is counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.spec import SecretRef
from orchestrator.show_text import clip, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.spec import ActorSpec, Value
    from orchestrator.pure.model import Param, Plan, PlanStep

__all__ = [
    "FEW",
    "Group",
    "base",
    "expected_s",
    "grouped",
    "names",
    "param_words",
    "spec_of",
    "stems",
    "value_words",
]

FEW: Final = 24
"""Up to so many steps are shown one by one."""
ALIKE: Final = 3
"""Fewer steps than this are not called a group."""
STEM: Final = re.compile(r"^(.*?)[-_.]?\d[^.]*(?:\..*)?$")


class Group(NamedTuple):
    """Steps that are shown as one."""

    steps: tuple[PlanStep, ...]

    @property
    def first(self) -> PlanStep:
        """The step that stands for the others."""
        return self.steps[0]

    @property
    def name(self) -> str:
        """Name the steps of a wave by their slices, others by the first of them."""
        if len(self.steps) == 1:
            return self.first.id
        if self.first.slot:
            return f"{self.first.id}…{self.steps[-1].id.partition('@')[2]}"
        return f"{len(self.steps):,} like {self.first.id}"

    @property
    def targets(self) -> list[str]:
        """All targets, each once, in order."""
        return list(dict.fromkeys(name for step in self.steps for name in step.targets))


def grouped(plan: Plan, few: int = FEW) -> list[Group]:
    """Put steps that are alike together, in the order in which the first of each stands."""
    alike: dict[tuple[str, ...], list[PlanStep]] = {}
    for step in plan.steps:
        apart = len(plan.steps) <= few and step.slot is None
        alike.setdefault((step.id,) if apart else _likeness(step), []).append(step)
    groups = []
    for steps in alike.values():
        if len(steps) < ALIKE:
            groups += [Group((step,)) for step in steps]
        else:
            groups.append(Group(tuple(steps)))
    return groups


def _likeness(step: PlanStep) -> tuple[str, str, str]:
    wave = step.slot.wave if step.slot else ""
    return step.actor, wave, base(step.id) if "@" in step.id else ""


def base(step: str) -> str:
    """Name the step of the draft from which a step of a wave was made."""
    return step.partition("@")[0]


def spec_of(plan: Plan, step: PlanStep) -> ActorSpec | None:
    """Find the spec of a step's actor; a gate has none."""
    return None if step.gate else plan.actors[step.actor].spec


def expected_s(plan: Plan) -> int:
    """Estimate how long it takes when nothing fails: the longest chain, or the work shared."""
    ends: dict[str, int] = {}
    closed: dict[tuple[str, int], int] = {}
    total = 0
    for step in plan.steps:
        spec = spec_of(plan, step)
        takes = spec.timeouts.expected_s if spec else 0
        begins = [ends[name] for name in step.after if name in ends]
        if step.slot:
            begins.append(closed.get((step.slot.wave, step.slot.slice - 1), 0))
        ends[step.id] = end = max(begins, default=0) + takes
        total += takes
        if step.slot:
            slot = (step.slot.wave, step.slot.slice)
            closed[slot] = max(closed.get(slot, 0), end)
    return max(max(ends.values(), default=0), -(-total // plan.max_parallel))


# --- words for what stands in a step ------------------------------------------------------------


def names(targets: Sequence[str], most: int = 3) -> str:
    """Count targets and name the first few."""
    if not targets:
        return ""
    if len(targets) <= most:
        return ", ".join(targets)
    return f"{len(targets):,} targets: {joined(targets, most)}"


def stems(targets: Iterable[str]) -> list[tuple[str, int]]:
    """Count names that differ only in their number, the most frequent first."""
    counts: dict[str, int] = {}
    for name in targets:
        match = STEM.match(name)
        stem = f"{match[1]}*" if match and match[1] else name
        counts[stem] = counts.get(stem, 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def value_words(value: Value | SecretRef | None, most: int = 60) -> str:
    """Write a value as it would stand in a draft."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return clip(f"[{', '.join(value_words(item) for item in value)}]", most)
        case SecretRef():
            return f"the secret {value.secret}"
        case str():
            return clip(f'"{value}"' if value != value.strip() or not value else value, most)
        case _:
            return str(value)


def param_words(group: Group) -> list[tuple[str, str, str]]:
    """List the params of a group: name, value, and where the value came from."""
    seen: dict[str, dict[tuple[str, str], None]] = {}
    for step in group.steps:
        for param in step.params:
            seen.setdefault(param.name, {})[_value_and_source(param)] = None
    listed = []
    for name, values in seen.items():
        first, source = next(iter(values))
        if len(values) > 1:
            first = f"{len(values):,} values, the first: {first}"
        listed.append((name, first, source))
    return listed


def _value_and_source(param: Param) -> tuple[str, str]:
    if param.output is not None:
        return f"what {param.output} puts out", "output"
    return value_words(param.value), param.source
