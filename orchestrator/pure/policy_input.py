"""What policy sees: one closed document, complete in itself.

1. A rule knows nothing but this and its own `data.yaml`: the only clock is `now`, in whole seconds.
2. Membership is a map with true values, never a list; numbers are integers.
3. Steps stand here by class: those that differ in nothing but name, targets and neighbours are one,
   with a count. What needs the whole graph was computed before and stands here as a fact.
4. No ticket's words and no secrets: what looks like a secret is told by its name, without a value.
5. The document carries its own digest; a decision that does not repeat it is not about it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from actors.spec import ActorName, Integer, Name, Scalar
from orchestrator.pure.canonical import digest
from orchestrator.pure.model import Digest, Model, Principal, StepId

__all__ = [
    "INPUT_SCHEMA",
    "REDACTED",
    "TARGET",
    "UNSEALED",
    "ActorFacts",
    "ApprovalFacts",
    "Calendar",
    "CatalogFacts",
    "ConflictFacts",
    "Domain",
    "EnvironmentFacts",
    "Freeze",
    "InventoryFacts",
    "Local",
    "Mode",
    "Moment",
    "ParamFacts",
    "PlanFacts",
    "PlannerFacts",
    "PolicyInput",
    "PreviewFacts",
    "RecoveryFacts",
    "RequesterFacts",
    "RunFacts",
    "StepClass",
    "Summary",
    "TicketFacts",
    "WaveFacts",
    "WindowFacts",
    "sealed",
]

INPUT_SCHEMA: Final = "interlock.policy.input/v1"
TARGET: Final = "<target>"
"""Stands where a value names the step's own target."""
REDACTED: Final = "<redacted>"
UNSEALED: Final = "0" * 64

Mode = Literal["plan", "dry-run", "apply", "recovery", "rollback"]
Count = Annotated[int, Field(ge=0)]
Seconds = Integer
Zone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$")]
Members = dict[str, Literal[True]]
"""A set as Rego finds it fastest."""
Short = Annotated[str, StringConstraints(max_length=500)]
ClassName = Annotated[str, StringConstraints(pattern=r"^c[0-9]{1,6}$")]


class Facts(Model):
    """A part of the document."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)


# --- time -----------------------------------------------------------------------------------------


class Local(Facts):
    """What the clock on the wall says in one time zone."""

    day: Annotated[int, Field(ge=1970_01_01, le=9999_12_31)]
    """Year, month and day as one number, such as 20261224."""
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    minute_of_day: Annotated[int, Field(ge=0, le=1439)]


class Moment(Facts):
    """An instant, and how it reads in each time zone of the workspace; UTC is always there."""

    epoch_s: Seconds
    zones: dict[Zone, Local]


class WindowFacts(Facts):
    """When the change may touch anything."""

    start: Moment
    end: Moment


class Freeze(Facts):
    """A time in which some environments must rest, resolved to instants."""

    name: Short
    start_s: Seconds
    end_s: Seconds
    environments: Members


class Calendar(Facts):
    """Freezes that are near."""

    freezes: tuple[Freeze, ...] = ()


# --- who asks, and for what -----------------------------------------------------------------------


class RunFacts(Facts):
    """The run that asks."""

    id: Short
    revision: Count
    """How many plans came before this one."""
    opened_s: Seconds


class RequesterFacts(Facts):
    """Who asked for the change, and who opened its run."""

    id: Principal
    opened_by: Principal
    roles: Members
    """What the requester holds; the one who opened the run is not asked about."""


class PlannerFacts(Facts):
    """Who drafted the plan."""

    kind: Literal["file", "routine", "model"]
    drafts: Count


class TicketFacts(Facts):
    """The ticket's fields; none of its words."""

    id: Short
    digest: Digest
    ticket_class: Literal["standard", "normal", "emergency"] = Field(alias="class")
    risk: Literal["low", "medium", "high"]
    routine: Short | None = None
    window: WindowFacts | None = None
    bounded: bool
    """It names the targets outside which no step may touch anything."""
    params: Members
    """The names of the values that it sets in so many words."""


class ApprovalFacts(Facts):
    """A consent that stands now: its signature, its purpose and its time were looked at."""

    by: Principal
    role: Name
    method: Literal["claimed", "sshsig"]
    holds: bool
    """The workspace says that this person holds the role."""
    counts: bool
    """Holds the role, and neither asked for the change nor opened its run."""
    issued_s: Seconds
    expires_s: Seconds


# --- what is there --------------------------------------------------------------------------------


class EnvironmentFacts(Facts):
    """Where the change happens."""

    name: Name
    objects: Count
    """How many objects the inventory holds for it."""


class Domain(Facts):
    """Objects that share one value of a label, such as a rack or a quorum group."""

    size: Count
    targets: Count
    """How many of them the plan touches."""
    disturbed: Count
    """How many of them do not serve at some time while the plan acts."""


class InventoryFacts(Facts):
    """What of the inventory the plan concerns."""

    digest: Digest
    objects: Count
    groups: dict[Name, Domain]
    domains: dict[Name, dict[str, Domain]]
    """For each label, each value that a target carries."""
    budgets: dict[Name, Count]
    """For each label, how many of one value may be disturbed at once."""


class ActorFacts(Facts):
    """An actor that the plan uses."""

    version: Short
    kind: Name
    digest: Digest
    effect: Literal["read", "change", "destroy"]
    undo: Literal["full", "partial", "none"]
    point_of_no_return: bool
    idempotent: bool
    disturbs: bool
    dry_run: Literal["predicted", "partial", "none"]
    enabled: bool
    environments: Members
    """Where it may be used; empty means everywhere."""
    evidence: Literal["fresh", "stale", "none"]
    """Whether its own tests have passed for this very digest."""
    evidence_age_days: Annotated[int, Field(ge=0)] | None = None
    """How many days ago they passed, if that is known."""
    needs_before: Members
    needs_after: Members


class CatalogFacts(Facts):
    """The actors that the plan uses, and no others."""

    digest: Digest
    actors: dict[ActorName, ActorFacts]


# --- the plan -------------------------------------------------------------------------------------


class ParamFacts(Facts):
    """A settled value, and on what it rests."""

    value: Scalar | tuple[Scalar, ...] | None = None
    output: Short | None = None
    """`actor.output`, when the value will be known only then."""
    source: Literal["draft", "default", "ticket", "output"]
    grounded: bool
    """Rests on something besides the planner's reading of the ticket's words."""
    secret: Literal["none", "reference", "literal"]
    """A literal is not shown: `value` says so."""
    names_targets: bool


class StepClass(Facts):
    """Steps that differ in nothing but name, targets and neighbours."""

    id: ClassName = Field(alias="class")
    count: Annotated[int, Field(ge=1)]
    sample: tuple[StepId, ...]
    """The first few of them, in the order of the plan."""
    actor: ActorName
    gate: Literal["none", "confirm", "hold"]
    effect: Literal["none", "read", "change", "destroy"]
    undo: Literal["full", "partial", "none"]
    point_of_no_return: bool
    disturbs: bool
    conditional: bool
    """Acts only when an output of an earlier step compares true."""
    params: dict[Name, ParamFacts]
    groups: Members
    """Groups that all targets of each step belong to."""
    touches: Members
    """Groups that any target of each step belongs to."""
    environments: Members
    targets: Count
    """How many targets all of them have together."""
    widest: Count
    """How many targets the largest of them has."""
    wave: Short | None = None
    before: Members
    """Actors that act earlier, and for certain, on every target of each step."""
    after: Members
    """Actors that act later, and for certain, on every target of each step."""
    confirmed: bool
    """A person must answer a gate before it begins."""
    checked: bool
    """Each target is read again later in the same slice, or in the plan where there is no slice."""


class WaveFacts(Facts):
    """A rolling block."""

    slices: Annotated[int, Field(ge=1)]
    stop_after: Annotated[int, Field(ge=1)]
    widest: Count
    """How many targets its largest slice touches."""
    first: Count
    """How many targets its first slice touches."""


class PlanFacts(Facts):
    """The plan as it would run."""

    digest: Digest
    environment: Name
    max_parallel: Annotated[int, Field(ge=1)]
    on_window_close: Literal["finish", "hold", "go_back"]
    forward_s: Count
    rollback_s: Count
    last_safe_abort_s: Seconds | None = None
    waves: dict[str, WaveFacts]
    classes: tuple[StepClass, ...]


class Summary(Facts):
    """The whole plan in numbers."""

    steps: Count
    acts: Count
    gates: Count
    reads: Count
    changes: Count
    destroys: Count
    targets: Count
    changed_targets: Count
    """Distinct targets that a change or a destruction touches."""
    changed_percent: Annotated[int, Field(ge=0, le=100)]
    """Of the environment's objects, rounded up."""
    undo_partial: Count
    undo_none: Count
    points_of_no_return: Count
    at_once: Count
    """How many targets may be disturbed at one time, at worst."""
    longest_path: Count


class PreviewFacts(Facts):
    """What the dry run could say."""

    done: bool
    predicted: Count
    partial: Count
    none: Count
    coverage_percent: Annotated[int, Field(ge=0, le=100)]
    """Of the steps that change anything, how many were predicted in full or in part."""


class ConflictFacts(Facts):
    """What another live run holds or wants of the same things."""

    run: Short
    state: Literal["held", "wanted"]
    resources: Annotated[int, Field(ge=1)]
    sample: tuple[Short, ...]


class RecoveryFacts(Facts):
    """The plan answers an incident: what it must stay within."""

    targets_before: Count
    targets_outside: Count
    """How many of its targets the first plan did not have."""
    sample_outside: tuple[Short, ...]
    remedies: Count


class PolicyInput(Facts):
    """The whole document."""

    schema_name: Literal["interlock.policy.input/v1"] = Field(INPUT_SCHEMA, alias="schema")
    digest: Digest
    mode: Mode
    now: Moment
    run: RunFacts
    requester: RequesterFacts
    planner: PlannerFacts
    ticket: TicketFacts
    approvals: tuple[ApprovalFacts, ...]
    environment: EnvironmentFacts
    inventory: InventoryFacts
    catalog: CatalogFacts
    plan: PlanFacts
    summary: Summary
    preview: PreviewFacts
    conflicts: tuple[ConflictFacts, ...]
    recovery: RecoveryFacts | None = None
    calendar: Calendar

    def document(self) -> dict[str, Any]:
        """Return the plain values that an engine is given."""
        return self.model_dump(mode="json", by_alias=True)


def sealed(value: PolicyInput) -> PolicyInput:
    """Return the document with the digest of all its other fields."""
    document = value.document()
    del document["digest"]
    return value.model_copy(update={"digest": digest(document)})
