"""Finds the smallest edits with which a denied plan would pass, by trying them on the real gate.

1. Nothing is guessed: an edit counts when the edited draft compiles, the denial is gone, and none
   has come.
2. Kinds of edits are tried from the mildest on; of one kind the smallest that passes is found by
   bisection, because less is never denied where more is allowed.
3. Edits add up: each next one is looked for with those before it in place. What no edit of ours
   mends is said to be left, never hidden. Tries are bounded.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from actors.reading import read_yaml
from actors.strict import UnreadableError
from orchestrator.pure.canonical import canonical
from orchestrator.pure.compile import Document, compile_draft
from orchestrator.pure.model import CONFIRM, Plan, Ticket
from orchestrator.pure.state import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.pure.compile import Limits
    from orchestrator.pure.model import Catalog, Decision, Denial, Inventory
    from orchestrator.pure.policy_input import Freeze
    from orchestrator.pure.state import Run

__all__ = ["Edited", "Grounds", "Mended", "mended"]

MOST_TRIES: Final = 80
MOST_FREEZES: Final = 4
SLACK_S: Final = 600
MINUTE_MS: Final = 60_000
TIMES: Final = ("freeze", "change_window", "window")

Key = tuple[str, str | None]


class Grounds(NamedTuple):
    """What a try needs besides the run."""

    catalog: Catalog
    inventory: Inventory
    limits: Limits
    ask: Callable[[Run], Decision]
    """The real gate, with everything but the run settled."""
    freezes: tuple[Freeze, ...]
    now_ms: int


class Edited(NamedTuple):
    """One edit, and which denial it mends."""

    mends: str
    says: str


class Mended(NamedTuple):
    """All edits in their order, and what is denied even so."""

    edits: tuple[Edited, ...]
    left: tuple[Denial, ...]
    tries: int


class _Text(NamedTuple):
    """A ticket and a draft as plain values, to be edited."""

    ticket: dict[str, Any]
    draft: dict[str, Any]


class _Edit(NamedTuple):
    """An edited text, in words."""

    says: str
    text: _Text


def mended(run: Run, grounds: Grounds) -> Mended:
    """Look for edits until nothing is denied, or nothing more can be mended."""
    trying = _Trying(run, grounds)
    plan, denials = run.planned, list(grounds.ask(run).denials)
    text = _text_of(run)
    edits: list[Edited] = []
    hopeless: list[Denial] = []
    while text is not None and (first := _next(denials, hopeless)):
        found = trying.mend(text, plan, denials, first)
        if found is None:
            hopeless.append(first)
            continue
        says, text, plan, denials = found
        edits.append(Edited(_name(first), says))
    return Mended(tuple(edits), tuple(denials), trying.tries)


def _next(denials: Sequence[Denial], hopeless: Sequence[Denial]) -> Denial | None:
    """Choose what to mend next: when it may be is looked at last, how long it takes being known."""
    left = sorted((d for d in denials if d not in hopeless), key=lambda d: d.rule in TIMES)
    return next(iter(left), None)


@dataclass(slots=True)
class _Trying:
    run: Run
    grounds: Grounds
    tries: int = 0
    seen: dict[bytes, tuple[Plan, list[Denial]] | None] = field(default_factory=dict)

    def mend(
        self, text: _Text, plan: Plan, denials: list[Denial], denial: Denial
    ) -> tuple[str, _Text, Plan, list[Denial]] | None:
        """Find the mildest edit that takes this denial away and brings no other."""
        before = {_key(one) for one in denials}

        def passes(edit: _Edit) -> bool:
            tried = self.tried(edit.text)
            after = None if tried is None else {_key(one) for one in tried[1]}
            return after is not None and after < before and _key(denial) not in after

        for kind in _kinds(text, plan, self.grounds):
            edits = list(kind)
            place = bisect_left(edits, True, key=passes) if len(edits) > 1 else 0
            for edit in edits[place : place + 1]:
                if passes(edit):
                    tried = self.tried(edit.text)
                    if tried is not None:
                        return edit.says, edit.text, *tried
        return None

    def tried(self, text: _Text) -> tuple[Plan, list[Denial]] | None:
        """Compile and vet an edited text; what does not compile passes nothing."""
        key = canonical([text.ticket, text.draft])
        if key not in self.seen:
            if self.tries >= MOST_TRIES:
                return None
            self.tries += 1
            self.seen[key] = self._tried(text)
        return self.seen[key]

    def _tried(self, text: _Text) -> tuple[Plan, list[Denial]] | None:
        try:
            ticket = Ticket.model_validate_json(canonical(text.ticket))
        except ValidationError:
            return None
        catalog, inventory, limits = self.grounds[:3]
        plan = compile_draft(
            Document(text.draft, {}),
            ticket=ticket,
            catalog=catalog,
            inventory=inventory,
            limits=limits,
        )
        if not isinstance(plan, Plan):
            return None
        asked = self.run._replace(
            ticket=ticket,
            plan=plan,
            plan_digest=plan.digest(),
            shape=shape_of(plan),
            approvals=(),
            preview=None,
        )
        return plan, list(self.grounds.ask(asked).denials)


# --- kinds of edits, each from the smallest edit on -----------------------------------------------


def _kinds(text: _Text, plan: Plan, grounds: Grounds) -> Iterator[Iterator[_Edit]]:
    yield _less_parallel(text)
    yield _smaller_slices(text)
    for edit in (*_gated(text, plan), *_windows(text, plan, grounds), *_normal(text)):
        yield iter([edit])
    yield _fewer_targets(text, plan, grounds.catalog)


def _less_parallel(text: _Text) -> Iterator[_Edit]:
    for number in range(int(text.draft.get("max_parallel", 10)) - 1, 0, -1):
        draft = {**text.draft, "max_parallel": number}
        yield _Edit(f"in the draft: max_parallel: {number}", text._replace(draft=draft))


def _smaller_slices(text: _Text) -> Iterator[_Edit]:
    waves = text.draft.get("waves") or []
    largest = max((int(wave["size"]) for wave in waves), default=1)
    for size in range(largest - 1, 0, -1):
        smaller = [
            {
                **wave,
                "size": min(wave["size"], size),
                "canary": min(wave.get("canary", 0), size),
            }
            for wave in waves
        ]
        named = ", ".join(wave["id"] for wave in waves if wave["size"] > size)
        draft = {**text.draft, "waves": smaller}
        yield _Edit(f"in the draft: size: {size} of the wave {named}", text._replace(draft=draft))


def _gated(text: _Text, plan: Plan) -> Iterator[_Edit]:
    """Put a gate before the steps that cannot be undone: one, then all of them."""
    names = [
        step["id"]
        for step in text.draft["steps"]
        if step["actor"] in plan.actors
        and plan.actors[step["actor"]].spec.effect != "read"
        and plan.actors[step["actor"]].spec.undo == "none"
    ]
    for name in names:
        yield _with_gates(text, [name])
    if len(names) > 1:
        yield _with_gates(text, names)


def _with_gates(text: _Text, chosen: Sequence[str]) -> _Edit:
    steps = []
    for step in text.draft["steps"]:
        if step["id"] not in chosen:
            steps.append(step)
            continue
        gate = f"ask_{step['id']}"[:63]
        question = {"text": f"Go on with {step['id']}? It cannot be undone.", "expect": "targets"}
        steps.append(
            {
                "id": gate,
                "actor": CONFIRM,
                "params": question,
                "after": list(step.get("after", ())),
            }
        )
        steps.append({**step, "after": [gate]})
    says = f"in the draft: a {CONFIRM} step right before {', '.join(chosen)}"
    return _Edit(says, text._replace(draft={**text.draft, "steps": steps}))


def _windows(text: _Text, plan: Plan, grounds: Grounds) -> Iterator[_Edit]:
    """Move or make the window: as it was but shorter, from now on, and after each freeze."""
    needed_ms = (plan.timing.forward_s + plan.timing.rollback_s + SLACK_S) * 1000
    now_ms = grounds.now_ms - grounds.now_ms % MINUTE_MS + MINUTE_MS
    starts_ms = [] if plan.window is None else [max(now_ms, plan.window.start_ms)]
    starts_ms.append(now_ms)
    starts_ms += [freeze.end_s * 1000 for freeze in grounds.freezes[:MOST_FREEZES]]
    for start_ms in dict.fromkeys(starts_ms):
        start, end = _iso(start_ms), _iso(start_ms + needed_ms)
        ticket = {**text.ticket, "window": {"start": start, "end": end}}
        says = f"in the ticket: window: {{start: {start}, end: {end}}}"
        yield _Edit(says, text._replace(ticket=ticket))


def _normal(text: _Text) -> Iterator[_Edit]:
    if text.ticket.get("class", "normal") != "normal":
        ticket = {**text.ticket, "class": "normal"}
        yield _Edit("in the ticket: class: normal", text._replace(ticket=ticket))


def _fewer_targets(text: _Text, plan: Plan, catalog: Catalog) -> Iterator[_Edit]:
    names = list(dict.fromkeys(name for step in plan.steps for name in step.targets))
    for number in range(len(names) - 1, 0, -1):
        kept = names[:number]
        draft = _only(text.draft, plan, catalog, frozenset(kept))
        if draft is not None:
            shown = ", ".join(kept[:5]) + (", …" if number > 5 else "")
            says = f"in this ticket {number} of the {len(names)} targets ({shown}), the others next"
            yield _Edit(says, text._replace(draft=draft))


def _only(
    draft: dict[str, Any], plan: Plan, catalog: Catalog, kept: frozenset[str]
) -> dict[str, Any] | None:
    """Bind the draft to some of its targets; a step that loses all of them is left out."""
    draft = copy.deepcopy(draft)
    touched: dict[str, list[str]] = {}
    waves: dict[str, list[str]] = {}
    for planned in plan.steps:
        mine = [name for name in planned.targets if name in kept]
        touched.setdefault(planned.id.partition("@")[0], []).extend(mine)
        if planned.slot is not None:
            waves.setdefault(planned.slot.wave, []).extend(mine)
    for wave in draft.get("waves") or []:
        wave["targets"] = list(dict.fromkeys(waves.get(wave["id"], [])))
    gone = {step["id"] for step in draft["steps"] if not _bound(step, catalog, touched)}
    draft["steps"] = [step for step in draft["steps"] if step["id"] not in gone]
    for step in draft["steps"]:
        if "after" in step:
            step["after"] = [name for name in step["after"] if name not in gone]
    empty = any(not wave["targets"] for wave in draft.get("waves") or [])
    return None if empty or not draft["steps"] else draft


def _bound(step: dict[str, Any], catalog: Catalog, touched: dict[str, list[str]]) -> bool:
    """Bind a step that names its own targets; say whether any are left."""
    pinned = catalog.actors.get(step["actor"])
    param = pinned.spec.target_param if pinned else None
    if param is None or param not in step.get("params", {}):
        return True
    step["params"][param] = list(dict.fromkeys(touched.get(step["id"], [])))
    return bool(step["params"][param])


# --- small means ----------------------------------------------------------------------------------


def _text_of(run: Run) -> _Text | None:
    """Return ticket and draft as plain values; a run without a draft's text has none."""
    if run.draft is None:
        return None
    try:
        draft = read_yaml(run.draft, max_bytes=len(run.draft.encode()) + 1).value
    except UnreadableError:
        return None
    if not isinstance(draft, dict) or not isinstance(draft.get("steps"), list):
        return None
    ticket = run.ticket.model_dump(mode="json", by_alias=True)
    return _Text(ticket, draft)


def _iso(at_ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).isoformat()


def _key(denial: Denial) -> Key:
    return denial.rule, denial.finding


def _name(denial: Denial) -> str:
    return f"{denial.rule}.{denial.finding}" if denial.finding else denial.rule
