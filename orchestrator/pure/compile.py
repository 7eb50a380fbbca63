"""Compile a draft: climb the ladder of checks rung by rung, to a closed plan or to findings.

1. The first rung that fails returns all of its findings, and nothing from the rungs above it.
2. Nothing is normalised silently: what is not right is a finding, with the smallest edit that mends
   it where there is one.
3. Rungs: 0 size and ambiguity · 1 shape · 2 actors · 3 names · 4 params · 5 outputs · 6 cycles and
   limits · 7 targets and waves · 8 conflicts and budgets · 10 reversibility · 11 window.
   Rung 9, the grounding of literals, is judged elsewhere. The codes stand in `findings.CODES`.
4. The same draft, ticket, catalog and inventory compile to the same bytes, always.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Literal

from orchestrator.pure.binding import Binder
from orchestrator.pure.canonical import digest
from orchestrator.pure.conflicts import (
    budget_findings,
    label_findings,
    order_findings,
    rule_findings,
    shared_labels,
)
from orchestrator.pure.draft import Draft, Finding, Question, Refusal
from orchestrator.pure.findings import finding, remove, report, unreadable
from orchestrator.pure.graph import Order, a_cycle, dependants, levels, topological
from orchestrator.pure.model import CONFIRM, HOLD, Confirm, Hold, Lock, Plan, PlanStep, Slot, Wave
from orchestrator.pure.params import Settler, hold_until_ms, param_findings, reference_findings
from orchestrator.pure.selection import actor_findings, name_findings, traits_of, undo_findings
from orchestrator.pure.shape import read_shape, size_findings
from orchestrator.pure.waves import cut, cut_findings, expand, expected_counts
from orchestrator.pure.window import parts_of, timing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actors.strict import Json
    from orchestrator.pure.findings import Path
    from orchestrator.pure.model import Catalog, Condition, Inventory, Ticket
    from orchestrator.pure.selection import Traits
    from orchestrator.pure.waves import Node

__all__ = ["Document", "Limits", "compile_draft", "unreadable"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a draft may be, and where actors need evidence."""

    max_bytes: int = 64 * 2**20
    max_steps: int = 100_000
    max_depth: int = 100_000
    """Steps on the longest chain."""
    max_fan_out: int = 100_000
    """Steps that wait for one step."""
    max_parallel: int = 1_000
    """Steps that may act at a time, whatever the draft says."""
    require_evidence: tuple[str, ...] = ()
    """Environments in which an actor's own tests must have passed for its digest."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Actors that policy does not offer for this ticket, and why."""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of secrets, and the environments in which each may be used (none: in all)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A draft as an edge has strictly read it, and the lines on which its places stand."""

    value: Json
    lines: Mapping[Path, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Shape:
    """The draft as a graph: who waits for whom, and the order in which all is laid down."""

    before: Sequence[Sequence[int]]
    order: Sequence[Sequence[int]]


def compile_draft(
    document: Document, *, ticket: Ticket, catalog: Catalog, inventory: Inventory, limits: Limits
) -> Plan | Refusal | Question | tuple[Finding, ...]:
    """Compile to a plan, or say all that is wrong on the first rung that fails."""
    value = document.value
    too_much = size_findings(value, max_bytes=limits.max_bytes, max_steps=limits.max_steps)
    draft = too_much or read_shape(value)
    if not isinstance(draft, Draft):
        return report(draft, document.lines) if isinstance(draft, list) else draft
    traits = traits_of(draft, catalog)
    findings = _first(_name_rungs(draft, traits, ticket, catalog, limits))
    answer = findings or _laid_out(draft, traits, ticket, catalog, inventory, limits)
    return answer if isinstance(answer, Plan) else report(answer, document.lines)


def _first(rungs: Iterator[list[Finding]]) -> list[Finding]:
    """Climb lazily: a rung is looked at only when all below it hold."""
    return next(filter(None, rungs), [])


def _name_rungs(
    draft: Draft, traits: Mapping[str, Traits], ticket: Ticket, catalog: Catalog, limits: Limits
) -> Iterator[list[Finding]]:
    """Rungs 2 to 5 need the catalog and the ticket, but no inventory."""
    where = ticket.environment
    evidence = where in limits.require_evidence
    yield list(
        actor_findings(
            draft,
            catalog,
            environment=where,
            evidence_required=evidence,
            withheld=limits.withheld,
        )
    )
    yield list(name_findings(draft))
    yield list(param_findings(draft, traits, ticket, limits.secrets))
    yield list(reference_findings(draft, traits, _before(draft)))


def _laid_out(
    draft: Draft,
    traits: Mapping[str, Traits],
    ticket: Ticket,
    catalog: Catalog,
    inventory: Inventory,
    limits: Limits,
) -> Plan | list[Finding]:
    """Rungs 6 and 7, and on to the plan."""
    shape = _shape(draft, limits)
    if isinstance(shape, list):
        return shape
    cuts = cut(draft, traits, Binder(inventory, ticket), inventory)
    if isinstance(cuts, list):
        return cuts
    most, widest = limits.max_steps, limits.max_fan_out
    grown = cut_findings(draft, shape.before, cuts, max_steps=most, max_fan_out=widest)
    counts = grown or expected_counts(draft, dependants(shape.before), cuts)
    if isinstance(counts, list):
        return counts
    nodes = expand(draft, traits, shape.before, shape.order, cuts)
    findings = _first(_node_rungs(draft, traits, nodes, inventory))
    if findings:
        return findings
    steps = _steps(draft, nodes, ticket, _gates(draft, ticket, counts))
    used = {step.actor for step in draft.steps} - {CONFIRM, HOLD}
    actors = {name: catalog.actors[name] for name in sorted(used)}
    parts = parts_of(steps, actors, ticket.window)
    times = timing(draft, parts, ticket.window, limits.max_parallel)
    if isinstance(times, list):
        return times
    return Plan(
        ticket_digest=digest(ticket.model_dump(mode="json")),
        environment=ticket.environment,
        catalog_digest=catalog.digest,
        inventory_digest=digest(inventory.model_dump(mode="json")),
        actors=actors,
        steps=steps,
        waves=tuple(
            Wave(id=wave.id, slices=len(cuts.waves[wave.id]), stop_after=wave.stop_after)
            for wave in draft.waves
        ),
        locks=_locks(nodes, inventory),
        window=ticket.window,
        on_window_close=draft.on_window_close,
        max_parallel=min(draft.max_parallel, limits.max_parallel),
        timing=times,
    )


def _node_rungs(
    draft: Draft, traits: Mapping[str, Traits], nodes: Sequence[Node], inventory: Inventory
) -> Iterator[list[Finding]]:
    """Rungs 8 and 10."""
    order = Order([node.before for node in nodes], [node.slot for node in nodes])
    found = chain(
        label_findings(nodes, inventory),
        order_findings(draft, nodes, inventory, order),
        rule_findings(draft, nodes, inventory, order),
        budget_findings(draft, nodes, inventory, order),
    )
    yield list(found)
    yield list(undo_findings(draft, traits))


# --- rung 6 -------------------------------------------------------------------------------------


def _before(draft: Draft) -> list[tuple[int, ...]]:
    places = {step.id: place for place, step in enumerate(draft.steps)}
    return [tuple(sorted(places[name] for name in step.after)) for step in draft.steps]


def _shape(draft: Draft, limits: Limits) -> _Shape | list[Finding]:
    """Rung 6: neither a step nor a wave waits for itself, and nothing is too deep or too wide."""
    before = _before(draft)
    order = topological(before)
    if len(order) < len(before):
        return [_cycle_finding(draft, a_cycle(before, order))]
    together = _together(draft, before, order) if draft.waves else [[place] for place in order]
    if isinstance(together, Finding):
        return [together]
    return _limit_findings(draft, before, order, limits) or _Shape(before, together)


def _together(
    draft: Draft, before: Sequence[Sequence[int]], order: Sequence[int]
) -> list[list[int]] | Finding:
    """Order the steps with those of each wave together, or say what stands between a wave's."""
    first_of: dict[str | int, int] = {}
    group = [
        first_of.setdefault(step.wave or place, place) for place, step in enumerate(draft.steps)
    ]
    grouped: list[set[int]] = [set() for _ in before]
    for place, earlier in enumerate(before):
        grouped[group[place]].update(group[one] for one in earlier if group[one] != group[place])
    groups = topological([sorted(earlier) for earlier in grouped])
    if len(groups) < len(before):
        rest = a_cycle([sorted(earlier) for earlier in grouped], groups)
        return _crossing_finding(draft, rest)
    members: dict[int, list[int]] = {}
    for place in order:
        members.setdefault(group[place], []).append(place)
    return [members[one] for one in groups if one in members]


def _cycle_finding(draft: Draft, cycle: Sequence[int]) -> Finding:
    """Name the cycle; the edge to cut is one that leads against the order of the draft."""
    spot = next(n for n, place in enumerate(cycle) if cycle[(n + 1) % len(cycle)] >= place)
    step, awaited = draft.steps[cycle[spot]], draft.steps[cycle[(spot + 1) % len(cycle)]]
    path = ("steps", cycle[spot], "after", step.after.index(awaited.id))
    names = " waits for ".join(draft.steps[place].id for place in [*cycle, cycle[0]])
    edit = remove(path, f"do not let {step.id} wait for {awaited.id}")
    return finding("R6-cycle", f"no step of this cycle can ever begin: {names}", path, edit=edit)


def _crossing_finding(draft: Draft, cycle: Sequence[int]) -> Finding:
    steps = [draft.steps[place] for place in cycle]
    names = [f"the wave {step.wave}" if step.wave is not None else step.id for step in steps]
    says = " waits for ".join([*names, names[0]])
    number = next(n for n, wave in enumerate(draft.waves) if any(s.wave == wave.id for s in steps))
    says = f"slices of a wave follow each other, so nothing can stand between them: {says}"
    return finding("R6-wave-crossed", says, ("waves", number))


def _limit_findings(
    draft: Draft, before: Sequence[Sequence[int]], order: Sequence[int], limits: Limits
) -> list[Finding]:
    depth = levels(before, order)
    deepest = max(depth)
    findings = []
    if deepest > limits.max_depth:
        says = f"{deepest} steps follow each other; at most {limits.max_depth} may"
        findings.append(finding("R6-too-deep", says, ("steps", depth.index(deepest))))
    for place, later in enumerate(dependants(before)):
        if len(later) > limits.max_fan_out:
            says = f"{len(later)} steps wait for {draft.steps[place].id}; at most"
            says = f"{says} {limits.max_fan_out} may"
            findings.append(finding("R6-too-wide", says, ("steps", place)))
    return findings


# --- the plan -----------------------------------------------------------------------------------


def _gates(draft: Draft, ticket: Ticket, counts: Mapping[int, int]) -> dict[int, Confirm | Hold]:
    gates: dict[int, Confirm | Hold] = {}
    for place, step in enumerate(draft.steps):
        if step.actor == CONFIRM:
            expected = str(counts[place]) if place in counts else ticket.environment
            gates[place] = Confirm(question=str(step.params["text"]), expected=expected)
        elif step.actor == HOLD:
            gates[place] = Hold(until_ms=hold_until_ms(str(step.params["until"])) or 0)
    return gates


def _steps(
    draft: Draft, nodes: Sequence[Node], ticket: Ticket, gates: Mapping[int, Confirm | Hold]
) -> tuple[PlanStep, ...]:
    steps: list[PlanStep] = []
    settler = Settler(ticket.params)
    members: dict[str | None, list[str]] = {}
    for step in draft.steps:
        members.setdefault(step.wave, []).append(step.id)
    slot: tuple[str, int] | None = None
    copies: dict[str, str] = {}
    for node in nodes:
        if node.traits is None:
            continue
        if node.slot != slot:
            slot = node.slot
            copies = {} if slot is None else {id_: f"{id_}@{slot[1]}" for id_ in members[slot[0]]}
        step = draft.steps[node.place]
        steps.append(
            PlanStep(
                id=node.id,
                actor=step.actor,
                params=settler.settled(step, node.traits, copies),
                targets=node.touches.names,
                after=tuple(nodes[one].id for one in node.before if nodes[one].place >= 0),
                when=_renamed(step.when, copies),
                slot=None if slot is None else Slot(wave=slot[0], slice=slot[1]),
                gate=gates.get(node.place),
            )
        )
    return tuple(steps)


def _renamed(when: Condition | None, copies: Mapping[str, str]) -> Condition | None:
    """Inside a slice, a condition reads the copy of that slice."""
    if when is None:
        return None
    source, _, output = when.output.partition(".")
    return when.model_copy(update={"output": f"{copies.get(source, source)}.{output}"})


def _locks(nodes: Sequence[Node], inventory: Inventory) -> tuple[Lock, ...]:
    """Hold exclusively what is changed, and shared what is only read."""
    changed: dict[str, bool] = {}
    for node in nodes:
        writes = node.traits is not None and bool(node.traits.writes)
        for position in node.touches.positions:
            item = inventory.objects[position]
            name = f"{item.object}/{item.name}"
            changed[name] = changed.get(name, False) or writes
        changed.update(
            (f"{label}/{value}", True) for label, value in shared_labels(node, inventory)
        )
    modes: dict[bool, Literal["shared", "exclusive"]] = {True: "exclusive", False: "shared"}
    return tuple(Lock(resource=name, mode=modes[changed[name]]) for name in sorted(changed))
