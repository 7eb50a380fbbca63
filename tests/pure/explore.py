"""The explorer: every plan of up to four steps, against everything that can go wrong, mishap by
mishap.

A state is the run and the judge's account of the world. From each state every move is tried: each
act that is due begins; each act under way ends in each way it can; time passes; a person, a crash
or the window strikes. Two states with the same `key` are one. The judge speaks after every move;
the first complaint comes with a way that leads to it by as few mishaps as any.

A mishap is anything but the calm course: a failure, a doubt, a crash, a person's word. First comes
all that can happen without one, then all that one more leads to, and so on, up to
`Config.mishaps`. So many as are `sure` are gone through whatever it takes; of what comes after
them, samples are taken from everywhere while the budget lasts. `Config.menu` says which kinds may
happen; see `configs`.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.spec import Done, Failed, Found, InDoubt, Unexpected
from orchestrator.errors import IllegalEvent
from orchestrator.pure.commands import Note
from orchestrator.pure.draft import Refusal
from orchestrator.pure.events import (
    ActFinished,
    ActStarted,
    Cancelled,
    Confirmed,
    Declined,
    Opened,
    Paused,
    Planned,
    RemedyChosen,
    RollbackRequested,
    StartRequested,
    TakenOver,
    Unpaused,
    Vetted,
)
from orchestrator.pure.model import Decision, Plan
from orchestrator.pure.run import ENDS, belongs, due, evolve, offered, opened, wakes_at
from pure.judge import APPLIED, NONE, OURS_NOT, PART, Case, Seen
from pure.plans import DIGEST, NOON, TICKET_DIGEST, Sketch, actor, plan_of, step, ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.spec import Outcome, Value, Verb
    from orchestrator.pure.events import Event

__all__ = ["Config", "Explored", "Violation", "begun", "configs", "explore"]

ALLOW: Final = Decision(outcome="allow", engine="test", policy_digest=DIGEST, input_digest=DIGEST)
DENY: Final = ALLOW.model_copy(update={"outcome": "deny"})
REMEDIES: Final = 2
"""After so many remedies on one path nobody retries or resumes any more: else a step that stays
half-way could be resumed again and again, each time in a new state that says nothing new."""
WINDOW_MS: Final = 10_000_000
PART_OF_LEVEL: Final = 16
"""So many states, from all over what is known, are followed to their ends at a time."""
EVERYTHING: Final = frozenset({"acts", "doubts", "undos", "people", "crash"})


class Config(NamedTuple):
    """One plan and what may happen to it."""

    name: str
    plan: Plan
    menu: frozenset[str] = EVERYTHING
    mishaps: int = 2
    agent: bool = False
    any_order: bool = False
    """Acts that are due together may begin in any order."""


class State(NamedTuple):
    """Where the run, the world and the account of it stand."""

    run: Any
    seen: Seen
    name: int = 0
    """The hash of its key, once it has one."""


class Violation(NamedTuple):
    """A broken invariant and the shortest way to it."""

    config: str
    complaint: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        lines = "\n".join(f"  {n}. {label}" for n, label in enumerate(self.path, 1))
        return f"{self.complaint}\nin {self.config}, by\n{lines}"


class Explored(NamedTuple):
    """What an exploration has seen."""

    states: int
    transitions: int
    foreign: int
    """Reports that belong to no act under way, all refused."""
    ends: frozenset[str]
    deepest: int
    """With so many mishaps, and with fewer, everything was seen."""
    complete: bool
    """With as many as the plan is to meet."""
    violation: Violation | None = None


class Move(NamedTuple):
    """One fact that can come next; what the world holds after it; what it costs."""

    label: str
    event: Event
    truth: int | None = None
    cost: int = 0


# --- facts, made once -----------------------------------------------------------------------------

_GOOD: Final[dict[str, Value]] = {"count": 1}
_APPLIES: Final[tuple[tuple[str, str, Outcome, int | None], ...]] = (
    # menu, label, outcome, what the world holds afterwards (None: what it held before)
    ("", "done", Done(outputs=_GOOD), APPLIED),
    ("acts", "busy", Failed(mode="busy"), None),
    ("acts", "refused", Failed(mode="refused"), None),
    ("acts", "torn", Failed(mode="torn"), PART),
    ("acts", "undeclared, no effect", Failed(mode="surprise"), None),
    ("acts", "unexpected, with effect", Unexpected(message="odd"), APPLIED),
    ("doubts", "in doubt, no effect", InDoubt(message="lost"), None),
    ("doubts", "in doubt, in part", InDoubt(message="lost"), PART),
    ("doubts", "in doubt, with effect", InDoubt(message="lost"), APPLIED),
)
_UNDOS: Final[tuple[tuple[str, str, Outcome, int | None], ...]] = (
    ("", "done", Done(), NONE),
    ("undos", "busy", Failed(mode="busy"), None),
    ("undos", "unexpected", Unexpected(message="odd"), None),
    ("undos", "in doubt, no effect", InDoubt(message="lost"), None),
    ("undos", "in doubt, undone", InDoubt(message="lost"), NONE),
)
_FOUND: Final = {
    NONE: Found(state="not_applied"),
    PART: Found(state="partial"),
    APPLIED: Found(state="applied", outputs=_GOOD),
    OURS_NOT: Found(state="applied", outputs=_GOOD),
}
_UNKNOWN: Final = Found(state="unknown", message="cannot see")
_UNCHANGED: Final = Done(changed=False, outputs=_GOOD)


@lru_cache(maxsize=200_000)
def _started(name: str, verb: Verb, attempt: int, at_ms: int) -> ActStarted:
    return ActStarted.model_construct(at_ms=at_ms, step=name, verb=verb, attempt=attempt)


@lru_cache(maxsize=200_000)
def _ended(name: str, verb: Verb, attempt: int, at_ms: int, which: int) -> ActFinished:
    outcome = _OUTCOMES[which]
    return ActFinished.model_construct(
        at_ms=at_ms, step=name, verb=verb, attempt=attempt, outcome=outcome
    )


_OUTCOMES: Final[tuple[Outcome, ...]] = (
    *(row[2] for row in _APPLIES),
    *(row[2] for row in _UNDOS),
    *_FOUND.values(),
    _UNKNOWN,
    _UNCHANGED,
    InDoubt(message="cannot ask"),
)
_FIRST_FOUND: Final = len(_APPLIES) + len(_UNDOS)


# --- moves ----------------------------------------------------------------------------------------


def moves(config: Config, case: Case, state: State, *, mishaps: bool) -> Iterator[Move]:
    """Name everything that can happen next; without mishaps, only the calm course."""
    run = state.run
    if mishaps:
        yield from _strikes(config, run)
    if run.work is None or run.phase == "returning":
        yield from _planning(config, case, state, mishaps=mishaps)
        return
    yield from _commands(config, run)
    for index in sorted(run.work.acting):
        yield from _reports(config, case, state, index, mishaps=mishaps)
    if run.phase == "held":
        for remedy in offered(run):
            if run.remedies < REMEDIES or remedy.kind not in ("retry", "resume"):
                yield _remedy(run, remedy, by_agent=False)
    if run.paused and run.phase == "running":
        yield Move("unpause", Unpaused(at_ms=run.at_ms, by="olga"))
    if run.phase == "running":
        for index in run.work.gates:
            name = case.plan.steps[index].id
            yield Move("right", Confirmed(at_ms=run.at_ms, step=name, answer="7", by="olga"))


def _planning(config: Config, case: Case, state: State, *, mishaps: bool) -> Iterator[Move]:
    # After a replan: the same plan again, with all that it needs; after success: the way back.
    run, at_ms = state.run, state.run.at_ms
    match run.phase:
        case "drafting":
            plan = Planned.model_construct(at_ms=at_ms, plan=config.plan, plan_digest=case.digest)
            yield Move("planned again", plan)
            if mishaps:
                no = Refusal(code="no_way", reason="It cannot be done.", next_step="Ask a person.")
                yield Move("declined", Declined(at_ms=at_ms, refusal=no), None, 1)
        case "vetting" | "starting" | "returning":
            allow = Vetted(at_ms=at_ms, plan_digest=case.digest, decision=ALLOW)
            yield Move("allowed", allow)
            if mishaps:
                deny = Vetted(at_ms=at_ms, plan_digest=case.digest, decision=DENY)
                yield Move("denied", deny, None, 1)
        case "approved":
            start = StartRequested(at_ms=at_ms, by="olga", plan_digest=case.digest)
            yield Move("started", start)


def _commands(config: Config, run: Any) -> Iterator[Move]:
    now_ms = run.at_ms
    asked = due(run, now_ms)
    later_ms = wakes_at(run)
    begins = 0
    for command in asked:
        move = _answer(run, command, now_ms)
        if move is None:
            continue
        begins += 1
        if begins == 1 or config.any_order:
            yield move
    if not asked and later_ms is not None and not run.work.acting:
        for command in due(run, later_ms):
            move = _answer(run, command, later_ms)
            if move is not None:
                yield move


def _answer(run: Any, command: Any, now_ms: int) -> Move | None:
    match type(command).__name__:
        case "Act" if not command.orphan:
            label = f"{command.verb} {command.step} begins"
            return Move(label, _started(command.step, command.verb, command.attempt, now_ms))
        case "Note":
            return Move(command.event.type, command.event)
        case "Diagnose":
            return None  # see `_strikes`: the agent's answers are moves of their own
        case _:
            return None


def _remedy(run: Any, remedy: Any, *, by_agent: bool) -> Move:
    event = RemedyChosen(
        at_ms=run.at_ms, remedy=remedy, by="olga", agent=by_agent, reason="it seems right"
    )
    return Move(f"{'agent' if by_agent else 'person'}: {remedy.kind} {remedy.step or ''}", event)


def _reports(
    config: Config, case: Case, state: State, index: int, *, mishaps: bool
) -> Iterator[Move]:
    run, trace = state.run, state.seen.steps[index]
    act, name = run.work.acting[index], case.plan.steps[index].id
    if act.verb == "verify":
        yield from _findings(config, state, trace, act, name, mishaps=mishaps)
        return
    rows, first = (_APPLIES, 0) if act.verb == "apply" else (_UNDOS, len(_APPLIES))
    for place, (menu, label, outcome, truth) in enumerate(rows):
        orphaned = act.orphan and isinstance(outcome, InDoubt)
        if menu and not orphaned and (menu not in config.menu or not mishaps):
            continue
        after = trace.truth if truth is None else truth
        if truth == PART and trace.truth == APPLIED:
            after = APPLIED
        if case.reads[index]:
            after = NONE
        event = _ended(name, act.verb, act.attempt, run.at_ms, first + place)
        yield Move(f"{act.verb} {name}: {label}", event, after, int(bool(menu) and not orphaned))
    if act.verb == "apply" and "acts" in config.menu and mishaps:
        event = _ended(name, "apply", act.attempt, run.at_ms, _FIRST_FOUND + 5)
        after = OURS_NOT if trace.truth == NONE else APPLIED
        if trace.truth != PART:
            yield Move(f"apply {name}: unchanged", event, after, 1)


def _findings(
    config: Config, state: State, trace: Any, act: Any, name: str, *, mishaps: bool
) -> Iterator[Move]:
    at_ms = state.run.at_ms
    event = _ended(name, "verify", act.attempt, at_ms, _FIRST_FOUND + trace.truth)
    yield Move(f"verify {name}: truth", event)
    if act.orphan or ("doubts" in config.menu and mishaps):
        lost = _ended(name, "verify", act.attempt, at_ms, _FIRST_FOUND + 6)
        yield Move(f"verify {name}: in doubt", lost, None, int(not act.orphan))
    if "doubts" in config.menu and mishaps:
        unknown = _ended(name, "verify", act.attempt, at_ms, _FIRST_FOUND + 4)
        yield Move(f"verify {name}: unknown", unknown, None, 1)


def _strikes(config: Config, run: Any) -> Iterator[Move]:
    at_ms = run.at_ms
    if "people" in config.menu:
        if run.phase not in ENDS:
            yield Move("cancel", Cancelled(at_ms=at_ms, by="olga", reason="stop"), None, 1)
        if run.phase in ("running", "diagnosing", "held", "succeeded"):
            back = RollbackRequested(at_ms=at_ms, by="olga", reason="back")
            yield Move("go back", back, None, 1)
        if run.phase == "running" and not run.paused:
            yield Move("pause", Paused(at_ms=at_ms, by="olga"), None, 1)
        if run.phase == "running" and run.plan.window and not run.window_closed:
            for command in due(run, WINDOW_MS):
                if isinstance(command, Note) and command.event.type == "window_closed":
                    yield Move("the window closes", command.event, None, 1)
        if run.phase == "running":
            for index in run.work.gates:
                name = run.plan.steps[index].id
                wrong = Confirmed(at_ms=at_ms, step=name, answer="8", by="olga")
                yield Move("wrong", wrong, None, 1)
    if "crash" in config.menu and run.phase not in ENDS:
        taken = TakenOver(at_ms=at_ms, epoch=run.epoch + 1, driver="next")
        yield Move("crash", taken, None, 1)


# --- one plan -------------------------------------------------------------------------------------


def begun(config: Config) -> State:
    """Bring a run of the plan to the moment when it may act."""
    case = Case(config.plan)
    first = Opened(
        at_ms=NOON, ticket=ticket(), ticket_digest=TICKET_DIGEST, by="olga", agent=config.agent
    )
    run, seen = opened("run-1", first), case.fresh()
    digest = case.digest
    for event in (
        Planned(at_ms=NOON, plan=config.plan, plan_digest=digest),
        Vetted(at_ms=NOON, plan_digest=digest, decision=ALLOW),
        StartRequested(at_ms=NOON, by="olga", plan_digest=digest),
        Vetted(at_ms=NOON, plan_digest=digest, decision=ALLOW),
    ):
        run = evolve(run, event)
        seen, complaint = case.saw(seen, event)
        assert not complaint
    return State(run, seen)


def explore(config: Config, budget: int, sure: int = 0) -> Explored:
    """Look at every state that the plan can reach, or, after `sure` mishaps, at many of them."""
    return _Exploration(config, budget, sure).result()


class _Found(Exception):
    """A complaint, and the last move that led to it."""


class _Exploration:
    """What was seen of one plan so far."""

    def __init__(self, config: Config, budget: int, sure: int) -> None:
        self.config, self.budget, self.sure = config, budget, sure
        self.case = Case(config.plan)
        self.parents: dict[int, tuple[int, str]] = {}
        self.transitions = self.foreign = 0
        self.ends: set[str] = set()
        self.deepest = -1

    def result(self) -> Explored:
        violation, complete = None, False
        try:
            complete = self._all()
        except _Found as found:
            violation = _violation(self.config, self.parents, *found.args)
        return Explored(
            len(self.parents),
            self.transitions,
            self.foreign,
            frozenset(self.ends),
            self.deepest,
            complete,
            violation,
        )

    def _all(self) -> bool:
        start = begun(self.config)
        start = start._replace(name=hash(key(start)))
        self.parents[start.name] = (0, "")
        level = self._calm([start], 0)
        for mishaps in range(1, self.config.mishaps + 1):
            if level is None:
                return False
            self.deepest = mishaps - 1
            level = self._one_more(level, mishaps)
        if level is None:
            return False
        self.deepest = self.config.mishaps
        return True

    def _one_more(self, level: list[State], mishaps: int) -> list[State] | None:
        """See what one more mishap leads to, from every state that is known."""
        # Where it may not be all, a part of it is followed to its ends before the next.
        parts = 1 if mishaps <= self.sure else max(1, len(level) // PART_OF_LEVEL)
        after: list[State] = []
        for part in range(parts):
            fresh = [one for state in level[part::parts] for one in self._struck(state)]
            calm = self._calm(fresh, mishaps)
            if calm is None:
                return None
            after += calm
        return after

    def _struck(self, state: State) -> Iterator[State]:
        for move in moves(self.config, self.case, state, mishaps=True):
            if move.cost:
                yield from self._moved(state, move)

    def _calm(self, fresh: list[State], mishaps: int) -> list[State] | None:
        """Follow states to where nothing more happens by itself, unless the budget ends before."""
        level: list[State] = []
        todo = deque(fresh)
        while todo:
            if mishaps > self.sure and len(self.parents) >= self.budget:
                return None
            state = todo.popleft()
            level.append(state)
            found = [*moves(self.config, self.case, state, mishaps=False), *_agent(state)]
            self._judged(state, found)
            for move in found:
                todo.extend(self._moved(state, move))
        return level

    def _judged(self, state: State, found: list[Move]) -> None:
        if state.run.phase in ENDS:
            self.ends.add(state.run.phase)
        refused, why = _foreign(self.case, state)
        self.foreign += refused
        complaint = _judged_at_rest(self.case, state) or why or _stranded(state, found)
        if complaint:
            raise _Found(complaint, state.name, "")

    def _moved(self, state: State, move: Move) -> Iterator[State]:
        self.transitions += 1
        after, complaint = _after(self.case, state, move)
        if complaint or after is None:
            raise _Found(complaint, state.name, move.label)
        there = hash(key(after))
        if there not in self.parents:
            self.parents[there] = (state.name, move.label)
            yield after._replace(name=there)


def _agent(state: State) -> Iterator[Move]:
    if state.run.phase == "diagnosing":
        for remedy in offered(state.run, agent=True):
            yield _remedy(state.run, remedy, by_agent=True)


def _after(case: Case, state: State, move: Move) -> tuple[State | None, str]:
    try:
        run = evolve(state.run, move.event)
    except IllegalEvent as error:
        if move.label in ("cancel", "go back") and "going back already" in error.what:
            return state, ""
        return None, f"a legal move was refused: {error}"
    except (KeyError, ValueError, AssertionError, AttributeError, TypeError) as error:
        return None, f"the machine broke: {type(error).__name__}: {error}"
    seen, complaint = case.saw(state.seen, move.event, move.truth)
    return State(run, seen), complaint


def _judged_at_rest(case: Case, state: State) -> str:
    run = state.run
    if run.phase in ENDS:
        return case.at_end(state.seen, run.phase, run.reason)
    asked = due(run, run.at_ms)
    if len(set(asked)) != len(asked):
        return f"S2: the same act is due twice: {asked}"
    return ""


def _stranded(state: State, found: list[Move]) -> str:
    run = state.run
    if run.phase in ENDS or run.phase in ("held", "drafting"):
        return "" if run.reason or run.phase == "succeeded" else f"V23: {run.phase}, no reason"
    calm = any(move.cost == 0 for move in found)
    return "" if calm else f"V23: {run.phase}, and nothing will ever happen"


def _foreign(case: Case, state: State) -> tuple[int, str]:
    # Late, double and foreign reports of every step: none of them may belong.
    run = state.run
    count = 0
    acting = run.work.acting if run.work else {}
    for index, planned in enumerate(case.plan.steps):
        trace = state.seen.steps[index]
        act = acting.get(index)
        late: tuple[tuple[Verb, int], ...] = (
            ("apply", trace.applies),
            ("undo", trace.undos),
            ("apply", 99),
        )
        for verb, attempt in late:
            if act is not None and (act.verb, act.attempt) == (verb, attempt):
                continue
            count += 1
            if belongs(run, _ended(planned.id, verb, attempt, run.at_ms, 0)):
                return count, f"S15: a report of {verb} {attempt} of {planned.id} would count"
    return count, ""


def _violation(
    config: Config, parents: dict[int, tuple[int, str]], complaint: str, here: int, last: str
) -> Violation:
    path = [last] if last else []
    while here in parents and parents[here][0]:
        here, label = parents[here]
        path.append(label)
    return Violation(config.name, complaint, tuple(reversed(path)))


def key(state: State) -> tuple[Any, ...]:
    """Name a state by all that can matter for what comes next, and by nothing else."""
    run, work = state.run, state.run.work
    common = (
        state.seen,
        run.phase,
        run.paused,
        run.window_closed,
        run.incidents,
        run.remedies,
        run.agent_remedies,
        run.replan,
        run.epoch,
        run.remains,
    )
    if work is None:
        return common
    steps = tuple((index, *_step_key(work.steps[index], run.at_ms)) for index in sorted(work.steps))
    undoing = work.undoing and (
        work.undoing.slot,
        tuple(sorted(work.undoing.missing.items())),
        work.undoing.left,
        tuple(sorted(work.undoing.unpassed.items())),
    )
    return (
        *common,
        steps,
        work.left,
        tuple(work.ready.each()),
        tuple(work.probes.each()),
        tuple(sorted(work.acting.items())),
        tuple(sorted(run.touched, key=lambda index: work.steps[index].touched)),
        tuple(sorted(work.gates)),
        tuple(sorted(work.slices.items())),
        tuple(sorted(work.failed_slices.items())),
        work.stop,
        work.failed_slot,
        undoing,
    )


def _step_key(one: Any, at_ms: int) -> tuple[Any, ...]:
    # The order of touches stands beside; how many came before does not matter.
    until_ms = max(0, one.until_ms - at_ms)
    return tuple(one._replace(until_ms=until_ms, touched=0, outputs=one.outputs is not None))


# --- all plans ------------------------------------------------------------------------------------

_MIXED: Final = (
    actor(retries=1),
    actor(idempotent=False),
    actor("destroy", "none"),
    actor(idempotent=False, retries=1),
    actor("read", "none"),
)


def configs() -> tuple[Config, ...]:
    """Spend the budget: small plans meet everything, larger ones meet each menu apart."""
    found: list[Config] = []
    for steps in (1, 2, 3, 4):
        for number, edges in enumerate(_graphs(steps)):
            found.extend(_of_graph(steps, number, edges))
    found.extend(_waves())
    found.extend(_gates())
    return tuple(found)


def _of_graph(steps: int, number: int, edges: tuple[tuple[int, int], ...]) -> Iterator[Config]:
    name = f"{steps} steps, graph {number}"
    for retries in (0, 1):
        plain = [actor(retries=retries)] * steps
        mixed = [_MIXED[(number + retries + i) % len(_MIXED)] for i in range(steps)]
        for kind, actors in (("plain", plain), ("mixed", mixed)):
            label = f"{name}, {retries} retries, {kind}"
            plan = _graph_plan(actors, edges)
            if steps <= 2:
                yield Config(label, plan, EVERYTHING, 3, any_order=True)
                yield Config(f"{label}, agent", plan, EVERYTHING, 2, agent=True)
            elif steps == 3:
                yield Config(label, plan, EVERYTHING, 2, agent=bool(number % 2))
            else:
                yield Config(label, plan, EVERYTHING, 1, agent=bool(number % 2))


def _graphs(steps: int) -> Iterator[tuple[tuple[int, int], ...]]:
    pairs = list(combinations(range(steps), 2))
    for size in range(len(pairs) + 1):
        yield from combinations(pairs, size)


def _graph_plan(actors: list[Any], edges: tuple[tuple[int, int], ...]) -> Plan:
    names = "abcd"
    sketches = [
        Sketch(names[i], tuple(names[a] for a, b in edges if b == i), each)
        for i, each in enumerate(actors)
    ]
    return plan_of(*sketches, window=(NOON, WINDOW_MS), max_parallel=2 + len(edges) % 2)


def _waves() -> Iterator[Config]:
    for close in ("finish", "hold", "go_back"):
        for stop_after in (1, 2, 3):
            for number, each in enumerate(_MIXED):
                sketches = (
                    step("a@1", actor=actor(retries=number % 2), slot=("w", 1)),
                    step("b@1", actor=each, slot=("w", 1)),
                    step("a@2", actor=actor(), slot=("w", 2)),
                    step("after", after=("a@1", "b@1"), actor=actor()),
                    step("b@2", after=("a@2",), confirm="7", slot=("w", 2)),
                )
                plan = plan_of(
                    *sketches,
                    stop_after={"w": stop_after},
                    on_window_close=close,
                    window=(NOON, WINDOW_MS),
                )
                name = f"a wave of two slices, {close}, stop after {stop_after}, actor {number}"
                yield Config(name, plan, EVERYTHING, 2, agent=stop_after == 2)


def _gates() -> Iterator[Config]:
    for each in _MIXED:
        chain = plan_of(
            step("a", actor=each),
            step("gate", after=("a",), confirm="7"),
            step("hold", after=("a",), hold_until_ms=NOON + 60_000),
            step("b", after=("gate", "hold"), actor=each),
            window=(NOON, WINDOW_MS),
        )
        yield Config(f"a gate and a hold, {each.name}", chain, EVERYTHING, 2, any_order=True)
        slices = plan_of(
            step("a@1", actor=each, slot=("w", 1)),
            step("ask@1", confirm="7", slot=("w", 1)),
            step("a@2", actor=each, slot=("w", 2)),
            step("a@3", actor=each, slot=("w", 3)),
            stop_after={"w": 4},
        )
        yield Config(f"gates in slices, {each.name}", slices, EVERYTHING, 2)
