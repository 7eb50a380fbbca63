"""The nouns, in the order in which a change meets them.

Ticket → (draft, finding: `draft.py`) → Plan → Decision (`decision.py`) → Approval → Incident →
Remedy.
All are frozen, strict and closed: a field that is not here does not exist.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from actors.spec import ActorName, ActorSpec, Name, Scalar, SecretRef, TargetName, Value
from orchestrator.pure.canonical import canonical, digest, merkle_root
from orchestrator.pure.decision import (
    Decision,
    Denial,
    Level,
    MissingApproval,
    Obligations,
    WaiverUse,
)
from orchestrator.pure.fields import (
    Digest,
    DraftId,
    Instant,
    Line,
    Model,
    Principal,
    Prose,
    Selector,
    StepId,
    TicketId,
)

__all__ = [
    "CONFIRM",
    "HOLD",
    "Approval",
    "Budget",
    "Catalog",
    "Condition",
    "Confirm",
    "Decision",
    "Denial",
    "Digest",
    "DraftId",
    "Hold",
    "Incident",
    "Instant",
    "Inventory",
    "InventoryObject",
    "Level",
    "Line",
    "Lock",
    "MissingApproval",
    "Model",
    "Obligations",
    "Param",
    "PinnedActor",
    "Plan",
    "PlanStep",
    "Principal",
    "Prose",
    "Remedy",
    "RemedyKind",
    "Seen",
    "Selector",
    "Slot",
    "StepId",
    "Ticket",
    "TicketId",
    "Timing",
    "WaiverUse",
    "Wave",
    "Window",
    "step_leaves",
]

CONFIRM: Final = "interlock.confirm"
HOLD: Final = "interlock.hold"


# --- ticket -------------------------------------------------------------------------------------


class Window(Model):
    """When the change may touch anything."""

    start_ms: Instant = Field(alias="start")
    end_ms: Instant = Field(alias="end")

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)


class Ticket(Model):
    """A request for change in a person's words; the words carry no authority."""

    id: TicketId
    title: Line
    request: Prose
    environment: Name
    requester: Principal
    ticket_class: Literal["standard", "normal", "emergency"] = Field("normal", alias="class")
    risk: Literal["low", "medium", "high"] = "medium"
    targets: tuple[Selector, ...] = ()
    """The outermost bound: no step may touch anything outside (empty: no bound from the ticket)."""
    window: Window | None = None
    params: dict[Name, Value | SecretRef] = {}  # noqa: RUF012 - pydantic copies it
    routine: str | None = None
    quoted: tuple[Prose, ...] = ()
    """Pasted mails, logs, attachments: never shown to a planner."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)


# --- inventory ----------------------------------------------------------------------------------


class InventoryObject(Model):
    """One thing that a step can touch."""

    name: TargetName
    object: Name = "host"
    environment: Name
    groups: tuple[Name, ...] = ()
    labels: dict[Name, str] = {}  # noqa: RUF012 - pydantic copies it
    connection: dict[str, Scalar] = {}  # noqa: RUF012 - pydantic copies it


class Budget(Model):
    """At most so many objects that share one value of a label may be disturbed at once."""

    label: Name
    maximum: Annotated[int, Field(ge=1)]


class Inventory(Model):
    """All that can be touched, frozen for one plan."""

    objects: tuple[InventoryObject, ...]
    budgets: tuple[Budget, ...] = ()


class PinnedActor(Model):
    """An actor's spec and the digest of its whole folder, as they were when the plan was made."""

    spec: ActorSpec
    digest: Digest


class Catalog(Model):
    """The actors of a workspace, each pinned by the digest of its folder."""

    digest: Digest
    actors: dict[ActorName, PinnedActor]
    evidence: dict[ActorName, Digest] = {}  # noqa: RUF012 - pydantic copies it
    """For each actor the folder digest for which its own tests have passed."""
    evidence_days: dict[ActorName, str] = {}  # noqa: RUF012 - pydantic copies it
    """For each actor whose evidence is for its digest: the day (UTC) of its tests, if known."""


# --- condition -----------------------------------------------------------------------------------


class Condition(Model):
    """Act only when an output of an earlier step compares true."""

    output: Annotated[
        str,
        StringConstraints(
            pattern=r"^[a-z][a-z0-9_\-]{0,62}(@[1-9][0-9]{0,5})?\.[a-z][a-z0-9_]{0,62}$"
        ),
    ]
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    value: Scalar


# --- plan ---------------------------------------------------------------------------------------


class Confirm(Model):
    """A gate: a person must give the right number or name, never yes or no."""

    gate: Literal["confirm"] = "confirm"
    question: Line
    expected: Annotated[str, StringConstraints(min_length=1, max_length=253)]


class Hold(Model):
    """A durable wait until an instant."""

    gate: Literal["hold"] = "hold"
    until_ms: Instant


class Param(Model):
    """A settled param: a value or a reference, and where it came from."""

    name: Name
    value: Value | SecretRef | None = None
    """A secret stands here by its name."""
    output: str | None = None
    """`step.output` of an earlier step of this plan; its type is checked again when it is known."""
    source: Literal["draft", "default", "ticket", "output"]


class Slot(Model):
    """The slice of a wave to which a step belongs, counted from 1."""

    wave: DraftId
    slice: Annotated[int, Field(ge=1)]


class PlanStep(Model):
    """One actor with settled params and counted targets, or a gate of the machine itself."""

    id: StepId
    actor: ActorName
    params: tuple[Param, ...] = ()
    targets: tuple[TargetName, ...] = ()
    after: tuple[StepId, ...] = ()
    when: Condition | None = None
    slot: Slot | None = None
    gate: Annotated[Confirm | Hold, Field(discriminator="gate")] | None = None


class Wave(Model):
    """A rolling block of the plan."""

    id: DraftId
    slices: Annotated[int, Field(ge=1)]
    stop_after: Annotated[int, Field(ge=1)]


class Lock(Model):
    """What this run must hold, across all runs, while it acts."""

    resource: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    mode: Literal["shared", "exclusive"]


class Timing(Model):
    """Worst-case arithmetic over timeouts and retries."""

    forward_s: Annotated[int, Field(ge=0)]
    rollback_s: Annotated[int, Field(ge=0)]
    last_safe_abort_ms: Instant | None = None
    """After this instant a rollback may no longer end inside the window."""


class Plan(Model):
    """What will run: closed, typed, immutable. Steps stand in topological order."""

    format: Literal[1] = 1
    ticket_digest: Digest
    environment: Name
    catalog_digest: Digest
    inventory_digest: Digest
    actors: dict[ActorName, PinnedActor]
    steps: tuple[PlanStep, ...]
    waves: tuple[Wave, ...] = ()
    locks: tuple[Lock, ...] = ()
    window: Window | None = None
    on_window_close: Literal["finish", "hold", "go_back"]
    max_parallel: Annotated[int, Field(ge=1)]
    timing: Timing

    def header(self, steps_root: str) -> dict[str, object]:
        """Return what the digest is taken over; steps and locks stand in it by their digests."""
        head = self.model_dump(mode="json", exclude={"steps", "locks"})
        locks = [lock.model_dump(mode="json") for lock in self.locks]
        return {
            **head,
            "locks_digest": digest(locks),
            "steps_root": steps_root,
            "steps_count": len(self.steps),
        }

    def digest(self) -> str:
        """Compute the plan's digest; it is never a field, so that it cannot lie."""
        return digest(self.header(merkle_root(step_leaves(self))))


def step_leaves(plan: Plan) -> list[bytes]:
    """Return each step's canonical bytes, the leaves of the plan's Merkle tree."""
    return [canonical(step.model_dump(mode="json")) for step in plan.steps]


# --- approval -----------------------------------------------------------------------------------


class Seen(Model):
    """What an approver saw and what the consent rests on; all of it is signed."""

    requested_by: tuple[Principal, ...]
    """Who asked for the change and who opened its run: none of them counts."""
    ticket_digest: Digest
    equivalence_digest: Digest
    view_digest: Digest
    """Of the page that was shown, as plain text."""
    decision_digest: Digest
    trust_digest: Digest
    """Of who may consent, and with which keys, as it was settled then."""
    ledger_head: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}@[1-9][0-9]{0,15}$")]
    """HASH@SEQ of the run's last record: whoever rewrites the ledger before it is found out."""


class Approval(Model):
    """A named person's consent to one plan digest of one run."""

    principal: Principal
    role: Name
    run: str
    environment: Name
    plan_digest: Digest
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    issued_ms: Instant
    expires_ms: Instant
    method: Literal["claimed", "sshsig"]
    """`claimed`: a name as it was typed, unsigned; policy decides where that is enough."""
    signature: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    seen: Seen | None = None


# --- incident and remedy ------------------------------------------------------------------------

RemedyKind = Literal["retry", "resume", "roll_back", "replan", "hold", "take_over"]


class Incident(Model):
    """An unexpected state of one step, kept until a remedy answers it."""

    step: StepId
    verb: Literal["apply", "verify", "undo"]
    reason: Literal["unexpected", "in_doubt", "undo_failed", "slices_failed"]
    message: str


class Remedy(Model):
    """An answer to the open incidents, chosen from those the machine offers."""

    kind: RemedyKind
    step: StepId | None = None
    """The step to retry or to resume; no step for the others."""

    @property
    def name(self) -> str:
        """The word that a person types for it."""
        return f"{self.kind}:{self.step}" if self.step else self.kind
