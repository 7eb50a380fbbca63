"""The plan in numbers: what needs all steps, all targets or the whole inventory.

What may happen at one time is never told smaller than the truth; it may be told larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.pure.graph import levels
from orchestrator.pure.policy_input import (
    Domain,
    InventoryFacts,
    PlanFacts,
    PreviewFacts,
    Summary,
    WaveFacts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.pure.model import Inventory, InventoryObject
    from orchestrator.pure.policy_input import StepClass
    from orchestrator.pure.state import Run

__all__ = [
    "inventory_facts",
    "plan_facts",
    "preview_facts",
    "size_of",
    "summary_facts",
    "touched",
]


def size_of(inventory: Inventory, environment: str) -> int:
    """Count the objects of an environment."""
    return sum(thing.environment == environment for thing in inventory.objects)


def inventory_facts(
    run: Run, inventory: Inventory, digest: str, objects: Mapping[str, InventoryObject]
) -> InventoryFacts:
    """Say what of the inventory the plan concerns."""
    names, disturbed = touched(run)
    groups: dict[str, list[int]] = {}
    domains: dict[str, dict[str, list[int]]] = {}
    for name in sorted(names):
        thing = objects.get(name)
        for group in thing.groups if thing else ():
            groups.setdefault(group, [0, 0, 0])
        for label, value in thing.labels.items() if thing else ():
            domains.setdefault(label, {}).setdefault(value, [0, 0, 0])
    for thing in inventory.objects:
        counts = [groups[group] for group in thing.groups if group in groups]
        counts += [
            domains[label][value]
            for label, value in thing.labels.items()
            if value in domains.get(label, ())
        ]
        for count in counts:
            count[0] += 1
            count[1] += thing.name in names
            count[2] += thing.name in disturbed
    return InventoryFacts(
        digest=digest,
        objects=len(inventory.objects),
        groups={name: _domain(count) for name, count in groups.items()},
        domains={
            label: {value: _domain(count) for value, count in values.items()}
            for label, values in domains.items()
        },
        budgets={budget.label: budget.maximum for budget in inventory.budgets},
    )


def _domain(count: list[int]) -> Domain:
    return Domain(size=count[0], targets=count[1], disturbed=count[2])


def touched(run: Run) -> tuple[frozenset[str], frozenset[str]]:
    """Name the targets, and those that do not serve while a step acts."""
    names: set[str] = set()
    disturbed: set[str] = set()
    for step, spec in zip(run.shaped.steps, run.shaped.specs, strict=True):
        names.update(step.targets)
        if spec is not None and spec.disturbs:
            disturbed.update(step.targets)
    return frozenset(names), frozenset(disturbed)


def summary_facts(run: Run, classes: tuple[StepClass, ...], inventory: Inventory) -> Summary:
    """Tell the whole plan in numbers."""

    def count(chosen: Callable[[StepClass], bool]) -> int:
        return sum(one.count for one in classes if chosen(one))

    shape, plan = run.shaped, run.planned
    changed = _changed(run)
    size = size_of(inventory, plan.environment)
    gates = count(lambda one: one.gate != "none")
    return Summary(
        steps=len(shape.steps),
        acts=len(shape.steps) - gates,
        gates=gates,
        reads=count(lambda one: one.effect == "read"),
        changes=count(lambda one: one.effect == "change"),
        destroys=count(lambda one: one.effect == "destroy"),
        targets=len(touched(run)[0]),
        changed_targets=len(changed),
        changed_percent=min(100, -(-100 * len(changed) // size)) if size else 100,
        undo_partial=count(lambda one: one.undo == "partial" and _acts(one)),
        undo_none=count(lambda one: one.undo == "none" and _acts(one)),
        points_of_no_return=count(lambda one: one.point_of_no_return),
        at_once=_at_once(classes, plan.max_parallel),
        longest_path=max(levels(shape.before, range(len(shape.steps))), default=0),
    )


def _changed(run: Run) -> frozenset[str]:
    pairs = zip(run.shaped.steps, run.shaped.specs, strict=True)
    changing = (step for step, spec in pairs if spec is not None and spec.effect != "read")
    return frozenset(name for step in changing for name in step.targets)


def _acts(one: StepClass) -> bool:
    return one.effect in ("change", "destroy")


def _at_once(classes: Iterable[StepClass], max_parallel: int) -> int:
    """Add up the widest disturbing steps that may act at one time: never less than the truth."""
    left, total = max_parallel, 0
    for one in sorted((c for c in classes if c.disturbs), key=lambda one: -one.widest):
        taken = min(left, one.count)
        total, left = total + taken * one.widest, left - taken
    return total


def preview_facts(run: Run) -> PreviewFacts:
    """Say what the dry run could say."""
    counts = {"predicted": 0, "partial": 0, "none": 0}
    covered = changing = 0
    results = run.preview.results if run.preview is not None else {}
    for index, spec in enumerate(run.shaped.specs):
        result = results.get(index)
        if result is not None:
            counts[result.grade] += 1
        if spec is not None and spec.effect != "read":
            changing += 1
            covered += result is not None and result.grade != "none"
    return PreviewFacts(
        done=run.preview is not None and run.preview.left == 0,
        predicted=counts["predicted"],
        partial=counts["partial"],
        none=counts["none"],
        coverage_percent=100 * covered // changing if changing else 100,
    )


def plan_facts(run: Run, classes: tuple[StepClass, ...]) -> PlanFacts:
    """Describe the plan as it would run."""
    plan = run.planned
    abort_ms = plan.timing.last_safe_abort_ms
    return PlanFacts(
        digest=run.plan_digest,
        environment=plan.environment,
        max_parallel=plan.max_parallel,
        on_window_close=plan.on_window_close,
        forward_s=plan.timing.forward_s,
        rollback_s=plan.timing.rollback_s,
        last_safe_abort_s=None if abort_ms is None else abort_ms // 1000,
        waves=_waves(run),
        classes=classes,
    )


def _waves(run: Run) -> dict[str, WaveFacts]:
    shape = run.shaped
    facts = {}
    for wave in run.planned.waves:
        widths = [
            len({name for index in part for name in shape.steps[index].targets})
            for part in shape.slices[wave.id]
        ]
        facts[wave.id] = WaveFacts(
            slices=wave.slices, stop_after=wave.stop_after, widest=max(widths), first=widths[0]
        )
    return facts
