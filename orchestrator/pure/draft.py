"""What a planner proposes, and why it may not compile: untrusted until it has compiled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from actors.spec import ActorName, Name, SecretRef, Value
from orchestrator.pure.model import Condition, DraftId, Line, Model, Selector

__all__ = [
    "Draft",
    "DraftStep",
    "DraftWave",
    "Edit",
    "Finding",
    "OutputRef",
    "Question",
    "Refusal",
]


class OutputRef(Model):
    """A whole value that an earlier step will put out; never inside a string, never a target."""

    output: Annotated[
        str, StringConstraints(pattern=r"^[a-z][a-z0-9_\-]{0,62}\.[a-z][a-z0-9_]{0,62}$")
    ]


class DraftStep(Model):
    """One actor that a planner picked, with the params it filled in."""

    id: DraftId
    actor: ActorName
    params: dict[Name, Value | OutputRef | SecretRef] = Field(default_factory=dict)
    after: tuple[DraftId, ...] = ()
    when: Condition | None = None
    wave: DraftId | None = None
    accept_no_undo: bool = False
    why: Annotated[str, StringConstraints(max_length=500)] = ""


class DraftWave(Model):
    """A rolling block: its steps run slice by slice over the targets."""

    id: DraftId
    targets: tuple[Selector, ...]
    size: Annotated[int, Field(ge=1, le=10_000)]
    canary: Annotated[int, Field(ge=0, le=10_000)] = 0
    stop_after: Annotated[int, Field(ge=1, le=10_000)] = 1
    """The run goes back when this many slices have failed; fewer are undone alone."""


class Draft(Model):
    """What a planner proposes; untrusted."""

    decision: Literal["plan"] = "plan"
    steps: tuple[DraftStep, ...]
    waves: tuple[DraftWave, ...] = ()
    on_window_close: Literal["finish", "hold", "go_back"] = "go_back"
    max_parallel: Annotated[int, Field(ge=1, le=1_000)] = 10
    rationale: Annotated[str, StringConstraints(max_length=5_000)] = ""


class Refusal(Model):
    """A planner's no, with its reason."""

    decision: Literal["refuse"] = "refuse"
    code: Name
    reason: Line
    next_step: Line


class Question(Model):
    """A planner's question to the requester."""

    decision: Literal["ask"] = "ask"
    question: Line
    choices: Annotated[tuple[Line, ...], Field(max_length=50)] = ()


class Edit(Model):
    """The smallest change to the draft that would pass the rung that failed."""

    op: Literal["add", "replace", "remove"]
    path: tuple[str | int, ...]
    value: Value | SecretRef | dict[str, Value | SecretRef] | None = None
    says: Line


class Finding(Model):
    """Why a draft does not compile: a stable code, a place, and what to do."""

    rung: Annotated[int, Field(ge=0, le=11)]
    code: Annotated[str, StringConstraints(pattern=r"^R\d{1,2}-[a-z0-9\-]{2,40}$")]
    message: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    path: tuple[str | int, ...] = ()
    line: int | None = None
    edit: Edit | None = None
