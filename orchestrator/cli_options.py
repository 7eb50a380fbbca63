"""The words that several verbs share on the command line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestrator.errors import InterlockError
from orchestrator.view import View

__all__ = [
    "As",
    "AsJson",
    "Reason",
    "RunName",
    "Wait",
    "Where",
    "actors_named",
    "remedies_named",
    "runs_named",
    "runs_or_files",
    "view",
]

WORKSPACE: Final = "INTERLOCK_WORKSPACE"


def runs_named(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of runs."""
    from orchestrator.light import rows

    with contextlib.suppress(InterlockError, OSError):
        return [row.run for row in rows(_where(ctx)) if row.run.startswith(incomplete)]
    return []


def runs_or_files(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of runs, and of files where one begins so."""
    place = Path(incomplete)
    folder = place if incomplete.endswith("/") else place.parent
    found: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(str(path) + "/" * path.is_dir() for path in folder.iterdir())
        found = [name for name in names if name.startswith(incomplete)]
    return runs_named(ctx, incomplete) + found


def remedies_named(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete what may be chosen against the incidents of the run that was typed."""
    from orchestrator.pure.run import offered
    from orchestrator.session import Session

    with contextlib.suppress(InterlockError, OSError), Session.open(_where(ctx)) as session:
        choices = offered(session.load(str(ctx.params.get("run") or "")))
        return [one.name for one in choices if one.name.startswith(incomplete)]
    return []


def actors_named(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of actors, by their folders alone."""
    from orchestrator.workspace import find_workspace, open_workspace

    with contextlib.suppress(InterlockError, OSError):
        folder = open_workspace(find_workspace(Path.cwd(), _where(ctx))).playbooks
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
        return [name for name in names if name.startswith(incomplete)]
    return []


def _where(ctx: typer.Context) -> Path | None:
    # What was typed so far, or stands in the environment; not yet turned into a path, maybe.
    named = ctx.params.get("workspace") or os.environ.get(WORKSPACE)
    return Path(named) if named else None


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", autocompletion=runs_named, help="A run, or a ticket for its newest run."
    ),
]
Where = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", envvar=WORKSPACE, help="The workspace's folder."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
As = Annotated[str | None, typer.Option("--as", help="Your name, if not your login name.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for the record.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the window opens or a hold ends.")]


def view(as_json: bool) -> View:
    """Say how to answer: in text or as JSON."""
    return View.here(as_json=as_json)
