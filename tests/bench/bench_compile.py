"""How long compiling takes per step, how it grows, and what share the digest has.

Run: python tests/bench/bench_compile.py [largest number of steps] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from actors.spec import ActorSpec, IntegerParam, Retries, TargetsParam
from orchestrator.pure.compile import Document, Limits, compile_draft
from orchestrator.pure.model import Catalog, Inventory, InventoryObject, PinnedActor, Plan, Ticket
from orchestrator.session import collector_at_rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.strict import Json

LAYER = 50
ACTOR = "service.restart"


def layered(count: int) -> Json:
    """Layers of 50 steps; each step waits for two of the layer before, and touches one host."""
    steps = [
        {
            "id": f"s{number}",
            "actor": ACTOR,
            "params": {"hosts": [f"host{number % LAYER:06d}"], "grace_s": 10},
            "after": [
                f"s{number - number % LAYER - LAYER + other}"
                for other in {number % LAYER, (number + 1) % LAYER}
                if number >= LAYER
            ],
        }
        for number in range(count)
    ]
    return {"decision": "plan", "steps": steps}


def rolling(count: int) -> Json:
    """One wave of so many hosts, one host at a time."""
    steps = [{"id": "restart", "actor": ACTOR, "wave": "all", "params": {"grace_s": 10}}]
    return {"steps": steps, "waves": [{"id": "all", "targets": ["@every"], "size": 1}]}


def world(count: int, budget: int) -> tuple[Ticket, Catalog, Inventory]:
    """So many hosts, and one actor that disturbs them."""
    spec = ActorSpec(
        name=ACTOR,
        version="1.0.0",
        kind="rehearsal",
        summary="Restart a service.",
        when_to_use="When it must be restarted.",
        when_not_to_use="Otherwise.",
        effect="change",
        params={
            "hosts": TargetsParam(type="targets", summary="hosts"),
            "grace_s": IntegerParam(type="integer", summary="grace", minimum=0, maximum=60),
            "tries": IntegerParam(type="integer", summary="t", minimum=0, maximum=9, default=3),
        },
        writes=("service",),
        disturbs=True,
        idempotent=True,
        undo="full",
        dry_run="predicted",
        retries=Retries(maximum=1),
    )
    objects = tuple(
        InventoryObject(
            name=f"host{number:06d}",
            environment="prod",
            groups=("every",),
            labels={"rack": f"r{number // 20}"},
        )
        for number in range(count)
    )
    catalog = Catalog(digest="0" * 64, actors={ACTOR: PinnedActor(spec=spec, digest="1" * 64)})
    ticket = Ticket(id="CHG-1", title="t", request="r", environment="prod", requester="ann")
    budgets = ({"label": "rack", "maximum": budget},)
    return ticket, catalog, Inventory.model_validate({"objects": objects, "budgets": budgets})


def measure(draft: Json, hosts: int, budget: int) -> tuple[float, float]:
    """Return the seconds that compiling and the digest took."""
    ticket, catalog, inventory = world(hosts, budget)
    with collector_at_rest():  # as around every driver, which is who lets a draft be compiled
        started = time.perf_counter()
        plan = compile_draft(
            Document(draft), ticket=ticket, catalog=catalog, inventory=inventory, limits=Limits()
        )
        compiled = time.perf_counter()
        if not isinstance(plan, Plan):
            raise SystemExit(str(plan))
        plan.digest()
        return compiled - started, time.perf_counter() - compiled


def main() -> None:
    """Print one line for each shape and size: medians of rounds in which all take turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("largest", nargs="?", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sizes = [size for size in (1_000, 10_000, 100_000) if size <= arguments.largest]
    shapes: dict[str, Callable[[int], Json]] = {"layered": layered, "rolling": rolling}
    costs: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    measure(layered(1_000), LAYER, 20)  # the first is not counted: imports
    for _ in range(arguments.rounds):
        for name, shape in shapes.items():
            for size in sizes:
                hosts, budget = (LAYER, 20) if name == "layered" else (size, 1)
                costs[name, size].append(measure(shape(size), hosts, budget))
    head = ("shape", "steps", "compile us", "digest us", "s", "a step, beside 1,000")
    print("".join(f"{cell:>12}" for cell in head[:-1]), f"{head[-1]:>22}")
    for name in shapes:
        alone = 0.0
        for size in sizes:
            compiling, digesting = map(statistics.median, zip(*costs[name, size], strict=True))
            total = (compiling + digesting) / size
            alone = alone or total
            each = f"{compiling / size * 1e6:>12.1f}{digesting / size * 1e6:>12.1f}"
            print(f"{name:>12}{size:>12}{each}{total * size:>12.2f} {total / alone:>22.2f}")


if __name__ == "__main__":
    main()
