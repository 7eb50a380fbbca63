"""Rung 7, first half: selectors bind to concrete inventory objects, or a finding says why not.

1. A selector is a name, `@group` or `label:value`; with `!` in front it takes away.
2. A name binds exactly or not at all. What could mean several things is listed, never guessed.
3. Only objects of the ticket's environment, of the right kind, and within the ticket's own targets.
4. The result is sorted and holds each name once; a wave keeps the inventory's order instead.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.pure.findings import Names, finding, listed, remove, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.pure.draft import Finding
    from orchestrator.pure.findings import Path
    from orchestrator.pure.model import Inventory, InventoryObject, Ticket

__all__ = ["Binder", "Bound", "Shelf"]

LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class Bound:
    """What a list of selectors means: positions in the inventory, in its order."""

    positions: tuple[int, ...]
    names: tuple[str, ...]
    """The same objects in alphabetical order."""
    findings: tuple[Finding, ...] = ()


class Shelf:
    """The objects of one kind (or of every kind) in one environment, findable by each selector."""

    def __init__(self, objects: Sequence[InventoryObject], positions: Iterable[int]) -> None:
        self.names: dict[str, list[int]] = {}
        self.selectors: dict[str, list[int]] = {}
        for position in positions:
            item = objects[position]
            self.names.setdefault(item.name, []).append(position)
            for group in item.groups:
                self.selectors.setdefault(f"@{group}", []).append(position)
            for label, value in item.labels.items():
                self.selectors.setdefault(f"{label}:{value}", []).append(position)
        self.known_names = Names(self.names)
        self.known_selectors = Names(self.selectors)


class Binder:
    """Binds selectors for one ticket, remembering what it has already bound."""

    def __init__(self, inventory: Inventory, ticket: Ticket) -> None:
        self._objects = inventory.objects
        self._environment = ticket.environment
        self._here = [p for p, o in enumerate(self._objects) if o.environment == ticket.environment]
        self._elsewhere = {o.name for o in self._objects if o.environment != ticket.environment}
        self._shelves: dict[str, Shelf] = {}
        self._bound: dict[tuple[str, tuple[str, ...]], Bound] = {}
        self._fence: set[int] | None = None
        self.ticket_findings: tuple[Finding, ...] = ()
        if ticket.targets:
            self._set_fence(ticket.targets)

    def bind(self, kind: str, selectors: tuple[str, ...], path: Path) -> Bound:
        """Say what the selectors mean; findings are placed under this path."""
        known = self._bound.get((kind, selectors))
        if known is None:
            known = self._bound[kind, selectors] = self._bind(self._shelf(kind), kind, selectors)
        if not known.findings:
            return known
        return dataclasses.replace(known, findings=tuple(_placed(f, path) for f in known.findings))

    def _set_fence(self, selectors: tuple[str, ...]) -> None:
        bound = self._bind(self._shelf(""), "", selectors)
        self._fence = set(bound.positions)
        self.ticket_findings = tuple(
            finding("R7-ticket-targets", f"in the ticket's own targets: {found.message}")
            for found in bound.findings
        )

    def _shelf(self, kind: str) -> Shelf:
        if kind not in self._shelves:
            chosen = (p for p in self._here if kind in ("", self._objects[p].object))
            self._shelves[kind] = Shelf(self._objects, chosen)
        return self._shelves[kind]

    def _bind(self, shelf: Shelf, kind: str, selectors: tuple[str, ...]) -> Bound:
        findings: list[Finding] = []
        chosen: dict[int, int] = {}
        taken_away: set[int] = set()
        for spot, selector in enumerate(selectors):
            hits = self._hits(shelf, kind, selector, spot)
            if not isinstance(hits, list):
                findings.append(hits)
            elif selector.startswith("!"):
                taken_away.update(hits)
            else:
                for position in hits:
                    chosen.setdefault(position, spot)
        if not findings:
            findings += _empty_exclusions(shelf, selectors, chosen)
        left = tuple(sorted(position for position in chosen if position not in taken_away))
        findings += self._outside(left, chosen, selectors)
        names = tuple(sorted(self._objects[position].name for position in left))
        if kind and len(set(names)) < len(names):
            twice = sorted({name for name in names if len(shelf.names[name]) > 1})
            says = f"{listed(twice)} stand more than once in the inventory; mend the inventory"
            findings.append(finding("R7-ambiguous-target", says))
        return Bound(left, names, tuple(findings))

    def _hits(self, shelf: Shelf, kind: str, selector: str, spot: int) -> list[int] | Finding:
        word = selector.removeprefix("!")
        if word.startswith("@") or ":" in word:
            hits = shelf.selectors.get(word)
            return hits or self._unknown(selector, shelf.known_selectors.nearest(word), spot)
        hits = shelf.names.get(word)
        return hits or self._unknown_name(shelf, kind, selector, spot)

    def _unknown_name(self, shelf: Shelf, kind: str, selector: str, spot: int) -> Finding:
        word = selector.removeprefix("!")
        if self._shelf("").names.get(word):
            says = f"{word} is not a {kind}, which is what this step touches"
            return finding("R7-wrong-object", says, (spot,))
        if word in self._elsewhere:
            says = f"{word} is not in {self._environment}, the ticket's environment"
            return finding("R7-wrong-environment", says, (spot,))
        candidates = shelf.known_names.starting_with(word, LISTED + 1) if word else ()
        if len(candidates) > 1:
            says = f"{word} could mean {listed(candidates, LISTED)}; name one of them in full"
            return finding("R7-ambiguous-target", says, (spot,))
        return self._unknown(selector, candidates or shelf.known_names.nearest(word), spot)

    def _unknown(self, selector: str, near: tuple[str, ...], spot: int) -> Finding:
        hint = f"the nearest are {', '.join(near)}" if near else "nothing there is called alike"
        says = f"{selector} binds to nothing in {self._environment}; {hint}"
        mark = "!" if selector.startswith("!") else ""
        edit = replace((spot,), f"{mark}{near[0]}", f"name {near[0]}") if near else None
        return finding("R7-unknown-target", says, (spot,), edit=edit)

    def _outside(
        self, left: tuple[int, ...], chosen: Mapping[int, int], selectors: tuple[str, ...]
    ) -> list[Finding]:
        if self._fence is None:
            return []
        beyond: dict[int, list[str]] = {}
        within = {chosen[position] for position in left if position in self._fence}
        for position in left:
            if position not in self._fence:
                beyond.setdefault(chosen[position], []).append(self._objects[position].name)
        findings = []
        for spot, names in beyond.items():
            says = f"{selectors[spot]} means {listed(names)}, outside the ticket's targets"
            edit = None
            if within and spot not in within:
                edit = remove((spot,), f"leave {selectors[spot]} out")
            findings.append(finding("R7-outside-ticket", says, (spot,), edit=edit))
        return findings


def _empty_exclusions(
    shelf: Shelf, selectors: tuple[str, ...], chosen: Mapping[int, int]
) -> list[Finding]:
    findings = []
    for spot, selector in enumerate(selectors):
        word = selector.removeprefix("!")
        hits = shelf.names.get(word) or shelf.selectors.get(word, [])
        if selector.startswith("!") and not any(position in chosen for position in hits):
            says = f"{selector} excludes nothing that the other selectors choose"
            edit = remove((spot,), f"leave {selector} out")
            findings.append(finding("R7-empty-exclusion", says, (spot,), edit=edit))
    return findings


def _placed(found: Finding, path: Path) -> Finding:
    """Put a finding about a list of selectors where that list stands."""
    edit = found.edit
    if edit is not None:
        edit = edit.model_copy(update={"path": (*path, *edit.path)})
    return found.model_copy(update={"path": (*path, *found.path), "edit": edit})
