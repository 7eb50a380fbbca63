"""Fill a ledger with runs that have only been opened: `fill_ledger.py WORKSPACE RUNS`."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.ledger import Ledger, Projection
from orchestrator.pure.canonical import digest
from orchestrator.pure.events import Opened
from orchestrator.pure.model import Ticket

EPOCH_MS = 1_767_225_600_000  # 2026-01-01


def main() -> int:
    """Open the runs, one ticket each."""
    workspace, runs = Path(sys.argv[1]), int(sys.argv[2])
    place = workspace / ".interlock"
    place.mkdir(parents=True, exist_ok=True)
    with Ledger.open(place / "ledger.db", create=True) as ledger:
        for number in range(runs):
            ledger.open_run(
                _opened(number), Projection("waiting", "for an approval", {"steps": 3, "done": 0})
            )
    return 0


def _opened(number: int) -> Opened:
    ticket = Ticket.model_validate(
        {
            "id": f"BENCH-{number + 1}",
            "title": "Restart the web servers one by one",
            "request": "Please restart nginx on all web servers.",
            "environment": "staging",
            "requester": "ada",
        }
    )
    return Opened(
        at_ms=EPOCH_MS + number,
        ticket=ticket,
        ticket_digest=digest(ticket.model_dump(mode="json", by_alias=True)),
        by="ada",
    )


if __name__ == "__main__":
    sys.exit(main())
