"""The whole outside as one object: planner, policy, actors and RecoveryAgent, in memory and
scripted.

    world = FakeWorld(plan)                             # everything will go well
    world.will("patch", "apply", "in doubt after")      # but `patch` loses its first report
    drive = FakeDriver(world)
    drive.open()                                        # a ticket comes in
    drive.until_rest()                                  # plan, vet; then it waits for its start
    drive.record(StartRequested(...))
    drive.until_rest()                                  # act
    drive.run.phase, world.truth["patch"], world.effects

A `FakeWorld` answers one command with one event: `perform(command, run, now_ms)`. Acts may also
be interleaved: `begin(act, run)` lets one start, `report(step, now_ms)` lets it end; `perform` of
an act is both at once. The world keeps the truth of every step (`not applied`, `partial`,
`applied`, `was so`) apart from what it tells, and every effect in a log with run, step, verb,
attempt, key and virtual time, so that tests can judge a run from the world and the ledger alone.

What an act does is said in words, the next words of its script, or else the calm ones:

    apply    done · unchanged · fail <mode> · unexpected before · unexpected after
             in doubt before · in doubt mid · in doubt after
             count <n> (done, and that is its output)
    verify   truth · unknown · in doubt
    undo     done · fail <mode> · unexpected
             in doubt before · in doubt mid · in doubt after
    check    predicted · in doubt · unexpected

`planner`, `policy` and `agent` are lists of answers, taken one by one; when one is empty, the
calm answer is given: the plan, an allow with nothing missing, and the first remedy offered.

A `FakeDriver` does what every driver must, and nothing else: it asks what is due, records, then
performs. `crash()` drops the run it holds and everything under way, folds the recorded facts again
and takes over; what was under way is then an orphan, and `orphans` says whether it can be found
again or stays in doubt.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from actors.spec import Change, Done, Failed, Found, InDoubt, Predicted, Unexpected
from orchestrator.pure.commands import Act, Diagnose, Note, Propose, Vet
from orchestrator.pure.draft import Refusal
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Declined,
    DraftRejected,
    Opened,
    Planned,
    RemedyChosen,
    TakenOver,
    Vetted,
)
from orchestrator.pure.model import Decision, Plan
from orchestrator.pure.run import belongs, due, evolve, offered, opened, wakes_at
from pure.plans import DIGEST, NOON, TICKET_DIGEST, ticket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.spec import Outcome
    from orchestrator.pure.commands import Command
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Ticket

__all__ = ["ALLOW", "Effect", "FakeDriver", "FakeWorld", "Truth"]

Truth = Literal["not applied", "partial", "applied", "was so"]
ALLOW: Final = Decision(outcome="allow", engine="fake", policy_digest=DIGEST, input_digest=DIGEST)
MAX_MOVES: Final = 20_000


class Effect(NamedTuple):
    """Something that really happened to the world."""

    run: str
    step: str
    verb: str
    attempt: int
    key: str
    at_ms: int
    truth: Truth
    """What the world holds afterwards."""


class _Under(NamedTuple):
    act: Act
    outcome: Outcome


class FakeWorld:
    """Planner, policy, actors and RecoveryAgent."""

    def __init__(
        self, plan: Plan, *, script: dict[tuple[str, str], Iterable[str]] | None = None
    ) -> None:
        self.plan = plan
        self.truth: dict[str, Truth] = defaultdict(lambda: "not applied")
        self.effects: list[Effect] = []
        self.planner: deque[Plan | Event] = deque()
        self.policy: deque[Decision] = deque()
        self.agent: deque[str] = deque()
        self.orphans: Literal["found", "lost"] = "lost"
        self._script: dict[tuple[str, str], deque[str]] = defaultdict(deque)
        self._counts: dict[str, int] = {}
        self._under: dict[tuple[str, str], _Under] = {}
        for (step, verb), words in (script or {}).items():
            self.will(step, verb, *words)

    def will(self, step: str, verb: str, *words: str) -> None:
        """Script what the next acts of one verb of one step do."""
        self._script[step, verb].extend(words)

    # --- the four parties ---------------------------------------------------------------------

    def perform(self, command: Command, run: Any, now_ms: int) -> Event | None:
        """Answer a command; the start of an act must have been recorded before."""
        match command:
            case Propose():
                return self._propose(now_ms)
            case Vet():
                decision = self.policy.popleft() if self.policy else ALLOW
                return Vetted(at_ms=now_ms, plan_digest=run.plan_digest, decision=decision)
            case Diagnose():
                return self._diagnose(command, now_ms)
            case Note(event=event):
                return event
            case Act(orphan=True):
                return self._orphan(command, now_ms)
            case Act():
                self.begin(command, run, now_ms)
                return self.report(command.step, command.verb, now_ms)

    def begin(self, act: Act, run: Any, now_ms: int) -> None:
        """Let an act start: what it does, it does now; what it tells, it tells later."""
        words = self._script[act.step, act.verb]
        outcome = self._act(act, words.popleft() if words else "", run.id, now_ms)
        self._under[act.step, act.verb] = _Under(act, outcome)

    def report(self, step: str, verb: str, now_ms: int) -> ActFinished:
        """Let an act under way end, and say what it tells."""
        act, outcome = self._under.pop((step, verb))
        return ActFinished(
            at_ms=now_ms, step=step, verb=act.verb, attempt=act.attempt, outcome=outcome
        )

    def under_way(self) -> tuple[tuple[str, str], ...]:
        """Name the acts that have started and not ended, oldest first."""
        return tuple(self._under)

    def forget(self) -> None:
        """Lose every report that nobody has heard."""
        self._under.clear()

    def _propose(self, now_ms: int) -> Event:
        answer = self.planner.popleft() if self.planner else self.plan
        if isinstance(answer, Plan):
            self.plan = answer
            return Planned(at_ms=now_ms, plan=answer, plan_digest=answer.digest())
        return answer.model_copy(update={"at_ms": now_ms})

    def _diagnose(self, command: Diagnose, now_ms: int) -> Event:
        wanted = self.agent.popleft() if self.agent else command.offered[0].kind
        remedy = next(r for r in command.offered if r.kind == wanted)
        return RemedyChosen(
            at_ms=now_ms, remedy=remedy, by="agent", agent=True, reason="the evidence says so"
        )

    def _orphan(self, act: Act, now_ms: int) -> Event:
        known = self._under.get((act.step, act.verb))
        if known is not None and self.orphans == "found":
            return self.report(act.step, act.verb, now_ms)
        self._under.pop((act.step, act.verb), None)
        lost = InDoubt(message="its driver is gone")
        return ActFinished(
            at_ms=now_ms, step=act.step, verb=act.verb, attempt=act.attempt, outcome=lost
        )

    # --- the actors ---------------------------------------------------------------------------

    def _act(self, act: Act, words: str, run_id: str, now_ms: int) -> Outcome:
        match act.verb:
            case "apply":
                return self._apply(act, words or "done", run_id, now_ms)
            case "undo":
                return self._undo(act, words or "done", run_id, now_ms)
            case "verify":
                return self._verify(act.step, words or "truth")
            case _:
                return self._check(words or "predicted")

    def _apply(self, act: Act, words: str, run_id: str, now_ms: int) -> Outcome:
        spec = self.plan.actors[self._actor_of(act.step)].spec
        holds = self.truth[act.step] in ("applied", "was so")
        after: dict[str, Truth] = {
            "done": "applied",
            "unchanged": self.truth[act.step] if holds else "was so",
            "unexpected after": "applied",
            "in doubt after": "applied",
            "in doubt mid": "applied" if holds else "partial",
        }
        word, _, rest = words.partition(" ")
        truth = after.get("done" if word == "count" else words)
        if word == "fail":
            mode = spec.failure(rest)
            leaves = mode is not None and mode.leaves == "partial"
            truth = "partial" if leaves and not holds else None
        if truth is not None and spec.effect != "read":
            self._becomes(act, truth, run_id, now_ms)
        if word == "count":
            self._counts[act.step] = int(rest)
        return self._told(words, act.step, changed=words != "unchanged")

    def _undo(self, act: Act, words: str, run_id: str, now_ms: int) -> Outcome:
        if words in ("done", "in doubt after"):
            self._becomes(act, "not applied", run_id, now_ms)
        if words == "in doubt mid":
            self._becomes(act, "partial", run_id, now_ms)
        return Done() if words == "done" else self._told(words, act.step, changed=True)

    def _verify(self, step: str, words: str) -> Outcome:
        if words == "in doubt":
            return InDoubt(message="verify did not answer")
        if words == "unknown":
            return Found(state="unknown", message="the host does not answer")
        match self.truth[step]:
            case "not applied":
                return Found(state="not_applied")
            case "partial":
                return Found(state="partial")
            case _:
                return Found(state="applied", outputs=self._outputs(step))

    def _check(self, words: str) -> Outcome:
        match words:
            case "in doubt":
                return InDoubt(message="the check did not answer")
            case "unexpected":
                return Unexpected(message="the check broke")
            case _:
                change = Change(target=None, summary="would change")
                return Predicted(grade="predicted", changes=(change,))

    def _told(self, words: str, step: str, *, changed: bool) -> Outcome:
        word, _, rest = words.partition(" ")
        match word:
            case "done" | "unchanged" | "count":
                return Done(changed=changed, outputs=self._outputs(step))
            case "fail":
                return Failed(mode=rest)
            case "unexpected":
                return Unexpected(message="nobody foresaw this")
            case "in":
                return InDoubt(message="the connection was lost")
        raise AssertionError(f"the script of {step} says {words!r}, which is no outcome")

    def _outputs(self, step: str) -> dict[str, Any]:
        spec = self.plan.actors[self._actor_of(step)].spec
        return {"count": self._counts.get(step, 1)} if "count" in spec.outputs else {}

    def _actor_of(self, step: str) -> str:
        return next(s.actor for s in self.plan.steps if s.id == step)

    def _becomes(self, act: Act, truth: Truth, run_id: str, now_ms: int) -> None:
        self.truth[act.step] = truth
        key = f"{run_id}/{act.step}/{act.verb}/{act.attempt}"
        self.effects.append(Effect(run_id, act.step, act.verb, act.attempt, key, now_ms, truth))


class FakeDriver:
    """Ask what is due, record, then perform: a whole driver, over a ledger that is a list."""

    def __init__(self, world: FakeWorld, *, agent: bool = False) -> None:
        self.world = world
        self.ledger: list[Event] = []
        self.now_ms = NOON
        self.run: Any = None
        self.agent = agent

    def open(self, *, by: str = "olga", draft: str | None = None, **fields: Any) -> None:
        """Hand in a ticket."""
        handed_in: Ticket = ticket(**fields)
        first = Opened(
            at_ms=self.now_ms,
            ticket=handed_in,
            ticket_digest=TICKET_DIGEST,
            by=by,
            draft=draft,
            agent=self.agent,
        )
        self.ledger.append(first)
        self.run = opened("run-1", first)

    def record(self, event: Event) -> None:
        """Fold a fact, and only if that is legal, keep it."""
        self.run = evolve(self.run, event)
        self.ledger.append(event)

    def due(self) -> tuple[Command, ...]:
        """Ask what should be done now."""
        return due(self.run, self.now_ms)

    def claim(self, act: Command) -> None:
        """Record the start of an act, then let it start."""
        assert isinstance(act, Act)
        self.record(
            ActStarted(at_ms=self.now_ms, step=act.step, verb=act.verb, attempt=act.attempt)
        )
        self.world.begin(act, self.run, self.now_ms)

    def hear(self, step: str, verb: str) -> bool:
        """Let an act under way report; say whether the report still belonged."""
        return self.take(self.world.report(step, verb, self.now_ms))

    def take(self, event: ActFinished) -> bool:
        """Record a report if it belongs; late, double and foreign ones are dropped."""
        if not belongs(self.run, event):
            return False
        self.record(event)
        return True

    def do(self, command: Command) -> None:
        """Perform one command from start to end."""
        if isinstance(command, Act) and not command.orphan:
            self.claim(command)
            self.hear(command.step, command.verb)
            return
        event = self.world.perform(command, self.run, self.now_ms)
        assert event is not None
        self.record(event)

    def until_rest(self) -> None:
        """Go on until nothing is due and time alone will change nothing; time passes as it must."""
        for _ in range(MAX_MOVES):
            asked = self.due()
            if asked:
                self.do(asked[0])
                continue
            wakes_ms = wakes_at(self.run)
            if wakes_ms is None or wakes_ms <= self.now_ms:
                return
            self.now_ms = wakes_ms
        raise AssertionError(f"{self.run.id} does not come to rest: {self.run.phase}")

    def crash(self) -> None:
        """Lose everything but the ledger, and let the next driver take over."""
        before = self.run
        self.refold()
        assert self.run == before, "what was recorded does not fold to what was held"
        if self.world.orphans == "lost":
            self.world.forget()
        epoch = self.run.epoch + 1
        self.record(TakenOver(at_ms=self.now_ms, epoch=epoch, driver=f"driver-{epoch}"))

    def refold(self) -> None:
        """Forget the run and fold the ledger again."""
        first, *rest = self.ledger
        assert isinstance(first, Opened)
        run = opened("run-1", first)
        for event in rest:
            run = evolve(run, event)
        self.run = run

    def offered(self) -> tuple[str, ...]:
        """Name the remedies that a person may choose now."""
        return tuple(f"{r.kind} {r.step or ''}".strip() for r in offered(self.run))

    def refuses(self, event: Event) -> bool:
        """Say whether a fact is illegal now."""
        from orchestrator.errors import IllegalEvent  # noqa: PLC0415 - a test's own question

        try:
            evolve(self.run, event)
        except IllegalEvent:
            return True
        return False


def declined(code: str, reason: str) -> Declined:
    """Let the planner say no."""
    refusal = Refusal(code=code, reason=reason, next_step="Ask the owner of the host.")
    return Declined(at_ms=0, refusal=refusal)


def rejected_draft(*findings: Any) -> DraftRejected:
    """Let the planner hand in a draft that does not compile."""
    return DraftRejected(at_ms=0, findings=findings)
