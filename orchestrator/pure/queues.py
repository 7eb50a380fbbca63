"""Who is next: a queue and a heap whose old versions stay true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Heap", "Queue", "popped", "pushed", "queue_of"]


class Queue(NamedTuple):
    """First in, first out; taking out of turn leaves a stale entry, which readers skip.

    Those in front stand in one tuple, which many versions of the queue share; those who came later
    hang in a list, the last one first, until the front is used up.
    """

    first: int | None = None
    """The first one, if there is one: `front[at]`, kept apart because every event asks for it."""
    front: tuple[int, ...] = ()
    at: int = 0
    """Where in `front` the first one stands; `front` is used up only when nobody is left."""
    later: tuple[Any, int] | None = None

    def push(self, item: int) -> Queue:
        """Add at the end."""
        if self.first is None:
            return Queue(item, (item,))
        return Queue(self.first, self.front, self.at, (self.later, item))

    def extend(self, items: Sequence[int]) -> Queue:
        """Add several at the end."""
        if self.first is None:
            return queue_of(tuple(items))
        later = self.later
        for item in items:
            later = (later, item)
        return Queue(self.first, self.front, self.at, later)

    def pop(self) -> Queue:
        """Drop the first."""
        front, at = self.front, self.at + 1
        return (
            Queue(front[at], front, at, self.later) if at < len(front) else queue_of(self._late())
        )

    def past(self, item: int) -> Queue:
        """Drop the first if it is this one."""
        return self.pop() if self.first == item else self

    def each(self) -> Iterator[int]:
        """Go from first to last."""
        for place in range(self.at, len(self.front)):
            yield self.front[place]
        yield from self._late()

    def _late(self) -> tuple[int, ...]:
        items: list[int] = []
        later = self.later
        while later is not None:
            later, item = later
            items.append(item)
        return tuple(reversed(items))


def queue_of(items: tuple[int, ...]) -> Queue:
    """Begin a queue."""
    return Queue(items[0], items) if items else Queue()


class Heap(NamedTuple):
    """A leftist heap of (rank, step): the smallest is on top."""

    rank: int
    key: tuple[int, int]
    left: Heap | None
    right: Heap | None


def pushed(heap: Heap | None, order: int, step: int) -> Heap:
    """Add to a heap."""
    added = Heap(1, (order, step), None, None)
    return merged(heap, added) or added


def popped(heap: Heap) -> Heap | None:
    """Drop the top of a heap."""
    return merged(heap.left, heap.right)


def merged(one: Heap | None, other: Heap | None) -> Heap | None:
    """Merge two heaps; its depth grows with the logarithm of their size."""
    if one is None or other is None:
        return one or other
    if other.key < one.key:
        one, other = other, one
    left, right = one.left, merged(one.right, other)
    if (left.rank if left else 0) < (right.rank if right else 0):
        left, right = right, left
    return Heap((right.rank if right else 0) + 1, one.key, left, right)
