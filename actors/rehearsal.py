"""The kind that acts on nothing: it does what its script says, and keeps a world of its effects.

1. The script is `rehearsal.yaml` in the actor's folder: durations, outputs, and rules that make
   chosen acts fail, crash, hang, or stay in doubt. The first rule that matches an act decides it.
2. Every effect is one line, appended and synced, in `effects.jsonl` of the world's folder. Tests
   judge from it what has happened; nothing here takes a line back or writes one twice.
3. `verify` believes only the world: an apply holds while nobody has since written the same aspect
   of the same target; an undo takes away its own step's apply and nothing else.
4. Given the same world, script and brief, the outcome is the same. There is no chance in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

from pydantic import Field, StringConstraints

from actors.effects import Effect, World, act_of
from actors.fitting import fit
from actors.kinds import ActorsError
from actors.reading import read_yaml
from actors.spec import (
    Change,
    Done,
    Failed,
    Found,
    InDoubt,
    Model,
    Name,
    Predicted,
    Unexpected,
    Value,
    Verb,
)
from actors.strict import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.kinds import Settings
    from actors.spec import ActorSpec, Brief, Outcome

__all__ = ["Rehearsal", "Rule", "Script", "read_script"]

SCRIPT: Final = "rehearsal.yaml"
MAX_SCRIPT_BYTES: Final = 200_000

Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Says = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Durations(Model):
    """How long each verb takes when no rule says otherwise."""

    check: Milliseconds = 5
    apply: Milliseconds = 20
    verify: Milliseconds = 5
    undo: Milliseconds = 20


class Rule(Model):
    """What becomes of the acts that match; what is not said matches everything."""

    step: Glob | None = None
    """The step's id, `*` standing for anything: `patch@*`."""
    target: Glob | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    verb: Verb = "apply"
    params: dict[Name, Value] = Field(default_factory=dict)

    do: Literal[
        "work",
        "fail",
        "break",
        "partial",
        "doubt",
        "doubt_applied",
        "crash_before",
        "crash_after",
        "hang",
        "find",
    ]
    mode: Name | None = None
    """`fail`, `partial`: the declared failure mode; `partial` without one is unexpected."""
    state: Literal["applied", "not_applied", "partial", "unknown"] | None = None
    """`find`: what verify reads."""
    message: Says = "the script of the rehearsal says so"
    outputs: dict[Name, Value] = Field(default_factory=dict)
    changed: bool = True
    changes: tuple[Says, ...] | None = None
    """`work` on check: the changes that are predicted."""
    takes_ms: Milliseconds | None = None


class Script(Model):
    """An actor's `rehearsal.yaml`."""

    format: Literal[1]
    durations_ms: Durations = Durations()
    outputs: dict[Name, Value] = Field(default_factory=dict)
    predicts: Says = "would act"
    on: Annotated[tuple[Rule, ...], Field(max_length=1_000)] = ()


class _Stopped(Exception):
    """SIGTERM came while nothing had happened yet."""


def read_script(folder: Path) -> Script:
    """Read an actor's script, or say on which line it cannot be used."""
    path = folder / SCRIPT
    try:
        script = fit(Script, read_yaml(path.read_bytes(), max_bytes=MAX_SCRIPT_BYTES))
    except OSError as error:
        raise ActorsError(
            f"{path}: cannot be read: {error.strerror}", next_step="an actor of this kind needs one"
        ) from None
    except UnreadableError as error:
        raise ActorsError(
            f"{path}:{error.line or 1}: {error.reason}", next_step="mend the script"
        ) from None
    if isinstance(script, tuple):
        first = script[0]
        raise ActorsError(f"{path}:{first.line}: {first.message}", next_step="mend the script")
    return script


class Rehearsal:
    """Acts on nothing, from a script."""

    name = "rehearsal"
    inline = True

    def needs(self, spec: ActorSpec) -> tuple[str, ...]:
        """Need the script alone: check, apply, verify and undo are the same for every actor."""
        del spec
        return (SCRIPT,)

    def perform(self, brief: Brief, settings: Settings) -> Outcome:
        """Do one verb as the script says."""
        where = settings.get("world")
        if not isinstance(where, str) or not where.startswith("/"):
            raise ActorsError(
                "the rehearsal has no world to act in",
                next_step="set kinds: rehearsal: world: .interlock/rehearsal in interlock.yaml",
            )
        script = read_script(Path(brief.folder))
        rule = next((rule for rule in script.on if _matches(rule, brief)), Rule(do="work"))
        world = World(Path(where))
        match brief.verb:
            case "check":
                return _check(brief, script, rule, world)
            case "verify":
                return _verify(brief, script, rule, world)
            case "apply" | "undo":
                return _act(brief, script, rule, world)


def _matches(rule: Rule, brief: Brief) -> bool:
    step = act_of(brief.key).step
    return (
        rule.verb == brief.verb
        and rule.attempt in (None, brief.attempt)
        and (rule.step is None or fnmatchcase(step, rule.step))
        and (rule.target is None or any(fnmatchcase(t.name, rule.target) for t in brief.targets))
        and all(brief.params.get(name) == value for name, value in rule.params.items())
    )


def _check(brief: Brief, script: Script, rule: Rule, world: World) -> Outcome:
    answer = _spend(brief, script, rule)
    if answer is not None:
        return answer
    if rule.do != "work":
        return _foreseen(brief, rule)
    if rule.changes is None and world.state_of(brief) == "applied":
        return Predicted(grade=brief.spec.dry_run, message="the wanted state holds already")
    says = rule.changes if rule.changes is not None else (script.predicts,)
    names: list[str | None] = [target.name for target in brief.targets]
    changes = tuple(Change(target=name, summary=line) for name in names or [None] for line in says)
    return Predicted(grade=brief.spec.dry_run, changes=changes)


def _verify(brief: Brief, script: Script, rule: Rule, world: World) -> Outcome:
    answer = _spend(brief, script, rule)
    if answer is not None:
        return answer
    if rule.do == "find" and rule.state is not None:
        return Found(state=rule.state, outputs=rule.outputs, message=rule.message)
    if rule.do != "work":
        return _foreseen(brief, rule)
    state = world.state_of(brief)
    outputs = {**script.outputs, **rule.outputs} if state == "applied" else {}
    return Found(state=state, outputs=_declared(brief, outputs))


def _act(brief: Brief, script: Script, rule: Rule, world: World) -> Outcome:
    answer = _spend(brief, script, rule)
    if answer is not None:
        return answer
    match rule.do:
        case "crash_before":
            _die()
        case "crash_after":
            world.append(Effect.of(brief))
            _die()
        case "work":
            world.append(Effect.of(brief))
            return Done(
                changed=rule.changed and brief.spec.effect != "read",
                outputs=_declared(brief, {**script.outputs, **rule.outputs}),
            )
        case "partial":
            world.append(Effect.of(brief, half=True))
        case "doubt_applied":
            world.append(Effect.of(brief))
    return _foreseen(brief, rule)


def _foreseen(brief: Brief, rule: Rule) -> Outcome:
    """Report what a rule makes of an act, once its effect (if any) is in the world."""
    if rule.do in ("doubt", "doubt_applied"):
        return InDoubt(message=rule.message)
    if rule.do in ("fail", "partial") and rule.mode and brief.spec.failure(rule.mode):
        return Failed(mode=rule.mode, message=rule.message)
    if rule.do in ("fail", "partial") and rule.mode:
        return Unexpected(message=f"failed as {rule.mode}, which the manifest does not declare")
    return Unexpected(message=rule.message)


def _declared(brief: Brief, outputs: dict[str, Value]) -> dict[str, Value]:
    """Keep what the manifest declares, so that one script can serve every verb."""
    if brief.verb == "undo":
        return {}
    return {name: value for name, value in outputs.items() if name in brief.spec.outputs}


def _spend(brief: Brief, script: Script, rule: Rule) -> Outcome | None:
    """Let the act's time pass before anything happens; report only if it ends there."""
    planned_ms = (
        getattr(script.durations_ms, brief.verb) if rule.takes_ms is None else rule.takes_ms
    )
    limit_ms = brief.timeout_s * 1000
    late = rule.do == "hang" or planned_ms > limit_ms
    try:
        with _stoppable():
            time.sleep((limit_ms if late else planned_ms) / 1000)
    except _Stopped:
        if brief.spec.failure("stopped"):
            return Failed(mode="stopped", message="was asked to stop, before anything was touched")
        return InDoubt(
            message="was asked to stop, and the manifest declares no failure mode stopped"
        )
    return InDoubt(message=f"did not end within {brief.timeout_s} s") if late else None


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the wait, unless somebody else in this process listens for it."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(number: int, frame: object) -> NoReturn:
    del number, frame
    raise _Stopped


def _die() -> NoReturn:
    """Be gone as after a power cut: no handler, no clean-up, no word."""
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)
