"""What the flow cannot speak about, with its exit codes; outcomes and findings are data.

    InterlockError
    ├── InvalidInput   2  a person can mend it: ticket, draft, manifest, workspace, unknown run
    ├── Unavailable    7  an outside party did not answer; nothing was assumed; try again
    ├── Conflict       7  somebody else drives this run, holds its targets, or moved it
    ├── Corrupted      8  a hash chain, a digest or the list of runs does not match; never continue
    └── IllegalEvent   1  the ledger and the code disagree: a bug or a forgery

Two questions choose the class: whose fault is it, and may a retry help.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["Conflict", "Corrupted", "IllegalEvent", "InterlockError", "InvalidInput", "Unavailable"]


class InterlockError(Exception):
    """Say what happened, to what, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, next_step: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.details = details


class InvalidInput(InterlockError):
    """The person can mend it."""

    exit_code = 2


class Unavailable(InterlockError):
    """Nothing was assumed; a retry may help."""

    exit_code = 7


class Conflict(InterlockError):
    """Somebody else holds it, or moved it meanwhile."""

    exit_code = 7


class Corrupted(InterlockError):
    """Never continue."""

    exit_code = 8


class IllegalEvent(InterlockError):
    """The ledger and the code disagree."""

    exit_code = 1
