"""Whether two plans are the same change: a digest blind to names and order of steps only.

1. Every step is coloured by what it says, references aside; colours are refined by the colours of
   the steps that it follows, that follow it, and that its references name, until nothing changes.
2. Steps of one colour are told apart one at a time; that they are alike makes the choice harmless.
3. The digest is taken over the whole plan, its steps numbered in the order of their colours. Plans
   with one digest are therefore the same but for names and order, however colours came about.
4. Where choices are too many, steps stand as the plan has them: then an equal plan may get another
   digest, but never another plan the same.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from orchestrator.pure.canonical import canonical, digest

if TYPE_CHECKING:
    from orchestrator.pure.model import Plan, PlanStep

__all__ = ["equivalence_digest", "said", "same_steps"]

MAX_CHOICES: Final = 64
BARE: Final = {"id", "after"}


class _Graph(NamedTuple):
    """The steps as numbers, with what ties them together."""

    bare: tuple[bytes, ...]
    """What each step says, without any step's name."""
    links: tuple[tuple[tuple[str, int], ...], ...]
    """For each step the steps that it names, and as what."""
    back: tuple[tuple[tuple[str, int], ...], ...]
    """The same from the other side."""


def equivalence_digest(plan: Plan) -> str:
    """Take the digest of a plan but for the names and the order of its steps."""
    return _digested(plan)[0]


def same_steps(plan: Plan, other: Plan) -> dict[str, str] | None:
    """Say which step of another plan each step is, by name; nothing if they are not equivalent."""
    digest_, order = _digested(plan)
    other_digest, other_order = _digested(other)
    if digest_ != other_digest:
        return None
    return {
        plan.steps[index].id: other.steps[place].id
        for index, place in zip(order, other_order, strict=True)
    }


def said(step: PlanStep) -> bytes:
    """Return what a step says, without any step's name."""
    return canonical(_bare(step))


def _digested(plan: Plan) -> tuple[str, list[int]]:
    graph = _graph(plan)
    order = _order(graph)
    number = {index: place for place, index in enumerate(order)}
    steps = [
        sha256(
            graph.bare[index]
            + canonical(sorted([name, number[other]] for name, other in graph.links[index]))
        ).hexdigest()
        for index in order
    ]
    head = plan.model_dump(mode="json", exclude={"steps", "locks"})
    locks = sorted(lock.model_dump_json() for lock in plan.locks)
    return digest({**head, "locks": locks, "steps": steps}), order


def _graph(plan: Plan) -> _Graph:
    place = {step.id: index for index, step in enumerate(plan.steps)}
    links = tuple(_links(step, place) for step in plan.steps)
    back: list[list[tuple[str, int]]] = [[] for _ in plan.steps]
    for index, named in enumerate(links):
        for name, other in named:
            back[other].append((name, index))
    bare = tuple(said(step) for step in plan.steps)
    return _Graph(bare, links, tuple(tuple(named) for named in back))


def _links(step: PlanStep, place: dict[str, int]) -> tuple[tuple[str, int], ...]:
    named = [("after", place[name]) for name in step.after]
    if step.when is not None:
        named.append(("when", place[step.when.output.rpartition(".")[0]]))
    named += [
        (f"param {param.name}", place[param.output.rpartition(".")[0]])
        for param in step.params
        if param.output is not None
    ]
    return tuple(named)


def _bare(step: PlanStep) -> dict[str, Any]:
    bare: dict[str, Any] = step.model_dump(mode="json", exclude=BARE)
    if step.when is not None:
        bare["when"]["output"] = step.when.output.rpartition(".")[2]
    for param in bare["params"]:
        if param["output"] is not None:
            param["output"] = param["output"].rpartition(".")[2]
    return bare


def _order(graph: _Graph) -> list[int]:
    colors = _refined(graph, _ranked([sha256(text).digest() for text in graph.bare]))
    for _ in range(MAX_CHOICES):
        twins = _twins(colors)
        if not twins:
            break
        marked = [color * 2 + 1 for color in colors]
        marked[twins[0]] -= 1
        colors = _refined(graph, _ranked([b"%020d" % color for color in marked]))
    return sorted(range(len(colors)), key=lambda index: (colors[index], index))


def _refined(graph: _Graph, colors: list[int]) -> list[int]:
    count = len(frozenset(colors))
    while count < len(colors):
        told = [
            canonical(
                [
                    colors[index],
                    sorted([name, colors[other]] for name, other in graph.links[index]),
                    sorted([name, colors[other]] for name, other in graph.back[index]),
                ]
            )
            for index in range(len(colors))
        ]
        # The old color leads, so that refining splits colors and never mixes them.
        finer = _ranked([b"%020d" % c + text for c, text in zip(colors, told, strict=True)])
        if len(frozenset(finer)) == count:
            return finer
        colors, count = finer, len(frozenset(finer))
    return colors


def _ranked(texts: list[bytes]) -> list[int]:
    rank = {text: number for number, text in enumerate(sorted(frozenset(texts)))}
    return [rank[text] for text in texts]


def _twins(colors: list[int]) -> list[int]:
    """Return the steps of the smallest color that several steps share."""
    members: dict[int, list[int]] = {}
    for index, color in enumerate(colors):
        members.setdefault(color, []).append(index)
    shared = [color for color in members if len(members[color]) > 1]
    return members[min(shared)] if shared else []
