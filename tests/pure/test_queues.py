"""Who came first is first, and an old version of a queue stays true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.pure.queues import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

MOVES = st.lists(st.none() | st.lists(st.integers(0, 9), max_size=4), max_size=40)


@given(MOVES)
def test_who_came_first_is_first_and_old_ones_stay_true(
    moves: Sequence[list[int] | None],
) -> None:
    queue, held = Queue(), list[int]()
    versions = [(queue, tuple(held))]
    for come in moves:
        if come is None:
            queue, held = (queue.pop(), held[1:]) if held else (queue, held)
        elif len(come) == 1:
            queue, held = queue.push(come[0]), held + come
        else:
            queue, held = queue.extend(come), held + come
        versions.append((queue, tuple(held)))
    for version, expected in versions:
        assert tuple(version.each()) == expected
        assert version.past(-1) == version
        if expected:
            assert tuple(version.past(expected[0]).each()) == expected[1:]
        assert version.first == (expected[0] if expected else None)
