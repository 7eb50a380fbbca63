"""The verbs that must answer at once: they read the ledger's projection and nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.ledger import Ledger
from orchestrator.show_rows import row_text, rows_json, rows_text
from orchestrator.workspace_files import LEDGER, find_workspace

if TYPE_CHECKING:
    from orchestrator.ledger_values import Row
    from orchestrator.view import View

__all__ = ["list_runs", "rows", "status"]


def status(view: View, workspace: Path | None, run: str | None) -> None:
    """Show the runs that have not ended, or one run."""
    now_ms = time.time_ns() // 1_000_000
    if run is None:
        found = rows(workspace, live_only=True)
        ended = not found and bool(rows(workspace, limit=1))
        view.say(
            lambda: rows_text(found, now_ms, width=view.width, color=view.color, ended=ended),
            lambda: {"format": 1, "runs": rows_json(found)},
        )
        return
    with Ledger.open(_ledger(workspace)) as ledger:
        row = ledger.row(run)
        holder = ledger.holder(row.run)
    view.say(
        lambda: row_text(row, now_ms, holder, width=view.width, color=view.color),
        lambda: {"format": 1, **rows_json([row])[0], "driver": holder},
    )


def list_runs(view: View, workspace: Path | None, number: int) -> None:
    """Show the newest runs."""
    now_ms, found = time.time_ns() // 1_000_000, rows(workspace, limit=number)
    view.say(
        lambda: rows_text(found, now_ms, width=view.width, color=view.color),
        lambda: {"format": 1, "runs": rows_json(found)},
    )


def rows(workspace: Path | None, *, live_only: bool = False, limit: int | None = None) -> list[Row]:
    """Read the projections of runs; a workspace that never planned anything has none."""
    path = _ledger(workspace)
    if not path.exists():
        return []
    with Ledger.open(path) as ledger:
        return ledger.rows(live_only=live_only, limit=limit)


def _ledger(workspace: Path | None) -> Path:
    return find_workspace(Path.cwd(), workspace) / LEDGER
