"""The run as a value: what the fold of a ledger's events remembers.

1. Everything here is immutable; a change makes a new value and shares what did not change, so that
   an event costs the same in a plan of ten steps and of a hundred thousand.
2. Steps are numbered by their place in the plan; only the edges of this room speak of names.
3. What is not stored follows from the plan (`Shape`): a step that nothing has happened to is not
   stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from immutables import Map

from orchestrator.errors import IllegalEvent
from orchestrator.pure.graph import dependants
from orchestrator.pure.queues import Queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.spec import ActorSpec, Predicted, Value, Verb
    from orchestrator.pure.draft import Finding, Question, Refusal
    from orchestrator.pure.events import Carried
    from orchestrator.pure.model import Approval, Decision, Incident, Plan, PlanStep, Ticket
    from orchestrator.pure.queues import Heap

__all__ = [
    "ENDS",
    "NOTHING_YET",
    "READY",
    "Acting",
    "Phase",
    "Preview",
    "Run",
    "Shape",
    "StepPhase",
    "StepRun",
    "Undoing",
    "Work",
    "known",
    "shape_of",
]

T = TypeVar("T")

_new: Final = tuple.__new__
"""Makes a changed copy by the place of its fields, not by name: `_replace` takes three times as
long, and this is where a fold spends its time. A test holds each such copy to `_replace`."""

Phase = Literal[
    "drafting",
    "asking",
    "vetting",
    "waiting",
    "previewing",
    "approved",
    "starting",
    "running",
    "diagnosing",
    "held",
    "rolling_back",
    "returning",
    "succeeded",
    "declined",
    "rejected",
    "rolled_back",
    "cancelled",
    "taken_over",
]
ENDS: Final[frozenset[Phase]] = frozenset(
    {"succeeded", "declined", "rejected", "rolled_back", "cancelled", "taken_over"}
)

StepPhase = Literal[
    "waiting",  # for earlier steps
    "ready",  # its verb is due
    "delayed",  # its verb is due after a backoff
    "acting",  # its verb is under way
    "gate",  # a person must answer
    "holding",  # until an instant
    "succeeded",  # applied and verified
    "skipped",  # its condition was false
    "failed",  # cleanly: nothing was left behind
    "partial",  # something was left behind
    "unexpected",  # nobody knows: an incident is or was open
    "dropped",  # its slice failed before it began
    "undone",
    "undo_failed",
    "left",  # applied, to be undone, and there is no undo
]


class Acting(NamedTuple):
    """An act under way."""

    verb: Verb
    attempt: int
    orphan: bool = False
    """A driver that is gone began it."""


class StepRun(NamedTuple):
    """What has happened to one step."""

    phase: StepPhase = "waiting"
    verb: Verb = "apply"
    """The verb that is due or under way."""
    goal: Literal["apply", "undo", "resume"] = "apply"
    """What a verify is to settle."""
    applies: int = 0
    probes: int = 0
    undos: int = 0
    doubts: int = 0
    """How many probes in a row could not say."""
    until_ms: int = 0
    touched: int = 0
    """Its effect happened or may have happened: the place in the order in which such steps began;
    0 while it is known that there is no effect."""
    retried: bool = False
    """Begun again by a remedy while an earlier attempt may have acted: a clean failure of the
    later one proves nothing about the earlier."""
    outputs: Mapping[str, Value] | None = None
    unchanged: tuple[str, ...] = ()
    """Targets on which the apply had nothing to do: an undo leaves them as they are."""

    def in_phase(self, phase: StepPhase) -> StepRun:
        """Change the phase alone."""
        return _new(StepRun, (phase, *self[1:]))

    def begun(self, attempt: int, touched: int) -> StepRun:
        """Claim the verb that is due; `touched` is for an apply."""
        match self.verb:
            case "apply":
                return _new(
                    StepRun, ("acting", *self[1:3], attempt, *self[4:8], touched, *self[9:])
                )
            case "undo":
                return self._replace(phase="acting", undos=attempt)
            case _:
                return self._replace(phase="acting", probes=attempt)

    def done(self, outputs: Mapping[str, Value], unchanged: tuple[str, ...] = ()) -> StepRun:
        """Succeed; what it put out is known."""
        return _new(StepRun, ("succeeded", *self[1:9], False, outputs, unchanged))

    def untouched(self) -> StepRun:
        """Forget a touch: the world is known not to hold the effect."""
        return self._replace(touched=0, retried=False, unchanged=()) if self.touched else self


NOTHING_YET: Final = StepRun()
READY: Final = NOTHING_YET.in_phase("ready")


class Undoing(NamedTuple):
    """A rollback under way: of the whole run, or of one slice alone."""

    slot: tuple[str, int] | None
    missing: Map[int, int]
    """For each step, how many later steps must be undone, or have nothing to undo, before it."""
    left: int
    """How many touched steps are not yet undone (those without an undo do not count)."""
    unpassed: Map[tuple[str, int], int]
    """For each slice, how many of its steps the rollback has not passed."""


class Work(NamedTuple):
    """The acting part of a run."""

    steps: Map[int, StepRun]
    acting: Map[int, Acting]
    began: int
    """How many steps began that may have an effect."""
    left: int
    """How many steps have neither succeeded nor been skipped."""
    ready: Queue = Queue()
    probes: Queue = Queue()
    undos: Heap | None = None
    """Undos that are due, the newest touched step on top."""
    timers: Heap | None = None
    """Backoffs of applies, and holds, the earliest on top."""
    undo_timers: Heap | None = None
    gates: Map[int, bool] = Map()
    slices: Map[str, tuple[int, int]] = Map()
    """For each wave: the open slice, and how many of its steps are not settled."""
    failed_slices: Map[str, int] = Map()
    awaited: Map[int, int] = Map()
    """For each step that was counted down: how many things it still waits for."""
    stop: Literal["", "failed", "window", "window_hold", "asked"] = ""
    """Why no new forward act may begin."""
    failed_slot: tuple[str, int] | None = None
    """The one slice whose failure is tolerated and will be undone alone."""
    undoing: Undoing | None = None

    def changed(
        self,
        steps: Map[int, StepRun],
        acting: Map[int, Acting],
        began: int,
        left: int,
        ready: Queue,
        probes: Queue,
    ) -> Work:
        """Change what most acts change."""
        return _new(Work, (steps, acting, began, left, ready, probes, *self[6:]))


class Preview(NamedTuple):
    """The dry run: every step is checked, in the order of the plan."""

    todo: Queue
    left: int
    attempts: Map[int, int] = Map()
    acting: Map[int, Acting] = Map()
    results: Map[int, Predicted] = Map()


class Shape(NamedTuple):
    """What follows from the plan alone."""

    place: Mapping[str, int]
    steps: tuple[PlanStep, ...]
    specs: tuple[ActorSpec | None, ...]
    """The actor's spec, or nothing for a gate."""
    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]
    missing: tuple[int, ...]
    slots: tuple[tuple[str, int] | None, ...]
    slices: Mapping[str, tuple[tuple[int, ...], ...]]
    stop_after: Mapping[str, int]


class Run(NamedTuple):
    """The life of one ticket: the fold of its events.

    The first three change with every event, so they stand first: see `_new`.
    """

    work: Work | None
    at_ms: int
    events: int
    id: str
    phase: Phase
    ticket: Ticket
    ticket_digest: str
    by: str
    opened_ms: int
    draft: str | None
    agent: bool
    epoch: int = 0
    reason: str = ""
    """Why the run is where it is, in one line."""
    drafts: int = 0
    revision: int = 0
    findings: tuple[Finding, ...] = ()
    refusal: Refusal | None = None
    question: Question | None = None
    answers: tuple[str, ...] = ()
    plan: Plan | None = None
    plan_digest: str = ""
    shape: Shape | None = None
    bound: frozenset[str] | None = None
    """After a replan: the targets of the first plan, which no later plan may leave."""
    remains: tuple[str, ...] = ()
    """Steps of earlier plans that went back without them, for want of an undo."""
    decision: Decision | None = None
    approvals: tuple[Approval, ...] = ()
    carried: Carried | None = None
    """From where some of the approvals were carried over."""
    preview: Preview | None = None
    paused: bool = False
    window_closed: bool = False
    incidents: tuple[Incident, ...] = ()
    remedies: int = 0
    agent_remedies: int = 0
    replan: bool = False

    def after(self, at_ms: int) -> Run:
        """Count one more event, at this instant."""
        return _new(Run, (self.work, at_ms, self.events + 1, *self[3:]))

    def working_on(self, work: Work) -> Run:
        """Change the acting part, and nothing else."""
        return _new(Run, (work, *self[1:]))

    def step(self, index: int) -> StepRun:
        """Return what has happened to a step."""
        return self.working.steps.get(index, NOTHING_YET)

    def actor(self, index: int) -> ActorSpec:
        """Return the spec of the actor of a step that is not a gate."""
        return self.shaped.specs[index] or known(self.shaped.specs[index], "its step is an act")

    @property
    def planned(self) -> Plan:
        """Return the plan of a run that has one."""
        return known(self.plan, "it has a plan")

    @property
    def shaped(self) -> Shape:
        """Return the shape of a run that has a plan."""
        return self.shape or known(self.shape, "it has a plan")

    @property
    def working(self) -> Work:
        """Return the acting part of a run that acts or has acted."""
        return self.work or known(self.work, "it acts")

    @property
    def touched(self) -> list[int]:
        """The steps whose effect happened or may have happened, in the order of the plan."""
        return sorted(index for index, step in self.working.steps.items() if step.touched)

    @property
    def undoing(self) -> Undoing:
        """Return the rollback of a run that goes back."""
        return known(self.working.undoing, "it goes back")

    @property
    def previewing(self) -> Preview:
        """Return the dry run of a run that has one."""
        return known(self.preview, "it has a dry run")

    def as_json(self) -> dict[str, Any]:
        """Return the whole state as plain values in a fixed order, to compare byte by byte."""
        skipped = {"shape", "plan", "work", "preview"}
        plain = {k: _plain(v) for k, v in self._asdict().items() if k not in skipped}
        return {**plain, "work": _plain(self.work), "preview": _plain(self.preview)}


def known(value: T | None, because: str) -> T:
    """Return what the phase guarantees; that it is missing is a bug or a forgery."""
    if value is None:
        raise IllegalEvent(f"the run does not hold what its phase promises: {because}")
    return value


def shape_of(plan: Plan) -> Shape:
    """Derive what the machine needs to know of a plan, once."""
    index = {step.id: place for place, step in enumerate(plan.steps)}
    before = tuple(tuple(sorted(map(index.__getitem__, step.after))) for step in plan.steps)
    after = dependants(before)
    slices: dict[str, list[list[int]]] = {w.id: [[] for _ in range(w.slices)] for w in plan.waves}
    for place, step in enumerate(plan.steps):
        if step.slot:
            slices[step.slot.wave][step.slot.slice - 1].append(place)
    return Shape(
        place=index,
        steps=plan.steps,
        specs=tuple(_spec_of(plan, step) for step in plan.steps),
        before=before,
        after=tuple(tuple(later) for later in after),
        missing=tuple(
            len(earlier) + (1 if step.slot and step.slot.slice > 1 else 0)
            for earlier, step in zip(before, plan.steps, strict=True)
        ),
        slots=tuple((s.slot.wave, s.slot.slice) if s.slot else None for s in plan.steps),
        slices={name: tuple(tuple(part) for part in parts) for name, parts in slices.items()},
        stop_after={wave.id: wave.stop_after for wave in plan.waves},
    )


def _spec_of(plan: Plan, step: PlanStep) -> ActorSpec | None:
    return None if step.gate else plan.actors[step.actor].spec


def _plain(value: Any) -> Any:
    match value:
        case Map():
            return [[_plain(k), _plain(value[k])] for k in sorted(value)]
        case Queue():
            return list(value.each())
        case tuple() if hasattr(value, "_asdict"):
            return {k: _plain(v) for k, v in value._asdict().items()}
        case tuple() | list():
            return [_plain(item) for item in value]
        case frozenset():
            return sorted(value)
        case dict():
            return {k: _plain(value[k]) for k in sorted(value)}
        case _ if hasattr(value, "model_dump"):
            return value.model_dump(mode="json")
        case _:
            return value
