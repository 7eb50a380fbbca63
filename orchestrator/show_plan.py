"""The plan on paper: what it risks, its steps, the way back, and its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.pure.duties import capacity
from orchestrator.pure.model import Confirm, Hold
from orchestrator.pure.steps import MAX_CRASHES, MAX_PROBES
from orchestrator.pure.window import backward_s, forward_s, timing_with
from orchestrator.show_groups import (
    Group,
    base,
    expected_s,
    grouped,
    names,
    param_words,
    spec_of,
    stems,
    value_words,
)
from orchestrator.show_text import Column, Span, count, duration, instant, joined, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors.spec import ActorSpec
    from orchestrator.pure.model import Plan, PlanStep
    from orchestrator.pure.state import Run
    from orchestrator.show_text import Page, Style

__all__ = [
    "CLOSING",
    "EFFECTS",
    "add_locks",
    "add_pins",
    "add_risk",
    "add_steps",
    "add_timing",
    "add_undo",
    "all_targets",
]

MOST: Final = 40
"""So many groups of steps are listed."""
FEW_NAMES: Final = 4
SLICES: Final = 6
RISK: Final = 21
"""The room for the name of a risk."""
EFFECTS: Final[dict[str, Style]] = {"read": "dim", "change": "yellow", "destroy": "alarm"}
WAYS_BACK: Final = {"full": "yes", "partial": "in part", "none": "NONE"}
STEP_COLUMNS: Final = (
    Column("STEP", flex=True),
    Column("ACTOR", flex=True),
    Column("EFFECT"),
    Column("TARGETS", right=True),
    Column("UNDO"),
    Column("EXPECTED", right=True),
    Column("WORST", right=True),
)
CLOSING: Final = {
    "finish": "what is left still runs",
    "hold": "the run stops and is held for a person",
    "go_back": "the run goes back",
}

NOT_COUNTED: Final = (
    "answers of people; an act whose end is not known, which is verified, at most "
    f"{MAX_PROBES} times, and may begin again, at most {MAX_CRASHES} times"
)


def all_targets(plan: Plan) -> list[str]:
    """Name everything that the plan touches, each once."""
    return list(dict.fromkeys(name for step in plan.steps for name in step.targets))


# --- risk ---------------------------------------------------------------------------------------


def add_risk(page: Page, plan: Plan, groups: Mapping[str, Sequence[str]] | None = None) -> None:
    """Say first what a person must know before consenting."""
    page.head("RISK", "alarm")
    risks: tuple[tuple[str, Style, Callable[[ActorSpec], bool]], ...] = (
        ("destroys", "alarm", lambda spec: spec.effect == "destroy"),
        ("point of no return", "alarm", lambda spec: spec.point_of_no_return),
        ("cannot be undone", "alarm", lambda spec: spec.effect != "read" and spec.undo == "none"),
        ("undone only in part", "yellow", lambda spec: _changes(spec) and spec.undo == "partial"),
        ("out of service", "yellow", lambda spec: spec.disturbs),
        ("must not act twice", "yellow", lambda spec: _changes(spec) and not spec.idempotent),
        ("only rehearsed", "yellow", lambda spec: spec.kind == "rehearsal"),
    )
    loud = 0
    for label, style, holds in risks:
        steps = _those(plan, holds)
        if steps:
            loud += style == "alarm" or label == "undone only in part"
            page.field(label, _named(steps), style, room=RISK)
    if not loud:
        page.field("undo", "nothing is destroyed; every change has an undo", "green", room=RISK)
    _add_touched(page, plan, groups)
    _add_gates(page, plan)


def _those(plan: Plan, holds: Callable[[ActorSpec], bool]) -> list[PlanStep]:
    risky = {name for name, pinned in plan.actors.items() if holds(pinned.spec)}
    return [step for step in plan.steps if not step.gate and step.actor in risky]


def _named(steps: Sequence[PlanStep]) -> str:
    where = list(dict.fromkeys(name for step in steps for name in step.targets))
    on = f" on {names(where)}" if where else ""
    many = f"{len(steps):,} steps: " if len(steps) > 1 else ""
    return f"{many}{joined((step.id for step in steps), FEW_NAMES)}{on}"


def _changes(spec: ActorSpec) -> bool:
    return spec.effect != "read"


def _add_touched(page: Page, plan: Plan, groups: Mapping[str, Sequence[str]] | None) -> None:
    touched = all_targets(plan)
    if not touched:
        page.field("touches", "no target", room=RISK)
        return
    changing = {n for n, pinned in plan.actors.items() if pinned.spec.effect != "read"}
    changed = {name for step in plan.steps if step.actor in changing for name in step.targets}
    only_read = len(touched) - len(changed)
    words = f"{count(len(touched), 'target')} in {plan.environment}"
    words += f", {only_read:,} of them only looked at" if only_read else ""
    page.field("touches", words, "bold", room=RISK)
    if groups is None:
        counted = stems(touched)
        by = "by name"
    else:
        tally: dict[str, int] = {}
        for name in touched:
            for group in groups.get(name, ()):
                tally[group] = tally.get(group, 0) + 1
        counted = sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))
        by = "by group"
    page.field(by, joined((f"{number:,} {name}" for name, number in counted), 8), room=RISK)


def _add_gates(page: Page, plan: Plan) -> None:
    gates = [step for step in plan.steps if step.gate]
    for step in gates[:FEW_NAMES]:
        page.field("gate", f"{step.id}: {_gate_words(step)}", "cyan", room=RISK)
    if len(gates) > FEW_NAMES:
        page.field("", f"… and {len(gates) - FEW_NAMES:,} more gates", room=RISK)


def _gate_words(step: PlanStep) -> str:
    match step.gate:
        case Confirm(question=question):
            return f"a person must answer: {question}"
        case Hold(until_ms=until_ms):
            return f"waits until {instant(until_ms)}"
        case _:
            return ""


# --- steps --------------------------------------------------------------------------------------


def add_steps(page: Page, plan: Plan) -> None:
    """List the steps, or the groups of steps that are alike."""
    groups = grouped(plan)
    alike = f", shown in {len(groups):,} groups" if len(groups) < len(plan.steps) else ""
    at_once = f"at most {plan.max_parallel:,} at a time"
    page.head("STEPS", note=f"{count(len(plan.steps), 'step')}{alike}, {at_once}")
    shown = groups[:MOST]
    rows = [_step_row(plan, group) for group in shown]
    widths = page.table(STEP_COLUMNS, rows)
    # The table was laid out to learn its widths; it is put down again with each step's details.
    page.drop(len(rows))
    for group, row in zip(shown, rows, strict=True):
        page.row(STEP_COLUMNS, widths, row, 2)
        _add_details(page, group)
    rest = sum(len(group.steps) for group in groups[MOST:])
    if rest:
        page.line(Span(f"… and {rest:,} more steps of other kinds", "dim"), indent=2)
    _add_waves(page, plan)


def _add_waves(page: Page, plan: Plan) -> None:
    touched: dict[tuple[str, int], dict[str, None]] = {}
    for step in plan.steps:
        if step.slot and step.slot.slice <= SLICES:
            slot = (step.slot.wave, step.slot.slice)
            touched.setdefault(slot, {}).update(dict.fromkeys(step.targets))
    for wave in plan.waves:
        slices, failing = count(wave.slices, "slice"), f"{wave.stop_after:,}"
        page.blank()
        words = f"  {slices}, one after the other; goes back when {failing} failed"
        page.line(Span(f"wave {wave.id}", "bold"), words, indent=2)
        for number in range(1, min(wave.slices, SLICES) + 1):
            page.field(
                f"slice {number}", names(list(touched.get((wave.id, number), ())), 6), indent=4
            )
        if wave.slices > SLICES:
            page.line(Span(f"… and {wave.slices - SLICES:,} more slices", "dim"), indent=4)


def _step_row(plan: Plan, group: Group) -> list[Span]:
    step, spec = group.first, spec_of(plan, group.first)
    if spec is None:
        return [Span(group.name, "bold"), Span(step.actor), *[Span("")] * 5]
    back = "" if spec.effect == "read" else WAYS_BACK[spec.undo]
    targets = len(group.targets)
    return [
        Span(group.name, "bold"),
        Span(step.actor),
        Span(spec.effect, EFFECTS[spec.effect]),
        Span(f"{targets:,}" if targets else "-"),
        Span(back, "alarm" if back == "NONE" else ""),
        Span(duration(spec.timeouts.expected_s)),
        Span(duration(forward_s(spec)), "dim"),
    ]


def _add_details(page: Page, group: Group) -> None:
    step = group.first
    if step.gate:
        page.words(_gate_words(step), "cyan", indent=4, hang=2)
    if group.targets:
        page.words(f"on {names(group.targets)}", indent=4, hang=2)
    for name, value, source in param_words(group):
        origin = "" if source == "output" else f"  ({_SOURCES[source]})"
        page.words(f"{name} = {value}{origin}", indent=4, hang=2)
    conditions = [one.when for one in group.steps if one.when]
    if conditions:
        when = conditions[0]
        some = "" if len(conditions) == 1 else f"{len(conditions):,} of them, the first "
        words = f"{some}only when {when.output} {when.op} {value_words(when.value)}"
        page.words(words, "yellow", indent=4, hang=2)
    after = _after(group)
    order = [f"after {joined(after, FEW_NAMES)}"] if after else []
    if step.slot:
        last = max(one.slot.slice for one in group.steps if one.slot)
        through = f"s {step.slot.slice} to {last}" if last > step.slot.slice else f" {last}"
        order.append(f"wave {step.slot.wave}, slice{through}")
    if order:
        page.words("; ".join(order), "dim", indent=4, hang=2)


def _after(group: Group) -> Sequence[str]:
    # Of many steps, what they come after is named as in the draft: a wave's steps without slices.
    if len(group.steps) == 1:
        return group.first.after
    return list(dict.fromkeys(base(name) for step in group.steps for name in step.after))


_SOURCES: Final = {
    "draft": "from the draft",
    "default": "the actor's default",
    "ticket": "from the ticket",
    "output": "",
}


# --- the way back, time, locks ------------------------------------------------------------------


def add_undo(page: Page, plan: Plan) -> None:
    """Say in which order steps would be undone, and what would be left as it is."""
    page.head("WAY BACK", note="newest first; only what was or may have been touched")
    if plan.waves and len(grouped(plan)) < len(plan.steps):
        page.line(Span("within a wave the newest slice goes first", "dim"), indent=2)
    number = left = 0
    groups = grouped(plan)
    for group in reversed(groups):
        spec = spec_of(plan, group.first)
        if spec is None or spec.effect == "read":
            continue
        if spec.undo == "none":
            left += len(group.steps)
            words = f"-  {group.name} is left as it is: it has no undo"
            page.words(words, "red", indent=2, hang=3)
            continue
        number += 1
        if number <= MOST:
            part = " (in part)" if spec.undo == "partial" else ""
            takes = duration(backward_s(spec))
            page.words(f"{number}. {group.name}{part}, {takes} at worst", indent=2, hang=3)
    if number > MOST:
        page.line(Span(f"… and {number - MOST:,} more", "dim"), indent=2)
    if not number and not left:
        page.line("nothing is changed, so nothing would be undone", indent=2)


def add_timing(page: Page, run: Run) -> None:
    """Show the worst-case arithmetic, as policy lets the plan run."""
    plan, at_once = run.planned, capacity(run)
    timing, window = timing_with(plan, at_once), plan.window
    page.head("TIME")
    besides = ", holds and answers not counted" if any(step.gate for step in plan.steps) else ""
    takes_s = expected_s(plan)
    about_s = takes_s - takes_s % 60 if takes_s > 600 else takes_s
    page.field("expected", f"about {duration(about_s)} when nothing fails{besides}")
    both = timing.forward_s + timing.rollback_s
    page.field(
        "at worst",
        f"{duration(timing.forward_s)} forward + {duration(timing.rollback_s)} back"
        f" = {duration(both)}",
    )
    demanded = ", as policy demands" if at_once < plan.max_parallel else ""
    counted = f"every act at its limit, every declared retry, at most {at_once:,} at a time"
    page.field("counted", f"{counted}{demanded}")
    page.field("not counted", NOT_COUNTED)
    if window is None:
        page.field("window", "none: the change may run at any time")
        return
    span_s = (window.end_ms - window.start_ms) // 1000
    page.field("window", f"from  {instant(window.start_ms)}")
    page.field("", f"until {instant(window.end_ms)}")
    spare_s = span_s - both
    rest = f"so {duration(spare_s)} to spare" if spare_s >= 0 else f"{duration(-spare_s)} too short"
    page.field("", f"{duration(span_s)} long, {rest}")
    if timing.last_safe_abort_ms is not None:
        abort = instant(timing.last_safe_abort_ms)
        page.field("last abort", f"{abort}: later, a rollback may not end in time", "warn")
    page.field("at its end", CLOSING[plan.on_window_close])


def add_locks(page: Page, plan: Plan) -> None:
    """Count what other runs cannot touch meanwhile."""
    if not plan.locks:
        return
    page.head("LOCKS", note="held against all other runs while this one acts")
    for mode in ("exclusive", "shared"):
        held = [lock.resource for lock in plan.locks if lock.mode == mode]
        if held:
            page.field(mode, f"{len(held):,}: {joined(held, FEW_NAMES)}")


def add_pins(page: Page, plan: Plan, plan_digest: str) -> None:
    """Name what the plan is pinned to; this stands in its digest."""
    page.head("PINS")
    page.field("plan", plan_digest, "bold")
    page.field("ticket", short(plan.ticket_digest))
    page.field("catalog", short(plan.catalog_digest))
    page.field("inventory", short(plan.inventory_digest))
    used = dict.fromkeys(step.actor for step in plan.steps if not step.gate)
    for name in list(used)[:MOST]:
        pinned = plan.actors[name]
        page.field("actor", f"{name} {pinned.spec.version}  {short(pinned.digest)}")
