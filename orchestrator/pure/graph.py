"""Who comes before whom: orders, cycles, and proofs of order that never look at all pairs.

1. Steps are numbers; `before[n]` holds those that must be done before n.
2. `Order` wants a topological numbering: everything before n is smaller than n, and sorted.
3. A proof is tried from the cheapest: slices of one wave, spanning tree, levels, then a bounded
   search backwards. What the bound leaves open counts as unproven, never as ordered.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    Before = Sequence[Sequence[int]]

__all__ = ["Order", "a_cycle", "dependants", "levels", "reaches_back", "topological"]

SEARCH_VISITS: Final = 5_000
VISITS_PER_STEP: Final = 30
VISITS_FREE: Final = 200_000


def dependants(before: Before) -> list[list[int]]:
    """Turn the arrows round: list for each step who waits for it."""
    after: list[list[int]] = [[] for _ in before]
    for place, earlier in enumerate(before):
        for one in earlier:
            after[one].append(place)
    return after


def topological(before: Before) -> list[int]:
    """Order the steps, the smallest ready one first; what hangs on a cycle is left out."""
    after = dependants(before)
    waiting = [len(earlier) for earlier in before]
    ready = [place for place, count in enumerate(waiting) if count == 0]
    heapify(ready)
    order: list[int] = []
    while ready:
        place = heappop(ready)
        order.append(place)
        for later in after[place]:
            waiting[later] -= 1
            if waiting[later] == 0:
                heappush(ready, later)
    return order


def a_cycle(before: Before, order: Sequence[int]) -> list[int]:
    """Name one cycle among the steps that an order left out; each waits for the next."""
    sound = set(order)
    place = next(place for place in range(len(before)) if place not in sound)
    trail: dict[int, int] = {}
    while place not in trail:
        trail[place] = len(trail)
        place = next(one for one in before[place] if one not in sound)
    return list(trail)[trail[place] :]


def levels(before: Before, order: Sequence[int]) -> list[int]:
    """Count, for each step, the longest chain of steps that ends with it."""
    level = [1] * len(before)
    for place in order:
        for one in before[place]:
            if level[one] >= level[place]:
                level[place] = level[one] + 1
    return level


def reaches_back(before: Before, later: int, earlier: int, most: int) -> tuple[bool, int]:
    """Search backwards, cycles or not; say whether it was found, and how many were visited."""
    seen, stack = {later}, [later]
    while stack and len(seen) <= most:
        for one in before[stack.pop()]:
            if one == earlier:
                return True, len(seen)
            if one not in seen:
                seen.add(one)
                stack.append(one)
    return False, len(seen)


class Order:
    """Proves that one step is always done before another begins."""

    def __init__(self, before: Before, slots: Sequence[tuple[str, int] | None]) -> None:
        self._before = before
        self._slots = slots
        self._level = levels(before, range(len(before)))
        self._first, self._size = _spanning_tree(before)
        self._left = VISITS_FREE + VISITS_PER_STEP * len(before)

    def proves(self, earlier: int, later: int) -> bool | None:
        """Say yes, no, or nothing when the search grew too long."""
        if earlier >= later:
            return False
        if self._sliced_before(earlier, later) or self._descends(earlier, later):
            return True
        if self._level[earlier] >= self._level[later]:
            return False
        return self._search(earlier, later)

    def _sliced_before(self, earlier: int, later: int) -> bool:
        first, second = self._slots[earlier], self._slots[later]
        return (
            first is not None
            and second is not None
            and first[0] == second[0]
            and first[1] < second[1]
        )

    def _descends(self, earlier: int, later: int) -> bool:
        start = self._first[earlier]
        return start <= self._first[later] < start + self._size[earlier]

    def _search(self, earlier: int, later: int) -> bool | None:
        level = self._level[earlier]
        seen, stack = {later}, [later]
        bound = max(0, min(SEARCH_VISITS, self._left))
        visits = 0
        while stack:
            near = self._before[stack.pop()]
            start = bisect_left(near, earlier)
            visits += 1 + len(near) - start
            if visits > bound:
                self._left -= bound
                return None
            for one in near[start:]:
                if one == earlier or self._descends(earlier, one):
                    self._left -= visits
                    return True
                if one not in seen and self._level[one] > level:
                    seen.add(one)
                    stack.append(one)
        self._left -= visits
        return False


def _spanning_tree(before: Before) -> tuple[list[int], list[int]]:
    """Hang each step under the last of those before it; a subtree is then a range of numbers."""
    count = len(before)
    size = [1] * count
    for place in range(count - 1, -1, -1):
        if before[place]:
            size[before[place][-1]] += size[place]
    first, cursor, root = [0] * count, [0] * count, 0
    for place in range(count):
        if before[place]:
            parent = before[place][-1]
            first[place] = cursor[parent]
            cursor[parent] += size[place]
        else:
            first[place] = root
            root += size[place]
        cursor[place] = first[place] + 1
    return first, size
