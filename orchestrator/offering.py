"""What policy offers: the actors that a draft for one place and one person may pick from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from actors.fitting import nearest
from orchestrator.errors import InvalidInput
from orchestrator.local import around, read_content
from orchestrator.policy import withheld
from orchestrator.pure.model import Ticket
from orchestrator.session import clock_ms, login_name
from orchestrator.show_text import clean
from orchestrator.workspace import open_workspace
from orchestrator.workspace_files import find_workspace

if TYPE_CHECKING:
    from orchestrator.view import View

__all__ = ["actors_for"]


def actors_for(
    view: View, where: Path | None, environment: str | None, requester: str | None
) -> int:
    """List what is offered to a person for a change, and what is withheld, with the reason."""
    workspace = open_workspace(find_workspace(Path.cwd(), where))
    settings = workspace.settings
    if environment is None or environment not in settings.environments:
        raise InvalidInput(
            f"{environment or 'nothing'} is not an environment of this workspace; "
            f"{nearest(environment or '', settings.environments)}",
            next_step="name one with --for, as interlock.yaml has it",
        )
    content, who = read_content(workspace), requester or login_name()
    ticket = Ticket(
        id="NONE", title="-", request="-", environment=environment, requester=who, risk="low"
    )
    hidden = withheld(ticket, who, clock_ms(), settings, around(workspace, content, os.environ))
    specs = [pinned.spec for _, pinned in sorted(content.catalog.actors.items())]
    offered = [spec for spec in specs if spec.name not in hidden]
    width = max((len(spec.name) for spec in specs), default=0)
    view.say(
        lambda: (
            "\n".join(
                (
                    *(f"{s.name:<{width}}  {s.effect:<7}  {clean(s.summary)}" for s in offered),
                    *(f"{n:<{width}}  withheld: {clean(why)}" for n, why in sorted(hidden.items())),
                )
            )
            or "no actors: write one into playbooks/"
        ),
        lambda: {
            "format": 1,
            "for": environment,
            "requester": who,
            "actors": [spec.model_dump(mode="json") for spec in offered],
            "withheld": hidden,
        },
    )
    return 0
