"""LangGraph's graphs with its SQLite checkpointer, which sets WAL itself.

With `durability="sync"` the checkpoint of one round is written before the next round begins: a
chain is a node that loops to itself, a fan-out one round of many sends, a layer one round.
"""

from __future__ import annotations

import asyncio
import operator
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from _shapes import LANES, report, sizes
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class State(TypedDict):
    """Small, so that what is measured is the engine and not its serializer."""

    n: int
    round: int
    done: Annotated[int, operator.add]


class Part(TypedDict):
    """What one of many steps is given."""

    n: int


async def step(state: State) -> dict[str, int]:
    """Do nothing, and hand a small value on."""
    return {"n": state["n"] + 1}


async def part(state: Part) -> dict[str, int]:
    """Do nothing, and be counted."""
    return {"done": 1 + 0 * state["n"]}


async def turn(state: State) -> dict[str, int]:
    """Open the next round of sends."""
    return {"round": state["round"] + 1}


def chain(steps: int) -> StateGraph[State, Any, Any, Any]:
    """One step after another."""
    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if state["n"] < steps else END)
    return graph


def rounds(count: int, width: int) -> StateGraph[State, Any, Any, Any]:
    """Some rounds of independent steps, each after the whole round before it."""

    def sends(state: State) -> list[Send] | str:
        if state["round"] > count:
            return END
        return [Send("part", {"n": number}) for number in range(width)]

    graph = StateGraph(State)
    graph.add_node("turn", turn)
    graph.add_node("part", part)
    graph.add_edge(START, "turn")
    graph.add_conditional_edges("turn", sends, ["part", END])
    graph.add_edge("part", "turn")
    return graph


async def measure(folder: Path, steps: int) -> None:
    """Run each shape once, on a fresh database each."""
    shapes = {
        "chain": chain(steps),
        "fan_out": rounds(1, steps),
        "layered": rounds(steps // LANES, LANES),
    }
    for name, graph in shapes.items():
        async with AsyncSqliteSaver.from_conn_string(str(folder / f"{name}.sqlite")) as saver:
            await saver.setup()
            workflow = graph.compile(checkpointer=saver)
            config = {
                "configurable": {"thread_id": "bench"},
                "max_concurrency": LANES,
                "recursion_limit": 3 * steps + 10,
            }
            begin: State = {"n": 0, "round": 0, "done": 0}
            start = time.perf_counter()
            end = await workflow.ainvoke(begin, config, durability="sync")
            seconds = time.perf_counter() - start
            if max(end["n"], end["done"]) != steps:
                raise SystemExit(f"{name} took {end} instead of {steps} steps")
            report(name, steps, seconds)


def main() -> int:
    """Measure in a fresh folder."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        asyncio.run(measure(Path(folder), sizes(sys.argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
