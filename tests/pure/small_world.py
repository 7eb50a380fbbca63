"""The small world in which drafts are compiled by the tests; see cases/world.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from actors.spec import ActorSpec
from orchestrator.pure.compile import Document, Limits, compile_draft
from orchestrator.pure.model import Catalog, Inventory, Plan, Ticket

if TYPE_CHECKING:
    from orchestrator.pure.draft import Finding, Question, Refusal

CASES = Path(__file__).parent / "cases"


@cache
def world() -> dict[str, Any]:
    """The small world of every case."""
    return dict(yaml.safe_load((CASES / "world.yaml").read_text()))


def tuples(value: Any) -> Any:
    """Lists as the frozen nouns want them."""
    if isinstance(value, dict):
        return {key: tuples(inner) for key, inner in value.items()}
    return tuple(tuples(inner) for inner in value) if isinstance(value, list) else value


@cache
def catalog() -> Catalog:
    """Every actor of the small world, each with evidence unless it is untested."""
    actors = {}
    for number, (name, fields) in enumerate(world()["actors"].items()):
        spec = ActorSpec.model_validate(tuples({**world()["defaults"], "name": name, **fields}))
        actors[name] = {"spec": spec, "digest": f"{number:064x}"}
    tested = {n: pinned["digest"] for n, pinned in actors.items() if n not in world()["untested"]}
    return Catalog.model_validate({"digest": "c" * 64, "actors": actors, "evidence": tested})


@cache
def inventory() -> Inventory:
    """All that can be touched in the small world."""
    return Inventory.model_validate(tuples(world()["inventory"]))


def ticket(**changes: Any) -> Ticket:
    """The ticket of every case, but for some fields."""
    return Ticket.model_validate(tuples({**world()["ticket"], **changes}))


def compiled(
    draft: Any,
    *,
    limits: Limits | None = None,
    lines: Any = None,
    things: Inventory | None = None,
    **changes: Any,
) -> Plan | Refusal | Question | tuple[Finding, ...]:
    """Compile in the small world."""
    return compile_draft(
        Document(draft, lines or {}),
        ticket=ticket(**changes),
        catalog=catalog(),
        inventory=things or inventory(),
        limits=limits or Limits(),
    )
