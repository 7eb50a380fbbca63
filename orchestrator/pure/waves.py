"""Rung 7, second half: counted targets, slices of waves, and the nodes that all later rungs walk.

1. A wave's targets are cut in the inventory's order: the canary first, then slices of one size.
2. Each step of a wave is copied once per slice; inside a slice the copies keep their order.
3. Whoever waits for a step of a wave waits for all its copies; whom it waits for, all copies await.
4. Between two slices stands a barrier: not a step, but what the machine makes of the slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.pure.binding import Binder, Bound
from orchestrator.pure.findings import finding, remove, replace
from orchestrator.pure.model import CONFIRM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.pure.draft import Draft, DraftWave, Finding
    from orchestrator.pure.findings import Path
    from orchestrator.pure.model import Inventory
    from orchestrator.pure.selection import Traits

__all__ = ["Cut", "Node", "Slice", "cut", "cut_findings", "expand", "expected_counts"]

MAX_SLICES: Final = 999_999
EDGES_PER_STEP: Final = 50
TARGETS_PER_STEP: Final = 20
GATE_VISITS: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Targets that one step touches together."""

    positions: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """What each step and each wave touches."""

    steps: Sequence[Slice]
    """By place in the draft; empty for the steps of a wave."""
    waves: Mapping[str, Sequence[Slice]]

    def of(self, draft: Draft, place: int) -> Sequence[Slice]:
        """Return the slices of a step: one, unless it belongs to a wave."""
        wave = draft.steps[place].wave
        return self.waves[wave] if wave is not None else (self.steps[place],)


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the plan to come, or (without traits and with place -1) a barrier."""

    id: str
    place: int
    traits: Traits | None
    slot: tuple[str, int] | None
    touches: Slice
    before: tuple[int, ...]


# --- binding and cutting ------------------------------------------------------------------------


def cut(
    draft: Draft, traits: Mapping[str, Traits], binder: Binder, inventory: Inventory
) -> Cut | list[Finding]:
    """Bind every selector and cut every wave, or say why not."""
    findings = list(binder.ticket_findings)
    steps: list[Slice] = []
    members: dict[str, list[Traits]] = {wave.id: [] for wave in draft.waves}
    for place, step in enumerate(draft.steps):
        actor = traits[step.actor]
        touched = Slice()
        if step.wave is not None:
            members[step.wave].append(actor)
            findings += _membership(draft, place, actor)
        elif actor.target is not None:
            path = ("steps", place, "params", actor.target)
            bound = binder.bind(actor.object, _texts(step.params[actor.target]), path)
            touched = Slice(bound.positions, bound.names)
            findings += bound.findings or _count_findings(actor, len(bound.names), path)
        steps.append(touched)
    waves: dict[str, Sequence[Slice]] = {}
    for number, wave in enumerate(draft.waves):
        bound = _bind_wave(wave, number, members[wave.id], binder)
        waves[wave.id] = _slices(wave, bound.positions, inventory)
        findings += bound.findings or _size_findings(wave, number, members[wave.id], waves[wave.id])
    return findings or Cut(steps, waves)


def _texts(value: object) -> tuple[str, ...]:
    """Take a targets param as rung 4 has proven it: a tuple of texts."""
    return tuple(str(word) for word in value) if isinstance(value, tuple) else ()


def _membership(draft: Draft, place: int, actor: Traits) -> Iterator[Finding]:
    step = draft.steps[place]
    if actor.target is None:
        says = f"{step.id} belongs to the wave {step.wave}, but {step.actor} has no targets"
        edit = remove(("steps", place, "wave"), "take it out of the wave")
        yield finding("R7-wave-needs-targets", says, ("steps", place, "wave"), edit=edit)
    elif actor.target in step.params:
        path: Path = ("steps", place, "params", actor.target)
        says = f"{step.id} gets its targets from the wave {step.wave}; it must not name its own"
        edit = remove(path, "leave the targets to the wave")
        yield finding("R7-wave-targets-given", says, path, edit=edit)


def _count_findings(actor: Traits, count: int, path: Path) -> Iterator[Finding]:
    least, most = _takes(actor)
    if not least <= count <= most:
        says = f"the selectors bind to {count} targets; the actor takes {least} to {most}"
        yield finding("R7-target-count", says, path)


def _takes(actor: Traits) -> tuple[int, int]:
    param = actor.params[actor.target] if actor.target is not None else None
    if param is None or param.type != "targets":
        return 0, MAX_SLICES
    return param.minimum, param.maximum


def _bind_wave(wave: DraftWave, number: int, members: Sequence[Traits], binder: Binder) -> Bound:
    kinds = sorted({actor.object for actor in members if actor.target is not None})
    if len(kinds) > 1:
        says = f"the steps of the wave {wave.id} touch {' and '.join(kinds)}; one wave, one kind"
        mixed = finding("R7-wave-mixed-objects", says, ("waves", number))
        return Bound((), (), (mixed,))
    path = ("waves", number, "targets")
    bound = binder.bind(kinds[0] if kinds else "", wave.targets, path)
    if bound.positions or bound.findings:
        return bound
    empty = finding("R7-target-count", f"the wave {wave.id} has no targets", path)
    return Bound((), (), (empty,))


def _slices(wave: DraftWave, positions: Sequence[int], inventory: Inventory) -> tuple[Slice, ...]:
    if not positions:
        return ()
    starts = [0] if wave.canary else []
    starts += range(wave.canary, len(positions), wave.size)
    ends = [*starts[1:], len(positions)]
    slices = []
    for start, end in zip(starts, ends, strict=True):
        part = tuple(positions[start:end])
        names = tuple(sorted(inventory.objects[position].name for position in part))
        slices.append(Slice(part, names))
    return tuple(slices)


def _size_findings(
    wave: DraftWave, number: int, members: Sequence[Traits], slices: Sequence[Slice]
) -> Iterator[Finding]:
    least = max(_takes(actor)[0] for actor in members)
    most = min(_takes(actor)[1] for actor in members)
    sizes = [len(part.names) for part in slices]
    canaries = 1 if wave.canary else 0
    for field, part in (("canary", sizes[:canaries]), ("size", sizes[canaries:])):
        cap = max(part, default=0)
        if cap > most:
            path = ("waves", number, field)
            says = f"slices of {cap} targets; the actors of the wave {wave.id} take at most {most}"
            yield finding("R7-target-count", says, path, edit=replace(path, most, f"cut at {most}"))
    if min(sizes) < least:
        says = f"a slice of {min(sizes)} targets; the actors of {wave.id} take at least {least}"
        yield finding("R7-target-count", says, ("waves", number, "size"))


# --- bounds, and what a gate asks for -----------------------------------------------------------


def cut_findings(
    draft: Draft, before: Sequence[Sequence[int]], cuts: Cut, *, max_steps: int, max_fan_out: int
) -> list[Finding]:
    """Refuse a plan that would grow beyond bounds when its waves are copied."""
    copies = [len(cuts.of(draft, place)) for place in range(len(draft.steps))]
    targets = sum(len(part.names) for place in range(len(copies)) for part in cuts.of(draft, place))
    if sum(copies) > min(max_steps, MAX_SLICES):
        says = f"with its waves the plan has {sum(copies)} steps; at most {max_steps} are compiled"
        return [finding("R7-wave-too-wide", f"{says}: make the slices larger", ("waves",))]
    if targets > TARGETS_PER_STEP * max_steps:
        says = f"the steps have {targets} targets in all; at most {TARGETS_PER_STEP * max_steps}"
        return [
            finding("R7-too-many-targets", f"{says} are compiled: split the change", ("steps",))
        ]
    waiting, edges = [0] * len(copies), 0
    for place, earlier in enumerate(before):
        for one in earlier:
            inside = (
                draft.steps[one].wave is not None
                and draft.steps[one].wave == draft.steps[place].wave
            )
            waiting[one] += 1 if inside else copies[place]
            edges += copies[place] * (1 if inside else copies[one])
    widest = max(waiting)
    if widest > max_fan_out or edges > EDGES_PER_STEP * max_steps:
        says = "too many copies of the waves' steps wait for each other; put one gate between them"
        return [finding("R7-wave-too-wide", says, ("steps", waiting.index(widest)))]
    return []


def expected_counts(
    draft: Draft, after: Sequence[Sequence[int]], cuts: Cut
) -> dict[int, int] | list[Finding]:
    """Count, for each gate that asks for it, the distinct targets of all steps that wait for it."""
    asking = [
        place
        for place, step in enumerate(draft.steps)
        if step.actor == CONFIRM and step.params["expect"] == "targets"
    ]
    if len(asking) * len(draft.steps) > GATE_VISITS:
        says = f"{len(asking)} gates ask for a number of targets, too many in so large a plan"
        return [finding("R7-too-many-confirms", f"{says}; expect the name instead", ("steps",))]
    counts: dict[int, int] = {}
    findings: list[Finding] = []
    for place in asking:
        counts[place] = _downstream(draft, after, cuts, place)
        if counts[place] == 0:
            path = ("steps", place, "params", "expect")
            says = f"{draft.steps[place].id} asks for a number of targets, but none come after it"
            edit = replace(path, "name", "ask for the environment's name")
            findings.append(finding("R7-confirm-without-targets", says, path, edit=edit))
    return findings or counts


def _downstream(draft: Draft, after: Sequence[Sequence[int]], cuts: Cut, gate: int) -> int:
    seen, stack = {gate}, [gate]
    while stack:
        for later in after[stack.pop()]:
            if later not in seen:
                seen.add(later)
                stack.append(later)
    waves = {wave for place in seen if (wave := draft.steps[place].wave) is not None}
    touched = {position for place in seen for position in cuts.steps[place].positions}
    touched.update(p for wave in waves for part in cuts.waves[wave] for p in part.positions)
    return len(touched)


# --- copying ------------------------------------------------------------------------------------


def expand(
    draft: Draft,
    traits: Mapping[str, Traits],
    before: Sequence[Sequence[int]],
    order: Sequence[Sequence[int]],
    cuts: Cut,
) -> list[Node]:
    """Copy the steps of each wave once per slice; `order` lists the steps, a wave's together."""
    nodes: list[Node] = []
    copies: list[list[int]] = [[] for _ in draft.steps]
    for together in order:
        wave = draft.steps[together[0]].wave
        slices = cuts.of(draft, together[0])
        mine = set(together)
        barrier: tuple[int, ...] = ()
        for number, touches in enumerate(slices, 1):
            first = len(nodes)
            slot = None if wave is None else (wave, number)
            for place in together:
                waits = set(barrier)
                for one in before[place]:
                    waits.update(copies[one][number - 1 : number] if one in mine else copies[one])
                step = draft.steps[place]
                name = step.id if slot is None else f"{step.id}@{number}"
                copies[place].append(len(nodes))
                earlier = tuple(sorted(waits))
                nodes.append(Node(name, place, traits[step.actor], slot, touches, earlier))
            if number < len(slices):
                nodes.append(Node("", -1, None, None, Slice(), tuple(range(first, len(nodes)))))
                barrier = (len(nodes) - 1,)
    return nodes
