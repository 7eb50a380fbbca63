"""The seam: a command goes to the right party and comes back as one event.

Acts have a seam of their own (`supervise.Acts`), because they take long and many are under way at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.pure.commands import Diagnose, Propose, Vet
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Run
    from orchestrator.supervise import Acts

__all__ = ["Outside"]


class Outside(Protocol):
    """Everything outside the machine: the planner, policy, the agent, and the actors."""

    @property
    def acts(self) -> Acts:
        """Return where acts are done."""

    def check(self, run: Run) -> None:
        """Refuse a workspace that cannot be read or is not what was planned, before any record."""

    def ask(self, command: Propose | Vet | Diagnose, run: Run, now_ms: int) -> Event:
        """Ask one party; its silence is `Unavailable`, never an answer."""
