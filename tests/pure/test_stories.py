"""Stories: one life of a ticket each, told as a transcript that a person can review.

A story is a text file. Its head says in words what it is about, sketches the plan, and scripts
the world:

    A crash in the middle of an apply.
    step stop
    step patch after stop, undo none, retries 2
    world patch apply: in doubt after

Then come its inputs, each on a line that begins with `> `, and below each what came of it.
`pytest --rewrite` writes the transcripts again; what is reviewed is the diff.

    open · go · step                    hand in the ticket; drive until at rest; do one thing
    begin S · end S                     let one act start, let it report
    late S VERB ATTEMPT                 a report that nobody waits for
    approve WHO · reject WHO · start · preview · answer TEXT · confirm S ANSWER
    pause · unpause · cancel · rollback · remedy KIND [S]              a person's word
    clock SECONDS · crash [found]       time passes; the driver dies and the next takes over
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest

from actors.spec import Done
from orchestrator.errors import IllegalEvent
from orchestrator.pure.commands import Act
from orchestrator.pure.draft import Finding, Question, Refusal
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Answered,
    Approved,
    Asked,
    Cancelled,
    Confirmed,
    Declined,
    DraftRejected,
    Paused,
    PreviewRequested,
    Rejected,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
    Unpaused,
)
from orchestrator.pure.model import Approval, Condition, Denial, MissingApproval, Remedy
from orchestrator.pure.run import ENDS, offered, wakes_at
from orchestrator.pure.state import Phase
from pure.judge import Case
from pure.plans import NOON, Sketch, actor, plan_of
from world import ALLOW, FakeDriver, FakeWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Decision, Plan

STORIES: Final = Path(__file__).parent / "stories"
DENY: Final = ALLOW.model_copy(
    update={
        "outcome": "deny",
        "denials": (Denial(rule="freeze", message="there is a freeze until Monday"),),
    }
)
MISSING: Final = ALLOW.model_copy(update={"missing": (MissingApproval(role="owner", count=1),)})


class Teller:
    """Play a story and write down what happens."""

    def __init__(self, head: list[str]) -> None:
        self.lines: list[str] = []
        plan = _plan_of_head(head)
        world = FakeWorld(plan)
        self.drive = FakeDriver(world, agent="with agent" in head)
        self.effects = 0
        _script(world, head, plan)

    def tell(self, line: str) -> list[str]:
        """Play one input and return its transcript."""
        self.lines = []
        word, *rest = line.split()
        act: Callable[..., None] = getattr(self, f"_{word}")
        try:
            act(*rest)
        except IllegalEvent as error:
            self.lines.append(f"refused   {error.what}")
        self._rest()
        return self.lines

    # --- inputs -------------------------------------------------------------------------------

    def _open(self) -> None:
        self.drive.open()
        self._phase("(nothing)")

    def _go(self) -> None:
        for _ in range(500):
            asked = self.drive.due()
            if asked:
                self._command(asked[0])
                continue
            wakes_ms = wakes_at(self.drive.run)
            if wakes_ms is None or wakes_ms <= self.drive.now_ms:
                return
            self.lines.append(f"time      {(wakes_ms - self.drive.now_ms) // 1000} s pass")
            self.drive.now_ms = wakes_ms

    def _step(self) -> None:
        self._command(self.drive.due()[0])

    def _begin(self, step: str) -> None:
        act = next(c for c in self.drive.due() if isinstance(c, Act) and c.step == step)
        self._fact(self._started(act))
        self.drive.world.begin(act, self.drive.run, self.drive.now_ms)
        self._new_effects()

    def _end(self, step: str) -> None:
        verb = next(v for s, v in self.drive.world.under_way() if s == step)
        self._fact(self.drive.world.report(step, verb, self.drive.now_ms))

    def _late(self, step: str, verb: str, attempt: str) -> None:
        late = ActFinished.model_validate(
            {"step": step, "verb": verb, "attempt": int(attempt), "outcome": Done(), **self._at()}
        )
        self._fact(late)

    def _approve(self, who: str, expires_s: str = "3600") -> None:
        given = Approval(
            principal=who,
            role="owner",
            run="run-1",
            environment="staging",
            plan_digest=self.drive.run.plan_digest,
            nonce=f"{len(self.drive.ledger):032x}",
            issued_ms=self.drive.now_ms,
            expires_ms=self.drive.now_ms + int(expires_s) * 1000,
            method="claimed",
        )
        self._fact(Approved(at_ms=self.drive.now_ms, approval=given))

    def _reject(self, who: str) -> None:
        self._fact(Rejected(at_ms=self.drive.now_ms, by=who, reason="not this week"))

    def _answer(self, *words: str) -> None:
        self._fact(Answered(at_ms=self.drive.now_ms, answer=" ".join(words), by="rita"))

    def _start(self) -> None:
        digest = self.drive.run.plan_digest
        self._fact(StartRequested(at_ms=self.drive.now_ms, by="olga", plan_digest=digest))

    def _preview(self) -> None:
        self._fact(PreviewRequested(at_ms=self.drive.now_ms, by="olga"))

    def _confirm(self, step: str, answer: str) -> None:
        self._fact(Confirmed(at_ms=self.drive.now_ms, step=step, answer=answer, by="olga"))

    def _pause(self) -> None:
        self._fact(Paused(at_ms=self.drive.now_ms, by="olga"))

    def _unpause(self) -> None:
        self._fact(Unpaused(at_ms=self.drive.now_ms, by="olga"))

    def _cancel(self) -> None:
        self._fact(Cancelled(at_ms=self.drive.now_ms, by="olga", reason="called off"))

    def _rollback(self) -> None:
        self._fact(RollbackRequested(at_ms=self.drive.now_ms, by="olga", reason="go back"))

    def _remedy(self, kind: str, step: str | None = None) -> None:
        remedy = Remedy.model_validate({"kind": kind, "step": step})
        self._fact(
            RemedyChosen(
                at_ms=self.drive.now_ms, remedy=remedy, by="olga", agent=False, reason="I looked"
            )
        )

    def _clock(self, seconds: str) -> None:
        self.drive.now_ms += int(seconds) * 1000

    def _crash(self, found: str = "lost") -> None:
        self.drive.world.orphans = "found" if found == "found" else "lost"
        self.drive.crash()
        self.lines.append(f"fact      taken over, epoch {self.drive.run.epoch}")

    # --- transcript ---------------------------------------------------------------------------

    def _command(self, command: Any) -> None:
        self.lines.append(f"due       {_named(command)}")
        if isinstance(command, Act) and not command.orphan:
            self._fact(self._started(command))
            self.drive.world.begin(command, self.drive.run, self.drive.now_ms)
            self._new_effects()
            now_ms = self.drive.now_ms
            self._fact(self.drive.world.report(command.step, command.verb, now_ms))
            return
        event = self.drive.world.perform(command, self.drive.run, self.drive.now_ms)
        assert event is not None
        self._fact(event)

    def _fact(self, event: Event) -> None:
        before = self.drive.run.phase
        self.drive.record(event)
        self.lines.append(f"fact      {_told(event)}")
        self._new_effects()
        self._phase(before)

    def _phase(self, before: str) -> None:
        run = self.drive.run
        if run.phase != before:
            why = f": {run.reason}" if run.reason else ""
            self.lines.append(f"phase     {before} -> {run.phase}{why}")

    def _new_effects(self) -> None:
        effects = self.drive.world.effects
        for effect in effects[self.effects :]:
            self.lines.append(f"effect    {effect.step} is {effect.truth}")
        self.effects = len(effects)

    def _rest(self) -> None:
        run = self.drive.run
        if run is None or run.phase in ENDS:
            return
        asked = [_named(c) for c in self.drive.due()]
        if asked:
            self.lines.append(f"next      {', '.join(asked)}")
        if offered(run):
            self.lines.append(f"offered   {', '.join(self.drive.offered())}")

    def _started(self, act: Act) -> Event:
        return ActStarted(step=act.step, verb=act.verb, attempt=act.attempt, **self._at())

    def _at(self) -> dict[str, Any]:
        return {"at_ms": self.drive.now_ms}


def _named(command: Any) -> str:
    match type(command).__name__:
        case "Act":
            orphan = " (orphan)" if command.orphan else ""
            return f"{command.verb} {command.step} #{command.attempt}{orphan}"
        case "Note":
            return f"note {command.event.type}"
        case "Vet":
            return f"vet the {command.mode}"
        case other:
            return other.lower()


def _told(event: Event) -> str:
    match event:
        case ActStarted():
            return f"{event.verb} {event.step} #{event.attempt} begins"
        case ActFinished(outcome=outcome):
            fields = ("mode", "state", "message")
            more = ", ".join(filter(None, (getattr(outcome, f, "") for f in fields)))
            said = outcome.kind.replace("_", " ") + (f" ({more})" if more else "")
            return f"{event.verb} {event.step} #{event.attempt}: {said}"
        case RemedyChosen(remedy=remedy):
            return f"{event.by} chose {remedy.kind} {remedy.step or ''}".rstrip()
        case Confirmed():
            return f"{event.by} answers {event.answer} to {event.step}"
        case Approved():
            return f"{event.approval.principal} approves"
        case _:
            by = getattr(event, "by", "")
            return f"{event.type.replace('_', ' ')}{f' by {by}' if by else ''}"


# --- heads ----------------------------------------------------------------------------------------


def _plan_of_head(head: list[str]) -> Plan:
    sketches = []
    options: dict[str, Any] = {"stop_after": {}}
    for line in head:
        word, _, rest = line.partition(" ")
        if word == "step":
            sketches.append(_sketch(rest))
        elif word == "wave":
            wave, _, count = rest.partition(" stops after ")
            options["stop_after"][wave] = int(count)
        elif word == "window":
            seconds, _, close = rest.partition(" then ")
            first, last = (NOON + int(s) * 1000 for s in seconds.split(" to "))
            options["window"] = (first, last)
            options["on_window_close"] = close.replace(" ", "_")
    return plan_of(*sketches, **options)


def _sketch(text: str) -> Sketch:
    name, _, rest = text.partition(" ")
    sketch, about = Sketch(name), {"effect": "change", "undo": "full"}
    idempotent, retries, gate = True, 0, False
    for part in filter(None, rest.split(", ")):
        word, _, value = part.strip().partition(" ")
        match word:
            case "after":
                sketch = sketch._replace(after=tuple(value.split()))
            case "slice":
                wave, number = value.split()
                sketch = sketch._replace(slot=(wave, int(number)))
            case "when":
                output, operator, wanted = value.split()
                condition = Condition.model_validate(
                    {"output": output, "op": operator, "value": int(wanted)}
                )
                sketch = sketch._replace(when=condition)
            case "asks":
                sketch, gate = sketch._replace(confirm=value), True
            case "holds":
                until_ms = NOON + int(value) * 1000
                sketch, gate = sketch._replace(hold_until_ms=until_ms), True
            case "wants":
                sketch = sketch._replace(wanted=value)
            case "once":
                idempotent = False
            case "retries":
                retries = int(value)
            case _:
                about[word] = value
    if gate:
        return sketch
    spec = actor(about["effect"], about["undo"], idempotent=idempotent, retries=retries)
    return sketch._replace(actor=spec)


def _script(world: FakeWorld, head: list[str], plan: Plan) -> None:
    policies: dict[str, Decision] = {"allows": ALLOW, "denies": DENY, "misses": MISSING}
    for line in head:
        word, _, rest = line.partition(" ")
        if word == "world":
            act, _, words = rest.partition(": ")
            step, verb = act.split()
            world.will(step, verb, *words.split(", "))
        elif word == "policy":
            world.policy.extend(policies[each] for each in rest.split(", "))
        elif word == "agent":
            world.agent.extend(rest.split(", "))
        elif word == "planner":
            world.planner.extend(_answer(each, plan) for each in rest.split(", "))


def _answer(word: str, plan: Plan) -> Plan | Event:
    match word:
        case "declines":
            refusal = Refusal(
                code="no_actor", reason="no actor can do this", next_step="Ask the owner."
            )
            return Declined(at_ms=0, refusal=refusal)
        case "asks":
            return Asked(at_ms=0, question=Question(question="Which of the three hosts?"))
        case "errs":
            finding = Finding(rung=2, code="R2-unknown-actor", message="there is no such actor")
            return DraftRejected(at_ms=0, findings=(finding,))
        case _:
            return plan


# --- the test -------------------------------------------------------------------------------------


def _played(text: str) -> str:
    lines = text.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("> "))
    head = lines[:first]
    teller = Teller(head)
    told = list(head)
    for line in lines[first:]:
        if line.startswith("> "):
            told += [line, *(f"  {each}" for each in teller.tell(line[2:])), ""]
    return "\n".join(told).rstrip() + "\n"


FOUND: Final = sorted(STORIES.glob("*.txt"))


@pytest.mark.parametrize("path", FOUND, ids=[path.stem for path in FOUND])
def test_the_story_is_told_as_it_was_reviewed(path: Path, request: pytest.FixtureRequest) -> None:
    text = path.read_text(encoding="utf-8")
    told = _played(text)
    if request.config.getoption("--rewrite"):
        path.write_text(told, encoding="utf-8")
    else:
        assert told == text


def test_the_stories_cover_every_phase_and_every_end() -> None:
    told = "\n".join(path.read_text(encoding="utf-8") for path in FOUND)
    for phase in get_args(Phase):
        assert f"-> {phase}" in told, phase
    assert len(FOUND) >= 25


def test_a_story_plan_is_a_plan() -> None:
    plan = _plan_of_head(["step a", "step b after a, undo none"])
    assert Case(plan).before == ((), (0,))
