"""Step classes: a plan of any size, told in as many words as it has different steps.

1. Steps are one class when they differ in nothing but name, targets and neighbours. A rule that
   judges a class therefore judges each of its steps.
2. What a step may say of its own targets is replaced by a placeholder first.
3. What needs the graph is proved here and becomes part of the class; what cannot be proved is not
   so.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

from actors.spec import SecretRef
from orchestrator.pure.graph import Order
from orchestrator.pure.model import Confirm
from orchestrator.pure.policy_input import REDACTED, TARGET, ParamFacts, StepClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.spec import ActorSpec, Value
    from orchestrator.pure.model import InventoryObject, Param, PlanStep
    from orchestrator.pure.state import Shape

__all__ = ["step_classes"]

SAMPLE: Final = 5
NEAREST: Final = 20
"""How many steps on the same target are looked at on each side."""
SECRET_NAME: Final = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|token|credential|credentials|private_key|api_key"
    r"|access_key)(_|$)"
)
SECRET_VALUE: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|^(ghp|gho|glpat|xox[abp])[-_]|^AKIA[0-9A-Z]{16}$"
    r"|^eyJ[\w\-]+\.eyJ"
)
REFERENCE: Final = re.compile(r"^(vault|sops|env|k8s|file|secret):[A-Za-z0-9_./@#\-]+$")


K = TypeVar("K", int, tuple[int, str])


class _Sides(NamedTuple):
    """What is certain about a step's neighbours on its own targets."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    checked: bool = False


class _Places(NamedTuple):
    """Where the targets of a step are."""

    groups: tuple[str, ...]
    """What all of them belong to."""
    touches: tuple[str, ...]
    """What any of them belongs to."""
    environments: tuple[str, ...]


class _Key(NamedTuple):
    """All that the steps of a class share."""

    actor: str
    gate: str
    params: tuple[tuple[object, ...], ...]
    conditional: bool
    places: _Places
    wave: str | None
    sides: _Sides
    confirmed: bool


def step_classes(
    shape: Shape, objects: Mapping[str, InventoryObject], said: frozenset[Value | SecretRef]
) -> tuple[StepClass, ...]:
    """Sort the steps into classes; `said` is what the ticket sets in so many words."""
    sides, confirmed = _sides(shape), _confirmed(shape)
    members: dict[_Key, list[int]] = {}
    alone = _Sides()
    places: dict[tuple[str, ...], _Places] = {}
    for index, step in enumerate(shape.steps):
        if step.targets not in places:
            places[step.targets] = _places(step, objects)
        place = places[step.targets]
        side = sides.get(index, alone)
        key = _Key(
            step.actor,
            "none" if step.gate is None else step.gate.gate,
            tuple([_param_key(param, step, shape) for param in step.params]),
            step.when is not None,
            place,
            step.slot.wave if step.slot else None,
            side,
            confirmed[index],
        )
        members.setdefault(key, []).append(index)
    return tuple(
        _class(f"c{number}", key, indices, shape, said)
        for number, (key, indices) in enumerate(members.items())
    )


def _class(
    name: str, key: _Key, indices: Sequence[int], shape: Shape, said: frozenset[Value | SecretRef]
) -> StepClass:
    first, spec = shape.steps[indices[0]], shape.specs[indices[0]]
    wide = [len(shape.steps[index].targets) for index in indices]
    return StepClass(
        id=name,
        count=len(indices),
        sample=tuple(shape.steps[index].id for index in indices[:SAMPLE]),
        actor=key.actor,
        gate="none" if first.gate is None else first.gate.gate,
        effect=spec.effect if spec else "none",
        undo=spec.undo if spec else "full",
        point_of_no_return=spec is not None and spec.point_of_no_return,
        disturbs=spec is not None and spec.disturbs,
        conditional=key.conditional,
        params={p.name: _param(p, first, spec, shape, said) for p in first.params},
        groups=dict.fromkeys(key.places.groups, True),
        touches=dict.fromkeys(key.places.touches, True),
        environments=dict.fromkeys(key.places.environments, True),
        targets=sum(wide),
        widest=max(wide),
        wave=key.wave,
        before=dict.fromkeys(key.sides.before, True),
        after=dict.fromkeys(key.sides.after, True),
        confirmed=key.confirmed,
        checked=key.sides.checked,
    )


def _places(step: PlanStep, objects: Mapping[str, InventoryObject]) -> _Places:
    found = [objects[name] for name in step.targets if name in objects]
    if not found:
        return _Places((), (), ())
    groups = [frozenset(thing.groups) for thing in found]
    return _Places(
        groups=tuple(sorted(groups[0].intersection(*groups[1:]))),
        touches=tuple(sorted(groups[0].union(*groups[1:]))),
        environments=tuple(sorted({thing.environment for thing in found})),
    )


# --- params ---------------------------------------------------------------------------------------


def _param_key(param: Param, step: PlanStep, shape: Shape) -> tuple[object, ...]:
    # `True == 1`: the type is part of the key.
    value = _shown(param, step)
    kinds = tuple(type(one) for one in value) if isinstance(value, tuple) else type(value)
    return (param.name, kinds, value, _output(param, shape), param.source)


def _shown(param: Param, step: PlanStep) -> Value | None:
    """Return a value with the names of the step's own targets taken out."""
    value = param.value
    if isinstance(value, SecretRef):
        return f"secret:{value.secret}"
    if not step.targets:
        return value
    if isinstance(value, tuple):
        if value == step.targets:
            return (TARGET,)
        own = frozenset(step.targets)
        return tuple(TARGET if one in own else one for one in value)
    return TARGET if value in step.targets else value


def _output(param: Param, shape: Shape) -> str | None:
    if param.output is None:
        return None
    name, _, output = param.output.rpartition(".")
    return f"{shape.steps[shape.place[name]].actor}.{output}"


def _param(
    param: Param,
    step: PlanStep,
    spec: ActorSpec | None,
    shape: Shape,
    said: frozenset[Value | SecretRef],
) -> ParamFacts:
    value = _shown(param, step)
    kind = _secrecy(param)
    return ParamFacts(
        value=REDACTED if kind == "literal" else value,
        output=_output(param, shape),
        source=param.source,
        grounded=param.source != "draft" or param.value in said,
        secret=kind,
        names_targets=spec is not None and spec.target_param == param.name,
    )


def _secrecy(param: Param) -> Literal["none", "reference", "literal"]:
    if isinstance(param.value, SecretRef):
        return "reference"
    values = param.value if isinstance(param.value, tuple) else (param.value,)
    texts = [value for value in values if isinstance(value, str)]
    if any(SECRET_VALUE.search(text) for text in texts):
        return "literal"
    if not texts or not SECRET_NAME.search(param.name):
        return "none"
    return "reference" if all(map(REFERENCE.fullmatch, texts)) else "literal"


# --- the graph ------------------------------------------------------------------------------------


def _confirmed(shape: Shape) -> list[bool]:
    """Say of each step whether a person's answer comes before it."""
    confirmed: list[bool] = []
    for earlier in shape.before:
        confirmed.append(
            any(confirmed[one] or isinstance(shape.steps[one].gate, Confirm) for one in earlier)
        )
    return confirmed


@dataclass(slots=True)
class _Tally:
    """How many of a step's targets have what on either side."""

    order: Order
    proved: dict[tuple[int, int], bool] = field(default_factory=dict)
    before: dict[tuple[int, str], int] = field(default_factory=dict)
    after: dict[tuple[int, str], int] = field(default_factory=dict)
    checked: dict[int, int] = field(default_factory=dict)

    def follows(self, first: int, second: int) -> bool:
        """Say whether the second surely comes after the first; each pair is proved once."""
        pair = (first, second)
        if pair not in self.proved:
            self.proved[pair] = self.order.proves(first, second) is True
        return self.proved[pair]


def _sides(shape: Shape) -> dict[int, _Sides]:
    """Prove who acts earlier and later on all targets of each step."""
    sets: dict[tuple[str, ...], list[int]] = {}
    for index, step in enumerate(shape.steps):
        if step.targets:
            sets.setdefault(step.targets, []).append(index)
    sharing = Counter(name for targets in sets for name in targets)
    chains: dict[tuple[str, ...], tuple[_Sides, ...]] = {}
    sides: dict[int, _Sides] = {}
    tangled: dict[str, list[int]] = {}
    for targets, indices in sets.items():
        if all(sharing[name] == 1 for name in targets) and _is_chain(shape, indices):
            actors = tuple(shape.steps[index].actor for index in indices)
            if actors not in chains:
                chains[actors] = _along(shape, indices)
            sides.update(zip(indices, chains[actors], strict=True))
        else:
            for name in targets:
                tangled.setdefault(name, []).extend(indices)
    return {**sides, **_proved(shape, tangled)}


def _is_chain(shape: Shape, indices: Sequence[int]) -> bool:
    """Say whether each step waits for the one before it, none is skipped, and all share a slot."""
    first = shape.steps[indices[0]]
    if first.when is not None or len(indices) > NEAREST:
        return False
    for earlier, index in pairwise(indices):
        step = shape.steps[index]
        if step.when is not None or step.slot != first.slot or earlier not in shape.before[index]:
            return False
    return True


def _along(shape: Shape, indices: Sequence[int]) -> tuple[_Sides, ...]:
    """Say what is certain along a chain; it depends on the actors alone."""
    actors = [shape.steps[index].actor for index in indices]
    reads = [_reads(shape, index) for index in indices]
    return tuple(
        _Sides(
            before=tuple(sorted(frozenset(actors[:place]))),
            after=tuple(sorted(frozenset(actors[place + 1 :]))),
            checked=any(reads[place + 1 :]),
        )
        for place in range(len(indices))
    )


def _proved(shape: Shape, tangled: Mapping[str, list[int]]) -> dict[int, _Sides]:
    """Prove it pair by pair, target by target."""
    if not tangled:
        return {}
    tally = _Tally(Order(shape.before, shape.slots))
    for indices in tangled.values():
        _count(shape, sorted(indices), tally)
    before, after = _covering(shape, tally.before), _covering(shape, tally.after)
    return {
        index: _Sides(
            before=tuple(before.get(index, ())),
            after=tuple(after.get(index, ())),
            checked=tally.checked.get(index, 0) == len(shape.steps[index].targets),
        )
        for index in sorted({index for indices in tangled.values() for index in indices})
    }


def _covering(shape: Shape, counts: Mapping[tuple[int, str], int]) -> dict[int, list[str]]:
    """Name for each step the actors that were counted on every one of its targets."""
    found: dict[int, list[str]] = {}
    for (index, actor), count in sorted(counts.items()):
        if count == len(shape.steps[index].targets):
            found.setdefault(index, []).append(actor)
    return found


def _count(shape: Shape, indices: Sequence[int], tally: _Tally) -> None:
    """Count, for the steps on one target, whom it has on either side, each actor once."""
    before: set[tuple[int, str]] = set()
    after: set[tuple[int, str]] = set()
    checked: set[int] = set()
    for place, second in enumerate(indices):
        for first in indices[max(0, place - NEAREST) : place]:
            if tally.follows(first, second):
                one, other = shape.steps[first], shape.steps[second]
                if one.when in (None, other.when):
                    before.add((second, one.actor))
                if other.when in (None, one.when):
                    after.add((first, other.actor))
                    if _reads(shape, second) and one.slot == other.slot:
                        checked.add(first)
    _add(tally.before, before)
    _add(tally.after, after)
    _add(tally.checked, checked)


def _add(counts: dict[K, int], found: set[K]) -> None:
    for key in sorted(found):
        counts[key] = counts.get(key, 0) + 1


def _reads(shape: Shape, index: int) -> bool:
    spec = shape.specs[index]
    return spec is not None and spec.effect == "read"
