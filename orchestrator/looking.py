"""The verbs that look at one run or two: show, diff, watch."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

from orchestrator import show as shown
from orchestrator.driving import follow, refuse_unplanned, show_end
from orchestrator.progress_lines import Under
from orchestrator.pure.run import ENDS, evolve
from orchestrator.session import Session, clock_ms, folded, signals

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.view import View

__all__ = ["diff", "show", "watch"]

POLL_S: Final = 0.2


def show(view: View, workspace: Path | None, name: str, *, graph: bool) -> int:
    """Show a run, or its plan as a graph."""
    with Session.open(workspace) as session:
        run = session.load(name)
        driven = session.ledger.holder(run.id) is not None
        history = [] if view.as_json else list(session.ledger.read(run.id))
    if graph:
        refuse_unplanned(run)
        view.say(
            lambda: shown.graph_text(run.planned, width=view.width, color=view.color),
            lambda: shown.run_document(run, driven=driven),
        )
    else:
        view.say(
            lambda: shown.run_text(
                run, width=view.width, color=view.color, history=history, driven=driven
            ),
            lambda: shown.run_document(run, driven=driven),
        )
    return 0


def diff(view: View, workspace: Path | None, one: str, other: str) -> int:
    """Compare the plans of two runs."""
    with Session.open(workspace) as session:
        runs = session.load(one), session.load(other)
    for compared in runs:
        refuse_unplanned(compared)
    a, b = runs[0].planned, runs[1].planned
    view.say(lambda: shown.diff_text(a, b, color=view.color), lambda: shown.diff_document(a, b))
    return 0


def watch(view: View, workspace: Path | None, name: str) -> int:
    """Follow a run by its ledger, until nobody drives it."""
    with Session.open(workspace) as session, signals() as (stop, wake_fd):
        under = Under(clock_ms())
        run = folded(session.ledger, session.ledger.row(name).run, under.recall)
        with follow(view, run, session.workspace, under) as progress:
            while not stop.count:
                fresh = [r.event for r in session.ledger.read(run.id, after=run.events)]
                for event in fresh:
                    run = evolve(run, event)
                progress.update(run, fresh)
                if run.phase in ENDS or (not fresh and session.ledger.holder(run.id) is None):
                    break
                select.select([wake_fd], [], [], POLL_S)
        return show_end(view, run, driven=session.ledger.holder(run.id) is not None)
