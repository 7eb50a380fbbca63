"""After how long an act is stopped: one rule, for who stops it and for who shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.spec import Timeouts, Verb

__all__ = ["limit_s"]


def limit_s(times: Timeouts, verb: Verb) -> int:
    """Say after how long an act is stopped: an apply and an undo verify themselves too."""
    match verb:
        case "apply":
            return times.apply_s + times.verify_s
        case "undo":
            return times.undo_s + times.verify_s
        case "verify":
            return times.verify_s
        case _:
            return times.check_s
