"""What it comes to that policy denied a start, or a way back after success.

1. Nothing acted and nothing ended: the run stands where it stood before it was asked to move.
2. Whoever is denied is told why, and what would help; that other runs hold the targets passes by
   itself, and is told apart by its exit code, whichever engine says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.errors import Conflict

if TYPE_CHECKING:
    from orchestrator.pure.state import Run

__all__ = ["after_denial", "denial_code", "is_denied"]

DENIED: Final = 3
HELD: Final = ("conflicts", "held")
"""The rule and its finding that speak of the locks of other runs."""


def is_denied(run: Run) -> bool:
    """Say whether policy's last word on this run was a no that left it where it stood."""
    no = run.decision is not None and run.decision.outcome == "deny"
    return no and run.phase in ("approved", "succeeded")


def denial_code(run: Run) -> int:
    """Turn a denial into an exit code: a no is a no, and locks that are held are busy."""
    return Conflict.exit_code if _waits_for_others(run) else DENIED


def after_denial(run: Run) -> str:
    """Say what helps against the denial, by its first reason."""
    verb = "run" if run.phase == "approved" else "rollback"
    if _waits_for_others(run):
        return f"wait until that run has ended (interlock status), then: interlock {verb} {run.id}"
    first = run.decision.denials[0] if run.decision and run.decision.denials else None
    helps = (first and first.edit) or "mend what policy denied"
    ask = f"all reasons: interlock show {run.id}; to ask again: interlock {verb} {run.id}"
    return f"{helps.rstrip('.')} ({ask})"


def _waits_for_others(run: Run) -> bool:
    denials = run.decision.denials if run.decision else ()
    return bool(denials) and all((one.rule, one.finding) == HELD for one in denials)
