"""The verbs of the record: verify, replay, export."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator import audit, show
from orchestrator.errors import Corrupted, InvalidInput
from orchestrator.session import Session, folded

if TYPE_CHECKING:
    from orchestrator.audit import Anchor, Report
    from orchestrator.ledger import Ledger
    from orchestrator.view import View

__all__ = ["export", "replay", "verify"]

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*(\.[0-9]+)?")
"""What can name a run, or the ticket whose newest run is meant; anything else is a path."""
SHOWN: Final = 200
IN_MEMORY_BYTES: Final = 32 << 20
"""So much of an export is kept in memory; the rest goes where the system keeps what is private."""


def verify(view: View, workspace: Path | None, what: str, anchors: list[str]) -> int:
    """Check an exported file, or a run in the ledger by way of its export."""
    known = [_anchor(text) for text in anchors]
    if Path(what).is_file():
        return _told(view, what, audit.verify(what, known))
    _refuse_no_name(what)
    with (
        Session.open(workspace) as session,
        tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as scratch,
    ):
        run = folded(session.ledger, session.ledger.row(what).run)
        audit.export(session.ledger, run.id, scratch)
        scratch.seek(0)
        return _told(view, run.id, audit.verify_open(scratch, known))


def replay(view: View, workspace: Path | None, name: str) -> int:
    """Fold a run again and show its events."""
    with Session.open(workspace) as session:
        run = folded(session.ledger, session.ledger.row(name).run)
        recorded = list(session.ledger.read(run.id))
    view.say(
        lambda: (
            show.events_text(recorded, width=view.width, color=view.color)
            + f"\n{len(recorded)} events fold to: {run.phase}"
        ),
        lambda: {
            "format": 1,
            "run": run.id,
            "phase": run.phase,
            "events": [
                {"seq": r.seq, "epoch": r.epoch, "hash": r.hash, **r.event.model_dump(mode="json")}
                for r in recorded
            ],
        },
    )
    return 0


def export(view: View, workspace: Path | None, name: str, file: Path) -> int:
    """Write a run's record to a new file."""
    with Session.open(workspace) as session:
        run = session.ledger.row(name).run
        try:
            count = _written(session.ledger, run, file)
        except FileExistsError:
            raise InvalidInput(
                f"{file}: is there already; nothing was written", next_step="name another file"
            ) from None
        except OSError as error:
            raise InvalidInput(
                f"{file}: cannot be written: {error.strerror}", next_step="name another place"
            ) from None
    view.say(
        lambda: f"{file}: {count} events of {run}; verify with: interlock audit verify {file}",
        lambda: {"format": 1, "run": run, "file": str(file), "events": count},
    )
    return 0


def _written(ledger: Ledger, run: str, file: Path) -> int:
    # Whoever finds the file may take it for the record: half of one is never left.
    with file.open("xb") as out:
        try:
            return audit.export(ledger, run, out)
        except BaseException:
            file.unlink(missing_ok=True)
            raise


def _refuse_no_name(what: str) -> None:
    if NAME.fullmatch(what) is None:
        raise InvalidInput(
            f"there is no such file or run: {what[:SHOWN]!r}",
            next_step="name an exported file, or a run as `interlock list` shows it",
        )


def _anchor(text: str) -> Anchor:
    anchor = audit.read_anchor(text)
    if anchor is None:
        raise InvalidInput(
            f"'{text}' is not an anchor",
            next_step="write it as HASH@SEQ, as `interlock audit verify RUN` shows it",
        )
    return anchor


def _told(view: View, what: str, report: Report) -> int:
    if not report.ok:
        place = f" (line {report.position})" if report.position else ""
        raise Corrupted(
            f"{what} does not verify: {report.problem}{place}",
            next_step="do not act on it; keep it as it is, and compare it with an older export",
        )
    view.say(
        lambda: (
            f"{what}: {report.events} events verify, head {report.head}@{report.events}\n"
            f"  {audit.SAYS}"
        ),
        lambda: {
            "format": 1,
            "ok": True,
            "run": report.run,
            "events": report.events,
            "head": report.head,
            "anchored": report.anchored,
        },
    )
    return 0
