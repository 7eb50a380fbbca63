"""How much of a run stands: what was done, and was not taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.pure.state import ENDS

if TYPE_CHECKING:
    from orchestrator.pure.state import Run

__all__ = ["done_steps", "goes_back", "undone_steps"]


def goes_back(run: Run) -> bool:
    """Say whether the run as a whole, and not a slice of it, goes or went back."""
    back = run.work.undoing if run.work is not None else None
    return back is not None and back.slot is None


def done_steps(run: Run) -> int:
    """Count the steps that are done and stand; never one that was or may have been undone."""
    if run.work is None:
        return 0
    if not goes_back(run):
        return len(run.shaped.steps) - run.work.left
    if run.phase not in ENDS:
        return run.undoing.left  # at each record of a way back, so not by looking at all steps
    return sum(run.step(index).outputs is not None for index in run.touched)


def undone_steps(run: Run) -> int:
    """Count what a run that went back has undone; while it goes, nobody counts."""
    if run.work is None or not goes_back(run) or run.phase not in ENDS:
        return 0
    return sum(step.phase == "undone" for step in run.work.steps.values())
