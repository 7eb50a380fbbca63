"""The intentions: each goes to one party of the world and comes back as one event.

| command   | party         | answer                                                    |
|-----------|---------------|-----------------------------------------------------------|
| Propose   | planner       | Planned, DraftRejected, Declined or Asked                 |
| Vet       | policy        | Vetted                                                    |
| Act       | actors        | ActStarted (recorded first), then ActFinished             |
| Diagnose  | RecoveryAgent | RemedyChosen                                              |
| Note      | nobody        | the event it holds: something that time alone made true   |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from actors.spec import Verb
    from orchestrator.pure.events import HoldPassed, WindowClosed
    from orchestrator.pure.model import Remedy, StepId

__all__ = ["Act", "Command", "Diagnose", "Note", "Propose", "Vet"]


class Propose(NamedTuple):
    """Ask the planner for a draft, and compile it."""


class Vet(NamedTuple):
    """Ask policy about the whole plan."""

    mode: str


class Act(NamedTuple):
    """Ask the actors for one verb of one step."""

    step: StepId
    verb: Verb
    attempt: int
    orphan: bool = False
    """It was claimed by an earlier driver: find out what became of it, never begin it."""


class Diagnose(NamedTuple):
    """Ask the RecoveryAgent to pick one of the offered remedies."""

    offered: tuple[Remedy, ...]


class Note(NamedTuple):
    """Record what time alone has made true."""

    event: HoldPassed | WindowClosed


Command = Propose | Vet | Act | Diagnose | Note
