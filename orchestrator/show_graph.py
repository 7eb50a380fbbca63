"""The plan as a picture for a terminal: rails on the left, as version control draws history.

1. Time runs down; a step hangs under the steps it comes after; `●` is a step, `◆` a wave.
2. A wave is one node: its first slice is spelled out in a box, the others are counted.
3. Steps with the same actor, the same steps before and the same steps after are one node.
4. A picture that would not fit becomes layers: what may run together, what runs after it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.pure.graph import topological
from orchestrator.pure.model import Confirm, Hold
from orchestrator.show_groups import names, spec_of, value_words
from orchestrator.show_plan import EFFECTS
from orchestrator.show_text import Page, Span, count, instant, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.pure.model import Plan, PlanStep, Wave

__all__ = ["graph_text"]

MOST_NODES: Final = 60
MOST_RAILS: Final = 12
MOST_LAYERS: Final = 40
ALIKE: Final = 3


class Node(NamedTuple):
    """One or more steps that are drawn as one."""

    steps: tuple[PlanStep, ...]
    before: frozenset[int]
    wave: Wave | None = None


def graph_text(plan: Plan, *, width: int, color: bool) -> str:
    """Draw the order of a plan's steps."""
    page = Page(width, color=color)
    nodes = _nodes(plan)
    whole = sum(len(node.steps) for node in nodes) == len(plan.steps)
    rails = _rails(nodes) if whole and len(nodes) <= MOST_NODES else None
    if rails is None:
        _draw_layers(page, plan)
    else:
        for node, (drawn, below) in zip(nodes, rails, strict=True):
            _draw(page, plan, node, drawn, below)
    page.blank()
    at_once = f"at most {plan.max_parallel:,} at a time"
    page.line(Span(f"{count(len(plan.steps), 'step')}, {at_once}; time runs down", "dim"))
    return page.text()


# --- nodes --------------------------------------------------------------------------------------


def _nodes(plan: Plan) -> list[Node]:
    keys = _keys(plan)
    numbers: dict[object, int] = {}
    members: list[list[PlanStep]] = []
    where: dict[str, int] = {}
    for step, key in zip(plan.steps, keys, strict=True):
        number = numbers.setdefault(key, len(members))
        if number == len(members):
            members.append([])
        members[number].append(step)
        where[step.id] = number
    before = [
        sorted({where[name] for step in steps for name in step.after} - {number})
        for number, steps in enumerate(members)
    ]
    order = topological(before)
    place = {number: position for position, number in enumerate(order)}
    waves = {wave.id: wave for wave in plan.waves}
    return [
        Node(
            tuple(members[number]),
            frozenset(place[earlier] for earlier in before[number]),
            waves[slot.wave] if (slot := members[number][0].slot) else None,
        )
        for number in order
    ]


def _keys(plan: Plan) -> list[object]:
    # What two steps must share to be one node; a small group stays apart.
    after: dict[str, list[str]] = {}
    for step in plan.steps:
        for name in step.after:
            after.setdefault(name, []).append(step.id)
    alike: list[object] = []
    for step in plan.steps:
        if step.slot:
            alike.append(step.slot.wave)
        else:
            later = tuple(sorted(after.get(step.id, ())))
            alike.append((step.actor, tuple(sorted(step.after)), later))
    sizes = Counter(alike)
    return [
        key if step.slot or sizes[key] >= ALIKE else step.id
        for step, key in zip(plan.steps, alike, strict=True)
    ]


# --- rails --------------------------------------------------------------------------------------


def _rails(nodes: Sequence[Node]) -> list[tuple[str, str]] | None:
    """Draw for each node its rail and the rail of the lines below it; nothing if it is too wide."""
    open_edges = [0] * len(nodes)
    for node in nodes:
        for earlier in node.before:
            open_edges[earlier] += 1
    columns: list[int | None] = []
    used: set[int] = set()
    drawn = []
    for number, node in enumerate(nodes):
        parents = {c for c, owner in enumerate(columns) if owner in node.before}
        for column in parents:
            open_edges[columns[column] or 0] -= 1
        ended = {c for c in parents if open_edges[columns[c] or 0] == 0}
        mine = min(ended) if ended else _free(columns, used)
        while len(columns) <= mine:
            columns.append(None)
        if len(columns) > MOST_RAILS:
            return None
        rail = _row(columns, parents, ended, mine)
        used = {c for c, owner in enumerate(columns) if owner is not None} | {mine}
        for column in ended:
            columns[column] = None
        columns[mine] = number if open_edges[number] else None
        below = "".join("  " if owner is None else "│ " for owner in columns)
        drawn.append((rail, below))
    return drawn


def _free(columns: Sequence[int | None], used: set[int]) -> int:
    # A rail that ended in the line above is left empty once, so that nothing seems to go on in it.
    for column, owner in enumerate(columns):
        if owner is None and column not in used:
            return column
    return len(columns)


def _row(columns: Sequence[int | None], parents: set[int], ended: set[int], mine: int) -> str:
    touched = parents | {mine}
    first, last = min(touched), max(touched)
    parts = []
    for column, owner in enumerate(columns):
        if column == mine:
            letter = "●"
        elif column in parents:
            letter = _joint(column, first, last, ends=column in ended)
        elif owner is not None:
            letter = "│"
        else:
            letter = "─" if first < column < last else " "
        parts.append(letter + ("─" if first <= column < last else " "))
    return "".join(parts)


def _joint(column: int, first: int, last: int, *, ends: bool) -> str:
    if column == first:
        return "└" if ends else "├"
    if column == last:
        return "┘" if ends else "┤"
    return "┴" if ends else "┼"


def _draw(page: Page, plan: Plan, node: Node, rail: str, below: str) -> None:
    rail = rail.replace("●", "◆") if node.wave else rail
    room = max(len(rail), len(below)) + 1
    pad = Span(rail.ljust(room), "cyan")
    if node.wave is None:
        page.line(pad, *_labels(plan, node.steps))
        return
    under = Span(below.ljust(room), "cyan")
    wave = node.wave
    targets = {name for step in node.steps for name in step.targets}
    slices = count(wave.slices, "slice")
    page.line(
        pad,
        Span(f"wave {wave.id}", "bold"),
        f"  {slices} over {count(len(targets), 'target')}; ",
        f"goes back after {wave.stop_after:,} failed",
    )
    first = [step for step in node.steps if step.slot and step.slot.slice == 1]
    edge = "│" if wave.slices > 1 else "└"
    page.line(under, Span("┌ slice 1", "dim"))
    inner = _rails(_inner(first))
    for place, step in enumerate(first):
        rails = inner[place][0] if inner else "● "
        page.line(under, Span("│ ", "dim"), Span(f"{rails} ", "cyan"), *_labels(plan, (step,)))
    if wave.slices > 1:
        rest = "slice 2" if wave.slices == 2 else f"slices 2 to {wave.slices:,}"
        words = f"└ {rest}: the same on the other targets"
        page.line(under, Span(words, "dim"))
    else:
        page.line(under, Span(edge, "dim"))


def _inner(steps: Sequence[PlanStep]) -> list[Node]:
    place = {step.id: position for position, step in enumerate(steps)}
    return [
        Node((step,), frozenset(place[name] for name in step.after if name in place))
        for step in steps
    ]


def _labels(plan: Plan, steps: Sequence[PlanStep]) -> list[Span]:
    step = steps[0]
    many = f"{len(steps):,} x " if len(steps) > 1 else ""
    title = f"{step.id} …" if many else step.id
    if step.gate:
        return [Span(step.id, "bold"), Span(f"  {_gate(step)}", "cyan")]
    spec = spec_of(plan, step)
    effect = spec.effect if spec else "read"
    targets = list(dict.fromkeys(name for one in steps for name in one.targets))
    spans = [Span(many + title, "bold"), Span(f"  {step.actor}", EFFECTS[effect])]
    if targets:
        spans.append(Span(f"  {names(targets, 2)}"))
    if step.when:
        words = f"  when {step.when.output} {step.when.op} {value_words(step.when.value)}"
        spans.append(Span(words, "yellow"))
    return spans


def _gate(step: PlanStep) -> str:
    match step.gate:
        case Confirm(question=question):
            return f"a person answers: {question}"
        case Hold(until_ms=until_ms):
            return f"waits until {instant(until_ms)}"
        case _:
            return ""


# --- layers -------------------------------------------------------------------------------------


def _draw_layers(page: Page, plan: Plan) -> None:
    layers = list(_merged(_layers(plan)))
    for first, last, actors in layers[:MOST_LAYERS]:
        label = f"layer {first:,}" if first == last else f"layers {first:,} to {last:,}, each"
        held = joined((f"{number:,} x {actor}" for actor, number in sorted(actors.items())), 4)
        page.line(Span("● " if first == last else "⋮ ", "cyan"), Span(label, "bold"), f"  {held}")
    rest = len(layers) - MOST_LAYERS
    if rest > 0:
        page.line(Span(f"… and {rest:,} more groups of layers", "dim"))
    for wave in plan.waves:
        page.line(Span(f"wave {wave.id}: {count(wave.slices, 'slice')}", "dim"))


def _layers(plan: Plan) -> list[Counter[str]]:
    depth: dict[str, int] = {}
    closed: dict[tuple[str, int], int] = {}
    layers: list[Counter[str]] = []
    for step in plan.steps:
        deepest = max((depth[name] for name in step.after if name in depth), default=0)
        if step.slot:
            deepest = max(deepest, closed.get((step.slot.wave, step.slot.slice - 1), 0))
        depth[step.id] = mine = deepest + 1
        if step.slot:
            slot = (step.slot.wave, step.slot.slice)
            closed[slot] = max(closed.get(slot, 0), mine)
        while len(layers) < mine:
            layers.append(Counter())
        layers[mine - 1][step.actor] += 1
    return layers


def _merged(
    layers: Iterable[Mapping[str, int]],
) -> list[tuple[int, int, Mapping[str, int]]]:
    merged: list[tuple[int, int, Mapping[str, int]]] = []
    for number, layer in enumerate(layers, 1):
        if merged and merged[-1][2] == layer:
            merged[-1] = (merged[-1][0], number, layer)
        else:
            merged.append((number, number, layer))
    return merged
