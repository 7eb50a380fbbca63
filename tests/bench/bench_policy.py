"""How long a plan takes to be vetted, by size and engine, in how much memory.

Run: python tests/bench/bench_policy.py [largest number of steps]

A plan is what patching a fleet looks like: on every host drain, update, check and put back, with
another package for each of 20 roles. `facts` is making the document, `judge` a child's whole life:
start, load the rules, answer. The last line is the first vet of a fresh process.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.policy_bundle import read_bundle
from orchestrator.policy_engines import judge, opened
from orchestrator.pure.events import Opened
from orchestrator.pure.model import Catalog, Inventory, InventoryObject, Plan, Ticket
from orchestrator.pure.policy_facts import Surroundings, policy_input
from orchestrator.pure.run import opened as opened_run
from orchestrator.pure.state import shape_of
from orchestrator.settings import PolicySettings
from orchestrator.workspace import open_workspace

if TYPE_CHECKING:
    from orchestrator.pure.policy_input import PolicyInput
    from orchestrator.pure.state import Run

ROOT: Final = Path(__file__).parent.parent.parent
NOW_MS: Final = 1_795_568_400_000
ROLES: Final = 20
RACK: Final = 20
ACTS: Final = ("lb.member_drain", "linux.package_update", "http.health_check", "lb.member_enable")
SECONDS: Final = 300


def fleet(count: int, catalog: Catalog) -> tuple[Run, Inventory]:
    """Patch so many hosts that there are so many steps."""
    hosts = range(count // len(ACTS))
    objects = tuple(
        InventoryObject(
            name=f"host{host:06d}",
            environment="prod",
            groups=("linux", f"role{host % ROLES}"),
            labels={"rack": f"r{host // RACK}", "site": f"s{host % 5}"},
        )
        for host in hosts
    )
    ticket = Ticket(id="CHG-1", title="t", request="r", environment="prod", requester="ann")
    steps = [
        {
            "id": f"{actor.rpartition('.')[2]}-{host}",
            "actor": actor,
            "targets": (f"host{host:06d}",),
            "after": (f"{ACTS[place - 1].rpartition('.')[2]}-{host}",) if place else (),
            "params": ({"name": "package", "value": f"pkg{host % ROLES}", "source": "ticket"},)
            if place == 1
            else (),
        }
        for host in hosts
        for place, actor in enumerate(ACTS)
    ]
    plan = Plan.model_validate(
        {
            "ticket_digest": "7" * 64,
            "environment": "prod",
            "catalog_digest": catalog.digest,
            "inventory_digest": "5" * 64,
            "actors": {name: catalog.actors[name] for name in ACTS},
            "steps": tuple(steps),
            "on_window_close": "hold",
            "max_parallel": 50,
            "timing": {"forward_s": 600, "rollback_s": 600},
        }
    )
    event = Opened(at_ms=NOW_MS, ticket=ticket, ticket_digest="7" * 64, by="olga", draft="{}")
    run = opened_run("CHG-1.1", event)
    run = run._replace(plan=plan, plan_digest="4" * 64, shape=shape_of(plan))
    return run, Inventory(objects=objects)


def document(run: Run, inventory: Inventory, catalog: Catalog) -> PolicyInput:
    """Make what policy sees."""
    around = Surroundings(
        catalog=catalog,
        inventory=inventory,
        inventory_digest="5" * 64,
        holds=lambda _who, _role: True,
        roles=("operator",),
        zones={},
    )
    return policy_input(run, "plan", NOW_MS, around)


def measure(count: int, engine: str, catalog: Catalog) -> str:
    """Vet one plan, and say in one line what it took."""
    run, inventory = fleet(count, catalog)
    bundle = read_bundle(ROOT / "policies")
    settings = PolicySettings.model_validate({"engine": engine, "timeout_s": SECONDS})
    started, used = time.perf_counter(), _cpu_s()
    about = document(run, inventory, catalog)
    made = time.perf_counter()
    with opened(settings, bundle, {}) as asked:
        answer = judge(asked, bundle, about)
    ended = time.perf_counter()
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000
    return (
        f"{engine:9} {count:7} {len(about.plan.classes):8} {len(answer.findings):9} "
        f"{made - started:8.2f} {ended - made:8.2f} {_cpu_s() - used:7.2f} {mine:6} {child:6}"
    )


def _cpu_s() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


def first(count: int) -> list[float]:
    """Time a fresh process that vets one plan, from the import to the answer, rules proved."""
    code = (
        "import sys, time\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(ROOT)!r}]\n"
        "import bench_policy as b\n"
        "from pathlib import Path\n"
        "from orchestrator.policy_embedded import refuse_unportable\n"
        "from orchestrator.policy_engines import input_schema\n"
        "from orchestrator.policy_files import read_weights\n"
        "from orchestrator.policy_proof import refuse_unproved\n"
        "catalog = b.open_workspace(b.ROOT).catalog()[0]\n"
        f"run, inventory = b.fleet({count}, catalog)\n"
        "loaded, spent = time.perf_counter(), b._cpu_s()\n"
        "bundle = b.read_bundle(b.ROOT / 'policies')\n"
        "weights = read_weights(b.ROOT / 'policies', bundle.modules, ('prod', 'staging'))\n"
        "refuse_unportable(bundle, input_schema())\n"
        "refuse_unproved(b.ROOT / 'policies', bundle, weights.cards, Path(sys.argv[1]))\n"
        "settings = b.PolicySettings(engine='embedded')\n"
        "with b.opened(settings, bundle, {}) as engine:\n"
        "    b.judge(engine, bundle, b.document(run, inventory, catalog))\n"
        "print([time.perf_counter() - loaded, b._cpu_s() - spent])\n"
    )
    with tempfile.TemporaryDirectory() as state:
        figures = [
            subprocess.run(
                [sys.executable, "-c", code, state], check=True, capture_output=True, text=True
            ).stdout
            for _ in range(2)
        ]
    took: list[float] = json.loads(figures[-1])
    return took


def main() -> None:
    """Print one line for each engine and size; each in a process of its own, for its memory."""
    catalog = open_workspace(ROOT).catalog()[0]
    if len(sys.argv) == 3:
        print(measure(int(sys.argv[1]), sys.argv[2], catalog))
        return
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(
        f"{'engine':9} {'steps':>7} {'classes':>8} {'findings':>9} {'facts s':>8} {'judge s':>8} "
        f"{'cpu s':>7} {'MB':>6} {'child':>6}",
        flush=True,
    )
    for engine in ("embedded", *(("opa",) if shutil.which("opa") else ())):
        for count in (100, 1_000, 10_000, 100_000):
            if count <= largest:
                subprocess.run([sys.executable, __file__, str(count), engine], check=True)
    wall_s, cpu_s = first(100)
    print(f"first vet of a fresh process, rules proved before: {wall_s:.2f} s, cpu {cpu_s:.2f} s")


if __name__ == "__main__":
    main()
