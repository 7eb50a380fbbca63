"""What changed between two plans: steps by id, else by equal content; targets, pins, window, waves.

1. The same digest is the same plan, whatever else one might think.
2. A step that kept its content under another id was renamed, not removed and added.
3. Whoever approved the old plan reads here all that the new one adds: nothing is left uncounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from orchestrator.show_groups import value_words
from orchestrator.show_plan import CLOSING, all_targets
from orchestrator.show_text import Page, Span, clean, count, duration, instant, joined, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.pure.model import Lock, Param, Plan, PlanStep, Wave, Window
    from orchestrator.show_text import Style

__all__ = ["diff_document", "diff_text"]

MOST: Final = 30
WIDTH: Final = 1_000


class Difference(NamedTuple):
    """What changed, as names and words."""

    digests: tuple[str, str]
    added: list[PlanStep]
    removed: list[PlanStep]
    renamed: dict[str, str]
    changed: dict[str, list[str]]
    targets_added: list[str]
    targets_removed: list[str]
    plan: list[tuple[str, str, str]]
    """What stands beside the steps: its name, the old words, the new ones."""

    @property
    def same(self) -> bool:
        """Whether both are one plan."""
        return self.digests[0] == self.digests[1]


def diff_text(a: Plan, b: Plan, *, color: bool) -> str:
    """Say what changed from one plan to another."""
    difference, page = _difference(a, b), Page(WIDTH, color=color)
    if difference.same:
        page.line(Span("the same plan: ", "green"), f"same digest {difference.digests[0]}")
        return page.text()
    old, new = difference.digests
    page.line(Span("another plan: ", "warn"), f"{short(old)} → {short(new)}")
    page.line("An approval of the one is no approval of the other.")
    _add_targets(page, difference)
    _add_listed(page, "STEPS ADDED", "+", "green", map(_step_words, difference.added))
    _add_listed(page, "STEPS REMOVED", "-", "red", map(_step_words, difference.removed))
    renamed = (f"{one} → {other}" for one, other in difference.renamed.items())
    _add_listed(page, "STEPS RENAMED", "~", "cyan", renamed)
    changed = (f"{step}: {'; '.join(what)}" for step, what in difference.changed.items())
    _add_listed(page, "STEPS CHANGED", "~", "yellow", changed)
    beside = (f"{name}: {one} → {other}" for name, one, other in difference.plan)
    _add_listed(page, "THE PLAN ITSELF", "~", "yellow", beside)
    if difference == difference._replace(
        added=[], removed=[], renamed={}, changed={}, plan=[], targets_added=[], targets_removed=[]
    ):
        page.line("Only the order in which the steps are written differs.")
    return page.text()


def diff_document(a: Plan, b: Plan) -> dict[str, Any]:
    """Return the same as plain values with stable keys."""
    difference = _difference(a, b)
    return {
        "format": 1,
        "same": difference.same,
        "digests": list(difference.digests),
        "steps": {
            "added": [step.id for step in difference.added],
            "removed": [step.id for step in difference.removed],
            "renamed": difference.renamed,
            "changed": difference.changed,
        },
        "targets": {"added": difference.targets_added, "removed": difference.targets_removed},
        "plan": [{"what": name, "old": one, "new": other} for name, one, other in difference.plan],
    }


def _add_targets(page: Page, difference: Difference) -> None:
    sides: tuple[tuple[str, Style, list[str]], ...] = (
        ("+", "alarm", difference.targets_added),
        ("-", "green", difference.targets_removed),
    )
    for sign, style, found in sides:
        if found:
            page.line(Span(f"{sign} {count(len(found), 'target')}: {joined(found, 8)}", style))


def _add_listed(page: Page, title: str, sign: str, style: Style, lines: Iterable[str]) -> None:
    listed = list(lines)
    if not listed:
        return
    page.head(title, note=f"{len(listed):,}")
    for line in listed[:MOST]:
        page.line(Span(f"{sign} ", style), Span(line, style), indent=2)
    if len(listed) > MOST:
        page.line(Span(f"… and {len(listed) - MOST:,} more", "dim"), indent=2)


def _step_words(step: PlanStep) -> str:
    targets = f" on {joined(step.targets, 3)}" if step.targets else ""
    return f"{step.id}: {step.actor}{targets}"


# --- comparing ----------------------------------------------------------------------------------


def _difference(a: Plan, b: Plan) -> Difference:
    first = a.digest()
    digests = (first, first if a == b else b.digest())
    old = {step.id: step for step in a.steps}
    new = {step.id: step for step in b.steps}
    gone = [step for name, step in old.items() if name not in new]
    come = [step for name, step in new.items() if name not in old]
    renamed = _renamed(gone, come)
    fresh = set(renamed.values())
    changed = {
        name: what
        for name, step in old.items()
        if name in new and (what := _step_changes(step, new[name], renamed))
    }
    targets = dict.fromkeys(all_targets(a)), dict.fromkeys(all_targets(b))
    return Difference(
        digests,
        added=[step for step in come if step.id not in fresh],
        removed=[step for step in gone if step.id not in renamed],
        renamed=renamed,
        changed=changed,
        targets_added=[name for name in targets[1] if name not in targets[0]],
        targets_removed=[name for name in targets[0] if name not in targets[1]],
        plan=_beside(a, b),
    )


def _renamed(gone: Sequence[PlanStep], come: Sequence[PlanStep]) -> dict[str, str]:
    waiting: dict[PlanStep, list[str]] = {}
    for step in reversed(come):
        waiting.setdefault(_content(step), []).append(step.id)
    renamed = {}
    for step in gone:
        same = waiting.get(_content(step))
        if same:
            renamed[step.id] = same.pop()
    return renamed


def _content(step: PlanStep) -> PlanStep:
    # What a step does, whatever it is called and wherever it stands.
    return step.model_copy(update={"id": "x", "after": ()})


def _step_changes(old: PlanStep, new: PlanStep, renamed: Mapping[str, str]) -> list[str]:
    if old == new:
        return []
    changes = []
    if old.actor != new.actor:
        changes.append(f"actor {old.actor} → {new.actor}")
    changes += _param_changes(old.params, new.params)
    changes += _set_changes("target", old.targets, new.targets)
    changes += _set_changes("after", [renamed.get(name, name) for name in old.after], new.after)
    for label, one, other in (
        ("when", old.when, new.when),
        ("slice", old.slot, new.slot),
        ("gate", old.gate, new.gate),
    ):
        if one != other:
            changes.append(f"{label} {_model_words(one)} → {_model_words(other)}")
    return changes


def _param_changes(old: Sequence[Param], new: Sequence[Param]) -> list[str]:
    was, now = {p.name: _param(p) for p in old}, {p.name: _param(p) for p in new}
    changes = []
    for name in dict.fromkeys([*was, *now]):
        one, other = was.get(name), now.get(name)
        if one is None:
            changes.append(f"param {name} added: {other}")
        elif other is None:
            changes.append(f"param {name} removed, it was {one}")
        elif one != other:
            changes.append(f"param {name} {one} → {other}")
    return changes


def _param(param: Param) -> str:
    value = f"what {param.output} puts out" if param.output else value_words(param.value, 200)
    return f"{value} ({param.source})"


def _set_changes(what: str, old: Sequence[str], new: Sequence[str]) -> list[str]:
    was, now = set(old), set(new)
    return [f"{what} +{name}" for name in new if name not in was][:MOST] + [
        f"{what} -{name}" for name in old if name not in now
    ][:MOST]


def _model_words(value: Any) -> str:
    if value is None:
        return "none"
    fields = value.model_dump(mode="json")
    return clean(", ".join(f"{name} {content}" for name, content in fields.items()))


def _beside(a: Plan, b: Plan) -> list[tuple[str, str, str]]:
    pairs = [
        ("environment", a.environment, b.environment),
        ("window", _window(a.window), _window(b.window)),
        ("at the window's end", CLOSING[a.on_window_close], CLOSING[b.on_window_close]),
        ("at a time", f"{a.max_parallel:,}", f"{b.max_parallel:,}"),
        ("worst case forward", duration(a.timing.forward_s), duration(b.timing.forward_s)),
        ("worst case back", duration(a.timing.rollback_s), duration(b.timing.rollback_s)),
        ("ticket", short(a.ticket_digest), short(b.ticket_digest)),
        ("catalog", short(a.catalog_digest), short(b.catalog_digest)),
        ("inventory", short(a.inventory_digest), short(b.inventory_digest)),
        ("locks", _locks(a.locks, b.locks), _locks(b.locks, a.locks)),
    ]
    pairs += [
        (f"actor {name}", _actor(a, name), _actor(b, name))
        for name in sorted({*a.actors, *b.actors})
    ]
    old, new = {wave.id: wave for wave in a.waves}, {wave.id: wave for wave in b.waves}
    pairs += [
        (f"wave {name}", _wave(old.get(name)), _wave(new.get(name)))
        for name in sorted({*old, *new})
    ]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _actor(plan: Plan, name: str) -> str:
    pinned = plan.actors.get(name)
    return f"{pinned.spec.version} {short(pinned.digest)}" if pinned else "none"


def _wave(wave: Wave | None) -> str:
    if wave is None:
        return "none"
    return f"{count(wave.slices, 'slice')}, goes back after {wave.stop_after:,} failed"


def _window(window: Window | None) -> str:
    return f"{instant(window.start_ms)} to {instant(window.end_ms)}" if window else "none"


def _locks(mine: Sequence[Lock], others: Sequence[Lock]) -> str:
    theirs = set(others)
    own = [f"{lock.mode} {lock.resource}" for lock in mine if lock not in theirs]
    return f"{len(mine):,}, of these only here: {joined(own, 3) or 'none'}"
