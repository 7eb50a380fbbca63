"""Measures durable no-op steps through the real machine, driver and ledger.

Every event is chained and durable before it is acted on; the acts are in-process no-ops that return
a small value, as the peers' steps do. Prints one JSON line a bench: the median of several rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.spec import ActorSpec, Done, IntegerParam
from orchestrator.driver import Driver
from orchestrator.ledger import Ledger
from orchestrator.pure.events import Opened, Planned, StartRequested, Vetted
from orchestrator.pure.model import (
    Decision,
    Param,
    PinnedActor,
    Plan,
    PlanStep,
    Ticket,
    Timing,
)
from orchestrator.pure.run import opened
from orchestrator.session import clock_ms, collector_at_rest, folded, project
from orchestrator.supervise import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.pure.commands import Act, Diagnose, Propose, Vet
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Run

ZERO = "0" * 64
SPEC = ActorSpec(
    name="bench.noop",
    version="1.0.0",
    kind="rehearsal",
    summary="Does nothing",
    when_to_use="in benchmarks",
    when_not_to_use="anywhere else",
    effect="change",
    idempotent=True,
    undo="full",
    dry_run="none",
    params={"n": IntegerParam(type="integer", summary="n", minimum=0, maximum=10**9)},
    outputs={"n": IntegerParam(type="integer", summary="n", minimum=0, maximum=10**9)},
)


@dataclass(slots=True)
class NoOps:
    """Acts that are done as soon as they begin."""

    ready: list[Report] = field(default_factory=list)
    count: int = 0

    @property
    def under_way(self) -> int:
        """Count what has not been reported."""
        return len(self.ready)

    def begin(self, act: Act) -> None:
        """Do nothing, and put out a number, as a peer's step does."""
        self.count += 1
        self.ready.append(Report(act.step, act.verb, act.attempt, Done(outputs={"n": self.count})))

    def attach(self, act: Act) -> None:
        """Never needed: nothing is interrupted here."""
        raise NotImplementedError

    def reports(self, timeout_s: float) -> list[Report]:
        """Hand over what is done."""
        del timeout_s
        ready, self.ready = self.ready, []
        return ready

    def stop(self) -> None:
        """Have nothing to stop."""


@dataclass(slots=True)
class Outside:
    """A planner that hands in one plan, and a policy that allows it."""

    plan: Plan
    acts: NoOps

    def check(self, run: Run) -> None:
        """Find nothing changed."""

    def ask(self, command: Propose | Vet | Diagnose, run: Run, now_ms: int) -> Event:
        """Answer at once."""
        del command
        if run.plan is None:
            return Planned(at_ms=now_ms, plan=self.plan, plan_digest=ZERO)
        decision = Decision(outcome="allow", engine="bench", policy_digest=ZERO, input_digest=ZERO)
        return Vetted(at_ms=now_ms, plan_digest=run.plan_digest, decision=decision)


def chain(count: int) -> Plan:
    """Each step consumes the output of the one before it."""
    return _plan([_step(i, (i - 1,) if i else (), i - 1 if i else None) for i in range(count)], 1)


def fan_out(count: int) -> Plan:
    """One step, then all others at once, fifty at a time."""
    return _plan([_step(0, (), None), *(_step(i, (0,), 0) for i in range(1, count))], 50)


def layered(layers: int, width: int) -> Plan:
    """Layers of steps; each waits for the whole layer before it."""
    steps = []
    for layer in range(layers):
        before = tuple(range((layer - 1) * width, layer * width)) if layer else ()
        steps += [
            _step(layer * width + i, before, before[i] if before else None) for i in range(width)
        ]
    return _plan(steps, width)


def _step(number: int, before: tuple[int, ...], source: int | None) -> PlanStep:
    value: dict[str, Any] = {"value": number, "source": "draft"}
    if source is not None:
        value = {"output": f"s{source}.n", "source": "output"}
    return PlanStep(
        id=f"s{number}",
        actor="bench.noop",
        params=(Param(name="n", **value),),
        after=tuple(f"s{i}" for i in before),
    )


def _plan(steps: list[PlanStep], parallel: int) -> Plan:
    return Plan(
        ticket_digest=ZERO,
        environment="bench",
        catalog_digest=ZERO,
        inventory_digest=ZERO,
        actors={"bench.noop": PinnedActor(spec=SPEC, digest=ZERO)},
        steps=tuple(steps),
        on_window_close="finish",
        max_parallel=parallel,
        timing=Timing(forward_s=0, rollback_s=0),
    )


def timed(plan: Plan, folder: Path) -> tuple[float, float]:
    """Run a plan to its end; return the seconds of acting and of recovery (open, verify, fold)."""
    ticket = Ticket(id="BENCH-1", title="b", request="b", environment="bench", requester="ann")
    first = Opened(at_ms=clock_ms(), ticket=ticket, ticket_digest=ZERO, by="bob")
    path = folder / "ledger.db"
    acts = NoOps()
    with Ledger.open(path, create=True) as ledger:
        name = ledger.open_run(first, project(opened("new", first)))
        with ledger.writer(name, "bench") as writer:
            driver = Driver(
                run=folded(ledger, name),
                writer=writer,
                outside=Outside(plan, acts),
                clock_ms=clock_ms,
                project=project,
                asked=lambda _run, _now: ([], tuple(ask.id for ask in writer.asks())),
                changed=lambda _run, _events: None,
            )
            driver.drive()
            driver.record(
                [StartRequested(at_ms=clock_ms(), by="ann", plan_digest=driver.run.plan_digest)]
            )
            with collector_at_rest():
                begun = time.perf_counter()
                run = driver.drive()
            acting_s = time.perf_counter() - begun
    if run.phase != "succeeded" or acts.count != len(plan.steps):
        raise SystemExit(f"the bench did not succeed: {run.phase}")
    del run, driver
    gc.collect()
    begun = time.perf_counter()
    with Ledger.open(path) as ledger:
        again = folded(ledger, name)
    recovery_s = time.perf_counter() - begun
    if again.phase != "succeeded":
        raise SystemExit("the recovered run is another")
    return acting_s, recovery_s


def measure(name: str, make: Callable[[], Plan], rounds: int) -> None:
    """Print the median of several rounds of one bench."""
    figures = []
    plan = make()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            figures.append(timed(plan, Path(folder)))
    acting_s = statistics.median(figure[0] for figure in figures)
    steps = len(plan.steps)
    line = {
        "bench": name,
        "steps": steps,
        "steps_per_s": round(steps / acting_s),
        "us_per_step": round(acting_s / steps * 1e6, 1),
        "recovery_s": round(statistics.median(figure[1] for figure in figures), 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "rounds": rounds,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


BENCHES: dict[str, Callable[[], Plan]] = {
    "chain": lambda: chain(1_000),
    "fan_out": lambda: fan_out(1_000),
    "layered": lambda: layered(20, 50),
    "chain_100k": lambda: chain(100_000),
    "fan_out_100k": lambda: fan_out(100_000),
}


def main() -> None:
    """Measure the benches named, or the three that peers are compared with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["chain", "fan_out", "layered"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name in options.names:
        measure(name, BENCHES[name], options.rounds)


if __name__ == "__main__":
    main()
