"""Plans for tests: a builder that reads like a sketch, and a strategy that draws any plan.

    plan_of(step("stop"), step("patch", after=("stop",), actor=actor(undo="none")))

Each actor here declares three failure modes: `busy` (clean, may be retried), `refused` (clean,
final) and `torn` (leaves something behind); it puts out one number, `count`, and takes one,
`wanted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hypothesis import strategies as st

from actors.spec import ActorSpec, FailureMode, IntegerParam, Retries
from orchestrator.pure.model import (
    CONFIRM,
    HOLD,
    Condition,
    Confirm,
    Hold,
    Param,
    PinnedActor,
    Plan,
    PlanStep,
    Slot,
    Ticket,
    Timing,
    Wave,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BACKOFF_S", "DIGEST", "NOON", "Sketch", "actor", "plan_of", "plans", "step", "ticket"]

DIGEST: Final = "5" * 64
TICKET_DIGEST: Final = "7" * 64
NOON: Final = 1_000_000
"""When every test begins, in milliseconds."""
BACKOFF_S: Final = 10
MODES: Final = (
    FailureMode(name="busy", summary="Somebody else holds it.", retry=True),
    FailureMode(name="refused", summary="It said no and did nothing."),
    FailureMode(name="torn", summary="It stopped half-way.", leaves="partial"),
)
COUNT: Final = IntegerParam(type="integer", summary="How many.", minimum=0, maximum=9)
WANTED: Final = IntegerParam(
    type="integer", summary="How many are wanted.", minimum=0, maximum=5, required=False
)


def actor(
    effect: str = "change", undo: str = "full", *, idempotent: bool = True, retries: int = 0
) -> ActorSpec:
    """Describe an actor by what matters to the machine; its name says all of it."""
    name = f"test.{effect}_{undo}_{'idempotent' if idempotent else 'once'}_{retries}"
    return ActorSpec.model_validate(
        {
            "name": name,
            "version": "1.0.0",
            "kind": "rehearsal",
            "summary": "Acts on the fake world.",
            "when_to_use": "In tests.",
            "when_not_to_use": "Anywhere else.",
            "effect": effect,
            "params": {"wanted": WANTED},
            "outputs": {"count": COUNT},
            "idempotent": idempotent,
            "undo": undo,
            "failure_modes": MODES,
            "retries": Retries(maximum=retries, backoff_s=BACKOFF_S),
            "dry_run": "predicted" if effect != "destroy" else "none",
        }
    )


class Sketch(NamedTuple):
    """A step before it is part of a plan."""

    id: str
    after: tuple[str, ...] = ()
    actor: ActorSpec | None = None
    when: Condition | None = None
    slot: tuple[str, int] | None = None
    confirm: str | None = None
    hold_until_ms: int | None = None
    wanted: str | None = None
    """The output that its param `wanted` refers to."""


def step(name: str, **details: Any) -> Sketch:
    """Sketch a step; without details it is a reversible change that stands alone."""
    sketch = Sketch(name, **details)
    gate = sketch.confirm is not None or sketch.hold_until_ms is not None
    return sketch if gate or sketch.actor else sketch._replace(actor=actor())


def plan_of(
    *sketches: Sketch,
    stop_after: dict[str, int] | None = None,
    on_window_close: str = "go_back",
    max_parallel: int = 10,
    window: tuple[int, int] | None = None,
) -> Plan:
    """Compile sketches, in topological order, into a plan."""
    specs = {s.actor.name: s.actor for s in sketches if s.actor}
    slots = [s.slot for s in sketches if s.slot]
    waves = {wave: max(n for w, n in slots if w == wave) for wave, _ in slots}
    return Plan.model_validate(
        {
            "ticket_digest": TICKET_DIGEST,
            "environment": "staging",
            "catalog_digest": DIGEST,
            "inventory_digest": DIGEST,
            "actors": {n: PinnedActor(spec=specs[n], digest=DIGEST) for n in sorted(specs)},
            "steps": tuple(_planned(s) for s in sketches),
            "waves": tuple(
                Wave(id=w, slices=n, stop_after=(stop_after or {}).get(w, 1))
                for w, n in waves.items()
            ),
            "window": Window(start_ms=window[0], end_ms=window[1]) if window else None,
            "on_window_close": on_window_close,
            "max_parallel": max_parallel,
            "timing": Timing(forward_s=60, rollback_s=60),
        }
    )


def _planned(sketch: Sketch) -> PlanStep:
    name = HOLD
    gate: Confirm | Hold | None = None
    if sketch.confirm is not None:
        name, gate = CONFIRM, Confirm(question="How many?", expected=sketch.confirm)
    elif sketch.hold_until_ms is not None:
        gate = Hold(until_ms=sketch.hold_until_ms)
    reference = Param(name="wanted", output=sketch.wanted, source="output")
    return PlanStep(
        id=sketch.id,
        actor=sketch.actor.name if sketch.actor else name,
        params=(reference,) if sketch.wanted else (),
        targets=(f"host-{sketch.id.partition('@')[0].replace('_', '-')}",) if sketch.actor else (),
        after=sketch.after,
        when=sketch.when,
        slot=Slot(wave=sketch.slot[0], slice=sketch.slot[1]) if sketch.slot else None,
        gate=gate,
    )


def ticket(**fields: Any) -> Ticket:
    """Write a ticket."""
    return Ticket.model_validate(
        {
            "id": "CHG-1",
            "title": "A change",
            "request": "Please change it.",
            "environment": "staging",
            "requester": "rita",
            **fields,
        }
    )


# --- any plan -------------------------------------------------------------------------------------

_ACTORS: Final = tuple(
    actor(effect, undo, idempotent=idempotent, retries=retries)
    for effect in ("read", "change", "destroy")
    for undo in (("none",) if effect == "read" else ("full", "none"))
    for idempotent in (True, False)
    for retries in (0, 2)
)


@st.composite
def plans(draw: st.DrawFn, max_steps: int = 25) -> Plan:
    """Draw a plan: any graph, gates, holds, conditions, references, waves."""
    sketches: list[Sketch] = []
    stop_after: dict[str, int] = {}
    wanted = draw(st.integers(1, max_steps))
    while len(sketches) < wanted:
        if draw(st.integers(0, 5)) == 0:
            wave = f"wave{len(stop_after)}"
            slices = draw(st.integers(1, 3))
            stop_after[wave] = draw(st.integers(1, slices + 1))
            before = list(sketches)
            for number in range(1, slices + 1):
                first = len(sketches)
                for _ in range(draw(st.integers(1, 2))):
                    drawn = draw(_a_step(f"s{len(sketches)}", before + sketches[first:]))
                    sketches.append(drawn._replace(slot=(wave, number)))
        else:
            sketches.append(draw(_a_step(f"s{len(sketches)}", sketches)))
    end = draw(st.sampled_from([None, NOON + 25_000, NOON + 10_000_000]))
    return plan_of(
        *sketches,
        stop_after=stop_after,
        on_window_close=draw(st.sampled_from(["finish", "hold", "go_back"])),
        max_parallel=draw(st.sampled_from([1, 2, 10])),
        window=(NOON, end) if end else None,
    )


@st.composite
def _a_step(draw: st.DrawFn, name: str, earlier: Sequence[Sketch]) -> Sketch:
    ids = [s.id for s in earlier]
    after = tuple(draw(st.lists(st.sampled_from(ids), max_size=3, unique=True))) if ids else ()
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return Sketch(name, after, confirm="7")
    if kind == 1:
        return Sketch(name, after, hold_until_ms=NOON + draw(st.integers(0, 40_000)))
    acts = [s.id for s in earlier if s.actor]
    sketch = Sketch(name, after, draw(st.sampled_from(_ACTORS)))
    if not acts or kind > 4:
        return sketch
    other = draw(st.sampled_from(acts))
    sketch = sketch._replace(after=tuple(dict.fromkeys((*after, other))))
    if kind == 2:
        return sketch._replace(wanted=f"{other}.count")
    operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    condition = Condition.model_validate(
        {"output": f"{other}.count", "op": operator, "value": draw(st.integers(0, 3))}
    )
    return sketch._replace(when=condition)
