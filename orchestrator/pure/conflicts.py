"""Rung 8: no two steps touch one thing at once, and no failure domain loses too much at once.

1. Steps are walked in topological order; each proves that it follows those that touched the same
   thing last, never all of them: order is transitive.
2. Two writers, or a writer and a reader, of one aspect must be ordered; `self` overlaps them all.
3. What cannot be proven within bounds counts as unordered.
4. Failure domains are covered by chains of ordered steps. Only one step of a chain acts at a time:
   the sum of the chains' widest steps is never less than what may be disturbed at once. It may be
   more; then an explicit `after` settles it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.pure.findings import finding, listed, replace
from orchestrator.pure.params import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.pure.draft import Draft, Edit, Finding
    from orchestrator.pure.graph import Order
    from orchestrator.pure.model import Budget, Inventory
    from orchestrator.pure.waves import Node

__all__ = ["budget_findings", "label_findings", "order_findings", "rule_findings", "shared_labels"]

SELF: Final = "self"
MAX_RESOURCE: Final = 400
CANDIDATES: Final = 20
CHAINS: Final = 100
BLOCK: Final = 16

Thing = int | tuple[str, str]
"""An inventory object by position, or a label with its value."""


# --- unordered changes of one thing -------------------------------------------------------------


@dataclass(slots=True)
class _Aspect:
    """Who touched one aspect of one thing last."""

    writer: int = -1
    readers: list[int] = field(default_factory=list)
    covered: int = 0
    """How many readers of `self` the last writer of this aspect has proven to follow."""


def order_findings(
    draft: Draft, nodes: Sequence[Node], inventory: Inventory, order: Order
) -> list[Finding]:
    """Say which two steps touch the same thing without an order between them."""
    books: dict[Thing, dict[str, _Aspect]] = {}
    found: dict[tuple[int, int], Finding] = {}
    for number, node in enumerate(nodes):
        if node.traits is None:
            continue
        needed: dict[int, Thing] = {}
        reads, writes = node.traits.reads, node.traits.writes
        for position in node.touches.positions:
            _visit(books.setdefault(position, {}), number, reads, writes, position, needed)
        for label in shared_labels(node, inventory):
            _visit(books.setdefault(label, {}), number, (), (SELF,), label, needed)
        for earlier in sorted(needed):
            pair = (nodes[earlier].place, node.place)
            proof = order.proves(earlier, number)
            if proof is not True and pair not in found:
                found[pair] = _conflict(
                    draft, pair, _named(needed[earlier], inventory), proof=proof
                )
    return list(found.values())


def shared_labels(node: Node, inventory: Inventory) -> list[tuple[str, str]]:
    """Return the labels, with their values, that a step changes for all who carry them."""
    spec = node.traits.spec if node.traits is not None else None
    if spec is None or not spec.shares:
        return []
    carried = (inventory.objects[position].labels for position in node.touches.positions)
    values = {(name, labels[name]) for labels in carried for name in spec.shares if name in labels}
    return sorted(values)


def _visit(
    book: dict[str, _Aspect],
    number: int,
    reads: Iterable[str],
    writes: Iterable[str],
    thing: Thing,
    needed: dict[int, Thing],
) -> None:
    """Collect whom the step must follow on this thing, then enter the step itself."""
    for aspect in reads:
        for known in _overlapping(book, aspect):
            if known.writer >= 0:
                needed[known.writer] = thing
    for aspect in writes:
        own = book.get(aspect)
        for known in _overlapping(book, aspect):
            start = own.covered if own is not None and known is not own else 0
            needed.update((reader, thing) for reader in known.readers[start:])
            if known.writer >= 0:
                needed[known.writer] = thing
    _enter(book, number, reads, writes)


def _overlapping(book: Mapping[str, _Aspect], aspect: str) -> list[_Aspect]:
    if aspect == SELF:
        return list(book.values())
    return [book[name] for name in (aspect, SELF) if name in book]


def _enter(
    book: dict[str, _Aspect], number: int, reads: Iterable[str], writes: Iterable[str]
) -> None:
    written = set(writes)
    if SELF in written:
        book.clear()
        book[SELF] = _Aspect(number)
        return
    whole = book[SELF].readers if SELF in book else []
    for aspect in sorted(written):
        book[aspect] = _Aspect(number, covered=len(whole))
    for aspect in reads:
        if aspect not in written:
            book.setdefault(aspect, _Aspect()).readers.append(number)


def _conflict(
    draft: Draft,
    pair: tuple[int, int],
    what: str,
    *,
    proof: bool | None,
) -> Finding:
    first, second = (draft.steps[place] for place in pair)
    edit = wait_for(second, pair[1], first.id)
    path = ("steps", pair[1])
    if proof is None:
        says = (
            f"{first.id} and {second.id} touch {what}, and no order between them was found in time"
        )
        return finding("R8-order-unproven", f"{says}; say it with after", path, edit=edit)
    says = f"{first.id} and {second.id} touch {what}, at least one changes it, and neither waits"
    return finding("R8-conflict", f"{says} for the other", path, edit=edit)


def _named(thing: Thing, inventory: Inventory) -> str:
    if isinstance(thing, tuple):
        return f"{thing[0]}/{thing[1]}"
    return f"{inventory.objects[thing].object}/{inventory.objects[thing].name}"


def label_findings(nodes: Sequence[Node], inventory: Inventory) -> list[Finding]:
    """Refuse shared labels whose value is too long to be locked."""
    found: dict[tuple[int, str], Finding] = {}
    for node in nodes:
        for label, value in shared_labels(node, inventory):
            if len(label) + 1 + len(value) > MAX_RESOURCE:
                says = f"the label {label} has a value of {len(value)} characters; shorten it"
                found[node.place, label] = finding("R8-label-too-long", says, ("steps", node.place))
    return list(found.values())


# --- order rules between actors -----------------------------------------------------------------


def rule_findings(
    draft: Draft, nodes: Sequence[Node], inventory: Inventory, order: Order
) -> list[Finding]:
    """Say where an actor that must come before or after another on the same target does not."""
    acting: dict[tuple[str, int], list[int]] = {}
    wanted = {name for node in nodes for way in (True, False) for name in _needs(node, earlier=way)}
    for number, node in enumerate(nodes):
        if node.traits is not None and draft.steps[node.place].actor in wanted:
            for position in node.touches.positions:
                acting.setdefault((draft.steps[node.place].actor, position), []).append(number)
    found: dict[tuple[int, str, bool], Finding] = {}
    for number, node in enumerate(nodes):
        for earlier in (True, False):
            for name in _needs(node, earlier=earlier):
                key = (node.place, name, earlier)
                gap = _gap(draft, nodes, number, name, acting, order, earlier=earlier)
                if gap is not None and key not in found:
                    found[key] = _unmet(draft, nodes, key, gap, inventory)
    return list(found.values())


def _needs(node: Node, *, earlier: bool) -> tuple[str, ...]:
    spec = node.traits.spec if node.traits is not None else None
    if spec is None:
        return ()
    return spec.needs_before if earlier else spec.needs_after


def _gap(
    draft: Draft,
    nodes: Sequence[Node],
    number: int,
    name: str,
    acting: Mapping[tuple[str, int], list[int]],
    order: Order,
    *,
    earlier: bool,
) -> tuple[int, int | None] | None:
    """Find a target that the needed actor does not cover, and a step that nearly does."""
    node, verdicts = nodes[number], dict[int, bool]()
    when = draft.steps[node.place].when
    for position in node.touches.positions:
        candidates = _candidates(acting.get((name, position), []), number, earlier=earlier)
        sure = [c for c in candidates if draft.steps[nodes[c].place].when in (None, when)]
        for one in sure:
            if one not in verdicts:
                first, second = (one, number) if earlier else (number, one)
                verdicts[one] = order.proves(first, second) is True
        if not any(verdicts[one] for one in sure):
            return position, next(iter(sure), None)
    return None


def _candidates(acting: Sequence[int], number: int, *, earlier: bool) -> Sequence[int]:
    """Take the nearest few on the right side, the nearest first."""
    if earlier:
        end = bisect_left(acting, number)
        return acting[max(0, end - CANDIDATES) : end][::-1]
    start = bisect_right(acting, number)
    return acting[start : start + CANDIDATES]


def _unmet(
    draft: Draft,
    nodes: Sequence[Node],
    key: tuple[int, str, bool],
    gap: tuple[int, int | None],
    inventory: Inventory,
) -> Finding:
    place, name, earlier = key
    step, target, other = draft.steps[place], _named(gap[0], inventory), gap[1]
    way = "before" if earlier else "after"
    says = f"{step.id} ({step.actor}) needs {name} on {target} {way} it"
    edit: Edit | None = None
    if other is None:
        says += "; add a step that does so, without a condition of its own"
    else:
        there = nodes[other].place
        says += f"; {draft.steps[there].id} does so, but their order is not settled"
        edit = (
            wait_for(step, place, draft.steps[there].id)
            if earlier
            else wait_for(draft.steps[there], there, step.id)
        )
    return finding(f"R8-needs-{way}", says, ("steps", place), edit=edit)


# --- failure domains ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Chain:
    """Steps of which one block acts at a time; no step of a block touches more than its targets."""

    block: list[int]
    targets: frozenset[int]
    width: int
    previous: list[int] = field(default_factory=list)


def budget_findings(
    draft: Draft, nodes: Sequence[Node], inventory: Inventory, order: Order
) -> list[Finding]:
    """Say where more of one failure domain is disturbed at once than the inventory allows."""
    found: dict[tuple[int, str], Finding] = {}
    for budget in inventory.budgets:
        for value, members in _domains(nodes, inventory, budget.label).items():
            everything = frozenset[int]().union(*(targets for _, targets in members))
            if len(everything) <= budget.maximum:
                continue
            over = _first_over(members, budget.maximum, order)
            if over is not None:
                place = nodes[over[0]].place
                says = _over_budget(draft, nodes, inventory, budget, value, over)
                found.setdefault((place, budget.label), says)
    return list(found.values())


def _domains(
    nodes: Sequence[Node], inventory: Inventory, label: str
) -> dict[str, list[tuple[int, frozenset[int]]]]:
    domains: dict[str, list[tuple[int, frozenset[int]]]] = {}
    for number, node in enumerate(nodes):
        if node.traits is None or node.traits.spec is None or not node.traits.spec.disturbs:
            continue
        parts: dict[str, list[int]] = {}
        for position in node.touches.positions:
            value = inventory.objects[position].labels.get(label)
            if value is not None:
                parts.setdefault(value, []).append(position)
        for value, positions in parts.items():
            domains.setdefault(value, []).append((number, frozenset(positions)))
    return domains


_Over = tuple[int, frozenset[int], list[int]]
"""The step that is too much, its targets in the domain, and the steps it is not ordered with."""


def _first_over(
    members: Iterable[tuple[int, frozenset[int]]], maximum: int, order: Order
) -> _Over | None:
    chains: list[_Chain] = []
    together = 0
    for number, targets in members:
        if len(targets) > maximum:
            return number, targets, []
        before = together
        for spot in range(len(chains) - 1, max(-1, len(chains) - 1 - CHAINS), -1):
            width = chains[spot].width
            if _joins(chains[spot], number, targets, order):
                together += chains[spot].width - width
                chains.append(chains.pop(spot))
                break
        else:
            together += len(targets)
            chains.append(_Chain([number], targets, len(targets)))
        if together > maximum:
            others = (one for chain in chains[:-1] for one in chain.block)
            loose = [one for one in others if order.proves(one, number) is not True]
            if loose:
                return number, targets, loose
            # It follows all that came before, so it is never disturbing together with them.
            together = max(before, len(targets))
            chains = [_Chain([number], targets, together)]
    return None


def _joins(chain: _Chain, number: int, targets: frozenset[int], order: Order) -> bool:
    if all(order.proves(one, number) is True for one in chain.block):
        chain.previous, chain.block = chain.block, [number]
        chain.targets, chain.width = targets, max(chain.width, len(targets))
        return True
    if len(chain.block) == BLOCK or not targets <= chain.targets:
        return False
    if all(order.proves(one, number) is True for one in chain.previous):
        chain.block.append(number)
        return True
    return False


def _over_budget(
    draft: Draft,
    nodes: Sequence[Node],
    inventory: Inventory,
    budget: Budget,
    value: str,
    over: _Over,
) -> Finding:
    number, targets, others = over
    node = nodes[number]
    step, most = draft.steps[node.place], budget.maximum
    allowed = f"at once; the inventory allows {most}"
    if len(targets) > most:
        names = listed(sorted(inventory.objects[position].name for position in targets))
        says = f"{step.id} disturbs {len(targets)} of {budget.label} {value} ({names}) {allowed}"
        return finding(
            "R8-over-budget", says, ("steps", node.place), edit=_smaller(draft, node, most)
        )
    unordered = [nodes[one].place for one in others]
    names = listed(dict.fromkeys(draft.steps[place].id for place in unordered))
    says = (
        f"{step.id} may disturb targets of {budget.label} {value} together with {names}, too many"
    )
    edit = wait_for(step, node.place, draft.steps[unordered[-1]].id)
    return finding("R8-over-budget", f"{says} {allowed}", ("steps", node.place), edit=edit)


def _smaller(draft: Draft, node: Node, most: int) -> Edit | None:
    """Propose smaller slices, where the step belongs to a wave."""
    if node.slot is None:
        return None
    number = next(n for n, wave in enumerate(draft.waves) if wave.id == node.slot[0])
    part = "canary" if node.slot[1] == 1 and draft.waves[number].canary else "size"
    return replace(("waves", number, part), most, f"disturb {most} at a time")
