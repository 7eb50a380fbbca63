"""The judge: what always holds, told from the world and the recorded facts alone.

It never asks the run what became of a step: it keeps its own small account of every step
(`Trace`), from the facts that were recorded and from what the world really holds, and complains
when the next fact breaks one of the invariants. The account is a value, so that an explorer can
branch from it.

| complaint | breaks                                                                              |
|-----------|-------------------------------------------------------------------------------------|
| S1        | an act before this plan was allowed, approved and allowed again at its start; or an |
|           | undo of a success that policy did not allow to be taken back                        |
| S2        | one attempt of one verb that begins twice                                           |
| S3        | an attempt after one that neither failed cleanly nor was found not applied          |
| S5        | an apply before all it depends on has succeeded                                     |
| S6        | an undo of what is not known to be applied, or under a dependent that still stands  |
| S7        | an end that claims less change than the world holds                                 |
| S8        | a success with a step that has not succeeded                                        |
| S9        | a forward act after the run was stopped or while it is paused                       |
| P         | more acts under way than the plan allows                                            |
| V23       | a rest in which nobody is asked for anything                                        |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from actors.spec import Done, Failed, Found, InDoubt
from orchestrator.pure.model import Confirm

if TYPE_CHECKING:
    from actors.spec import Outcome
    from orchestrator.pure.events import ActFinished, ActStarted, Event
    from orchestrator.pure.model import Condition, Decision, Plan

__all__ = ["APPLIED", "NONE", "OURS_NOT", "PART", "Case", "Seen", "Trace"]

NONE: Final = 0
PART: Final = 1
APPLIED: Final = 2
OURS_NOT: Final = 3
"""It holds, and held before this run: not this run's effect."""
_CLAIMS: Final = frozenset({"rolled_back", "cancelled", "rejected", "declined"})


class Trace(NamedTuple):
    """What the facts and the world say of one step."""

    truth: int = NONE
    status: str = "none"
    """none, clean, ok, odd (applied, its output not as declared), partial, doubt, unexpected,
    undone, passed."""
    under_way: str = ""
    applies: int = 0
    probes: int = 0
    undos: int = 0
    pardoned: bool = False
    """A remedy let it begin again."""
    said: int | None = None


class Seen(NamedTuple):
    """What the facts say of a run."""

    steps: tuple[Trace, ...]
    cleared: str = ""  # "", vetted, started, cleared, barred
    stopped: bool = False
    paused: bool = False
    ghosts: tuple[str, ...] = ()
    """What an earlier plan of this run left changed."""


class Case:
    """Judge the runs of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.digest = plan.digest()
        self.place = {step.id: place for place, step in enumerate(plan.steps)}
        self.before = tuple(tuple(self.place[a] for a in step.after) for step in plan.steps)
        self.slots = tuple((s.slot.wave, s.slot.slice) if s.slot else None for s in plan.steps)
        specs = [None if s.gate else plan.actors[s.actor].spec for s in plan.steps]
        self.specs = specs
        self.reads = tuple(s is None or s.effect == "read" for s in specs)
        self.undoable = tuple(s is not None and s.undo != "none" for s in specs)
        self.later = self._later()

    def _later(self) -> tuple[frozenset[int], ...]:
        later: list[set[int]] = [set() for _ in self.plan.steps]
        for place in reversed(range(len(self.plan.steps))):
            for earlier in (*self.before[place], *self._slice_before(place)):
                later[earlier] |= {place} | later[place]
        return tuple(frozenset(each) for each in later)

    def _slice_before(self, place: int) -> list[int]:
        slot = self.slots[place]
        if slot is None:
            return []
        return [i for i, other in enumerate(self.slots) if other == (slot[0], slot[1] - 1)]

    def fresh(self) -> Seen:
        """Begin an account."""
        return Seen(tuple(Trace() for _ in self.plan.steps))

    # --- facts --------------------------------------------------------------------------------

    def saw(self, seen: Seen, event: Event, truth: int | None = None) -> tuple[Seen, str]:
        """Take one fact and, with a report, what the world now holds; return any complaint."""
        match event.type:
            case "act_started":
                return self._began(seen, event)
            case "act_finished":
                return self._reported(seen, event, truth)
            case "vetted":
                return self._vetted(seen, event.plan_digest, event.decision), ""
            case "start_requested":
                return seen._replace(cleared="started" if seen.cleared == "vetted" else ""), ""
            case "approved":
                return seen._replace(cleared=""), ""
            case "planned":
                left = tuple(
                    self.plan.steps[i].id
                    for i, t in enumerate(seen.steps)
                    if t.truth in (PART, APPLIED)
                )
                return self.fresh()._replace(ghosts=(*seen.ghosts, *left)), ""
            case "cancelled" | "rollback_requested":
                return seen._replace(stopped=True), ""
            case "window_closed":
                stops = self.plan.on_window_close != "finish"
                return seen._replace(stopped=seen.stopped or stops), ""
            case "paused" | "unpaused":
                return seen._replace(paused=event.type == "paused"), ""
            case "hold_passed":
                return self._passed(seen, event.step), ""
            case "confirmed":
                gate = self.plan.steps[self.place[event.step]].gate
                right = isinstance(gate, Confirm) and event.answer == gate.expected
                return (self._passed(seen, event.step) if right else seen), ""
            case "remedy_chosen":
                return self._remedied(seen, event.remedy.kind, event.remedy.step), ""
            case _:
                return seen, ""

    def _vetted(self, seen: Seen, plan_digest: str, decision: Decision) -> Seen:
        clear = plan_digest == self.digest and decision.outcome == "allow" and not decision.missing
        if seen.cleared == "started":
            return seen._replace(cleared="cleared" if clear else "vetted")
        if seen.cleared in ("cleared", "barred"):  # before a success is taken back
            return seen._replace(cleared="cleared" if clear else "barred")
        return seen._replace(cleared="vetted" if clear else "")

    def _passed(self, seen: Seen, step: str) -> Seen:
        return _with(seen, self.place[step], status="passed")

    def _remedied(self, seen: Seen, kind: str, step: str | None) -> Seen:
        if kind in ("roll_back", "replan", "take_over"):
            return seen._replace(stopped=True)
        if kind == "retry" and step is not None:
            return _with(seen, self.place[step], pardoned=True)
        return seen

    def _began(self, seen: Seen, event: ActStarted) -> tuple[Seen, str]:
        index = self.place[event.step]
        trace, label = seen.steps[index], f"{event.verb} {event.attempt} of {event.step}"
        if event.verb == "check":
            return seen, ""
        complaint = self._why_not(seen, index, event)
        counter = {"apply": "applies", "verify": "probes", "undo": "undos"}[event.verb]
        seen = _with(seen, index, under_way=event.verb, **{counter: getattr(trace, counter) + 1})
        if event.verb == "apply":
            seen = _with(seen, index, pardoned=False)
        return seen, complaint and f"{complaint}: {label}"

    def _why_not(self, seen: Seen, index: int, event: ActStarted) -> str:
        trace = seen.steps[index]
        counts = {"apply": trace.applies, "verify": trace.probes, "undo": trace.undos}
        if seen.cleared != "cleared":
            return "S1"
        if trace.under_way or event.attempt != counts[event.verb] + 1:
            return "S2"
        if sum(bool(t.under_way) for t in seen.steps) >= self.plan.max_parallel:
            return "P"
        if event.verb == "apply":
            return self._why_not_apply(seen, index)
        return self._why_not_undo(seen, index) if event.verb == "undo" else ""

    def _why_not_apply(self, seen: Seen, index: int) -> str:
        trace = seen.steps[index]
        if seen.stopped or seen.paused:
            return "S9"
        if trace.status not in ("none", "clean") and not trace.pardoned:
            return "S3"
        when = self.plan.steps[index].when
        if not all(self.settled(seen, i) for i in self.before[index]):
            return "S5"
        if when is not None and not self._is_on(seen, when):
            return "S5"
        for other in self._slice_before(index):
            stands = seen.steps[other].truth in (PART, APPLIED) and self.undoable[other]
            if not self.settled(seen, other) and (stands or seen.steps[other].under_way):
                return "S5"
        return ""

    def _why_not_undo(self, seen: Seen, index: int) -> str:
        if seen.steps[index].status not in ("ok", "odd", "partial"):
            return "S6"
        standing = (
            i
            for i in self.later[index]
            if self.undoable[i] and seen.steps[i].truth in (PART, APPLIED)
        )
        return "S6" if next(standing, None) is not None else ""

    def _reported(self, seen: Seen, event: ActFinished, truth: int | None) -> tuple[Seen, str]:
        index = self.place[event.step]
        if event.verb == "check":
            return seen, ""
        trace = seen.steps[index]
        if trace.under_way != event.verb:
            return seen, f"S15: {event.verb} of {event.step} reports and was not under way"
        status, count = self._status(index, trace, event.verb, event.outcome)
        now = trace.truth if truth is None else truth
        return _with(seen, index, under_way="", status=status, said=count, truth=now), ""

    def _status(
        self, index: int, trace: Trace, verb: str, outcome: Outcome
    ) -> tuple[str, int | None]:
        if verb == "undo":
            if isinstance(outcome, Done):
                return "undone", trace.said
            return ("doubt" if isinstance(outcome, InDoubt) else trace.status), trace.said
        if isinstance(outcome, Done | Found):
            count = outcome.outputs.get("count")
            good = isinstance(count, int) and 0 <= count <= 9
            if isinstance(outcome, Found) and outcome.state != "applied":
                states = {"not_applied": "clean", "partial": "partial", "unknown": "doubt"}
                return states[outcome.state], None
            odd = "odd" if isinstance(outcome, Found) else "unexpected"
            return ("ok" if good else odd), count if good and isinstance(count, int) else None
        if isinstance(outcome, Failed) and verb == "apply":
            spec = self.specs[index]
            mode = spec.failure(outcome.mode) if spec else None
            if mode is not None:
                return ("partial" if mode.leaves == "partial" else "clean"), None
        if isinstance(outcome, InDoubt) and verb == "apply" and self.reads[index]:
            return "clean", None
        return ("doubt" if isinstance(outcome, InDoubt) or verb == "verify" else "unexpected"), None

    # --- what holds ---------------------------------------------------------------------------

    def settled(self, seen: Seen, index: int) -> bool:
        """Say whether a step has succeeded, was passed, or is off."""
        trace = seen.steps[index]
        if trace.status in ("ok", "passed"):
            return True
        when = self.plan.steps[index].when
        return (
            trace.status == "none"
            and when is not None
            and all(self.settled(seen, i) for i in self.before[index])
            and not self._is_on(seen, when)
        )

    def _is_on(self, seen: Seen, when: Condition) -> bool:
        count, value = seen.steps[self.place[when.output.partition(".")[0]]].said, when.value
        assert isinstance(value, int)
        if count is None:
            return False
        return {
            "==": count == value,
            "!=": count != value,
            "<": count < value,
            "<=": count <= value,
            ">": count > value,
            ">=": count >= value,
        }[when.op]

    def at_end(self, seen: Seen, phase: str, reason: str) -> str:
        """Complain about an end that claims more than is so."""
        if any(trace.under_way for trace in seen.steps) and phase != "taken_over":
            return f"S8: {phase} while an act is under way"
        if phase == "succeeded":
            for index, trace in enumerate(seen.steps):
                short = trace.status == "ok" and trace.truth not in (APPLIED, OURS_NOT)
                if not self.settled(seen, index) or (short and not self.reads[index]):
                    return f"S8: succeeded without {self.plan.steps[index].id}"
        if phase in _CLAIMS:
            for index, trace in enumerate(seen.steps):
                name = self.plan.steps[index].id
                stands = trace.truth in (PART, APPLIED) and not self.reads[index]
                if stands and (self.undoable[index] or name not in reason):
                    return f"S7: {phase}, and {name} stands: {reason!r}"
            for name in seen.ghosts:
                if name not in reason:
                    return f"S7: {phase}, and {name} of an earlier plan stands: {reason!r}"
        return ""


def _with(seen: Seen, index: int, **changes: object) -> Seen:
    steps = seen.steps
    changed = steps[index]._replace(**changes)  # type: ignore[arg-type]  # names and values belong together
    return seen._replace(steps=(*steps[:index], changed, *steps[index + 1 :]))
