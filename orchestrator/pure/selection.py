"""Rungs 2, 3 and 10: the actors a draft picks, the names it uses, and what cannot be undone.

1. The machine's own gates are actors too: `interlock.confirm` and `interlock.hold`; no catalog can
   replace them.
2. A name resolves exactly or not at all; the nearest one is offered, never taken.
3. What cannot be undone is accepted in so many words, and nothing else is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.spec import ChoiceParam, TextParam
from orchestrator.pure.draft import OutputRef
from orchestrator.pure.findings import Names, add, finding, listed, remove, replace
from orchestrator.pure.model import CONFIRM, HOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.spec import ActorSpec, OutputSpec, ParamSpec
    from orchestrator.pure.draft import Draft, DraftStep, Finding
    from orchestrator.pure.findings import Path
    from orchestrator.pure.model import Catalog, PinnedActor

__all__ = ["Traits", "actor_findings", "name_findings", "traits_of", "undo_findings"]


@dataclass(frozen=True, slots=True)
class Traits:
    """What the ladder asks again and again of one actor, looked up once."""

    spec: ActorSpec | None
    """Nothing for a gate, which the machine performs itself."""
    params: Mapping[str, ParamSpec]
    outputs: Mapping[str, OutputSpec]
    target: str | None
    object: str
    reads: frozenset[str]
    writes: frozenset[str]


def traits_of(draft: Draft, catalog: Catalog) -> dict[str, Traits]:
    """Look up each actor that the draft picks and the catalog has."""
    known = gates()
    for name in sorted({step.actor for step in draft.steps} - known.keys() & catalog.actors.keys()):
        known[name] = _traits(catalog.actors[name].spec)
    return known


def gates() -> dict[str, Traits]:
    """Declare the params of the machine's own gates."""
    text = TextParam(type="text", summary="what is asked", pattern=r"[^\n\t]+", max_length=500)
    expect = ChoiceParam(type="choice", summary="what must be typed", choices=("targets", "name"))
    until = TextParam(
        type="text",
        summary="when the run goes on",
        pattern=r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})",
        max_length=25,
    )
    nothing: frozenset[str] = frozenset()
    return {
        CONFIRM: Traits(None, {"text": text, "expect": expect}, {}, None, "", nothing, nothing),
        HOLD: Traits(None, {"until": until}, {}, None, "", nothing, nothing),
    }


def _traits(spec: ActorSpec) -> Traits:
    """An actor that declares no aspect touches the whole target: silence never means nothing."""
    target = spec.target_param
    param = spec.params.get(target) if target else None
    writes = spec.writes or (() if spec.effect == "read" else ("self",))
    reads = spec.reads or (("self",) if spec.effect == "read" else ())
    return Traits(
        spec=spec,
        params=spec.params,
        outputs=spec.outputs,
        target=target,
        object=param.object if param is not None and param.type == "targets" else "",
        reads=frozenset(reads),
        writes=frozenset(writes),
    )


# --- rung 2 -------------------------------------------------------------------------------------


def actor_findings(
    draft: Draft,
    catalog: Catalog,
    *,
    environment: str,
    evidence_required: bool,
    withheld: Mapping[str, str],
) -> Iterator[Finding]:
    """Rung 2: each actor exists, is switched on, allowed and offered here, and was tested."""
    machine = gates().keys()
    names = Names([*catalog.actors, *machine])
    trouble: dict[str, tuple[str, str] | None] = {}
    for place, step in enumerate(draft.steps):
        name = step.actor
        if name in machine:
            continue
        pinned = catalog.actors.get(name)
        path = ("steps", place, "actor")
        if pinned is None:
            yield _unknown_actor(name, names, path)
            continue
        if name not in trouble:
            proven = not evidence_required or catalog.evidence.get(name) == pinned.digest
            trouble[name] = _trouble_with(pinned, environment, proven=proven) or _not_offered(
                name, withheld
            )
        problem = trouble[name]
        if problem is not None:
            yield finding(*problem, path)


def _unknown_actor(name: str, names: Names, path: Path) -> Finding:
    near = names.nearest(name)
    hint = f"the nearest are {', '.join(near)}" if near else "see the catalog for those that exist"
    edit = replace(path, near[0], f"pick {near[0]}") if near else None
    return finding("R2-unknown-actor", f"there is no actor {name}; {hint}", path, edit=edit)


def _trouble_with(pinned: PinnedActor, environment: str, *, proven: bool) -> tuple[str, str] | None:
    spec = pinned.spec
    if not spec.enabled:
        return "R2-disabled-actor", f"the actor {spec.name} is switched off; pick another"
    if spec.environments and environment not in spec.environments:
        where = listed(spec.environments)
        says = f"the actor {spec.name} may be used in {where}, not in {environment}; pick another"
        return "R2-wrong-environment", says
    if not proven:
        says = (
            f"the actor {spec.name} has not passed its tests as it is now; test it, or pick another"
        )
        return "R2-no-evidence", says
    return None


def _not_offered(name: str, withheld: Mapping[str, str]) -> tuple[str, str] | None:
    if name not in withheld:
        return None
    return "R2-not-offered", f"policy does not offer {name} here: {withheld[name]}"


# --- rung 3 -------------------------------------------------------------------------------------


def name_findings(draft: Draft) -> Iterator[Finding]:
    """Rung 3: ids are unique, and every name that is used means something."""
    ids = {step.id for step in draft.steps}
    names = Names(ids)
    yield from _repeated_ids(draft, ids)
    for place, step in enumerate(draft.steps):
        if step.after:
            yield from _after_findings(step, place, ids, names)
        yield from _reference_findings(step, place, ids, names)
    yield from _wave_findings(draft)


def _repeated_ids(draft: Draft, ids: set[str]) -> Iterator[Finding]:
    if len(ids) == len(draft.steps):
        return
    seen: set[str] = set()
    for place, step in enumerate(draft.steps):
        if step.id in seen:
            free = f"{step.id[:50]}_{place}"
            path = ("steps", place, "id")
            edit = None if free in ids else replace(path, free, f"call it {free}")
            says = f"the id {step.id} is used twice; give this step another"
            yield finding("R3-duplicate-id", says, path, edit=edit)
        seen.add(step.id)


def _after_findings(step: DraftStep, place: int, ids: set[str], names: Names) -> Iterator[Finding]:
    seen: set[str] = set()
    for spot, name in enumerate(step.after):
        path = ("steps", place, "after", spot)
        if name not in ids:
            near = [one for one in names.nearest(name) if one != step.id and one not in step.after]
            edit = remove(path, f"do not wait for {name}")
            if near:
                edit = replace(path, near[0], f"wait for {near[0]}")
            says = f"{step.id} waits for {name}, which is not a step"
            yield finding("R3-unknown-after", says, path, edit=edit)
        elif name in seen:
            says = f"{step.id} names {name} twice in after"
            yield finding("R3-repeated-after", says, path, edit=remove(path, "name it once"))
        seen.add(name)


def _reference_findings(
    step: DraftStep, place: int, ids: set[str], names: Names
) -> Iterator[Finding]:
    for param, value in step.params.items():
        if isinstance(value, OutputRef) and value.output.partition(".")[0] not in ids:
            path: Path = ("steps", place, "params", param, "output")
            yield _unknown_source("R3-unknown-reference", value.output, path, names)
    if step.when is not None and step.when.output.partition(".")[0] not in ids:
        path = ("steps", place, "when", "output")
        yield _unknown_source("R3-unknown-condition", step.when.output, path, names)


def _unknown_source(code: str, output: str, path: Path, names: Names) -> Finding:
    source, _, name = output.partition(".")
    near = names.nearest(source)
    edit = replace(path, f"{near[0]}.{name}", f"refer to {near[0]}") if near else None
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    return finding(code, f"{output} refers to {source}, which is not a step{hint}", path, edit=edit)


def _wave_findings(draft: Draft) -> Iterator[Finding]:
    waves = [wave.id for wave in draft.waves]
    names, declared = Names(waves), set(waves)
    used = {step.wave for step in draft.steps}
    for place, step in enumerate(draft.steps):
        if step.wave is not None and step.wave not in declared:
            near = names.nearest(step.wave)
            path: Path = ("steps", place, "wave")
            edit = replace(path, near[0], f"join {near[0]}") if near else None
            says = f"{step.id} belongs to the wave {step.wave}, which is not declared"
            yield finding("R3-unknown-wave", says, path, edit=edit)
    count = Counter(waves)
    seen: set[str] = set()
    for place, wave in enumerate(waves):
        path = ("waves", place)
        if wave in seen:
            yield finding("R3-duplicate-wave", f"the wave {wave} is declared twice", (*path, "id"))
        elif wave not in used and count[wave] == 1:
            edit = remove(path, f"take the wave {wave} away")
            yield finding("R3-unused-wave", f"no step belongs to the wave {wave}", path, edit=edit)
        seen.add(wave)


# --- rung 10 ------------------------------------------------------------------------------------


def undo_findings(draft: Draft, traits: Mapping[str, Traits]) -> Iterator[Finding]:
    """Rung 10: a step that cannot be undone says that it is accepted; no other step does."""
    for place, step in enumerate(draft.steps):
        path = ("steps", place, "accept_no_undo")
        final = _is_final(traits[step.actor].spec)
        if final and not step.accept_no_undo:
            says = f"{step.id} ({step.actor}) cannot be undone; accept that, or pick another actor"
            accept = replace if "accept_no_undo" in step.model_fields_set else add
            edit = accept(path, value=True, says="accept that this step cannot be undone")
            yield finding("R10-no-undo", says, path, edit=edit)
        elif step.accept_no_undo and not final:
            says = f"{step.id} ({step.actor}) can be undone or changes nothing; waive nothing here"
            edit = remove(path, "do not waive the undoing")
            yield finding("R10-needless-acceptance", says, path, edit=edit)


def _is_final(spec: ActorSpec | None) -> bool:
    if spec is None or spec.effect == "read":
        return False
    return spec.undo == "none" or spec.point_of_no_return
