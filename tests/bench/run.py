"""Measure this engine, the disk and the peers in the same minutes; print the ratios between them.

1. Only ratios travel: figures alone say more about the machine. All are measured in one run.
2. Rounds are interleaved (disk, ours, each peer; and again), so that a slow minute hits all alike.
3. Each peer lives in its own environment, pinned to the last library, outside the checkout.
4. What cannot run is named in the table; it never counts as slow.

    python tests/bench/run.py [disk engine dbos langgraph prefect start compile approvals large
                               policy ansible step]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PEERS: Final = ("dbos", "langgraph", "prefect")
SHAPES: Final = ("chain", "fan_out", "layered")
OURS: Final = {"disk": "disk.py", "engine": "bench_engine.py"}
TABLES: Final = {
    "start": "bench_start.py",
    "compile": "bench_compile.py",
    "approvals": "bench_approvals.py",
    "large": "bench_large.py",
    "policy": "bench_policy.py",
    "ansible": "bench_ansible.py",
    "step": "bench_step.py",
}
"""Measure something that no peer has, and print their own table."""
LIMIT_S: Final = 900

Rates = dict[str, dict[str, list[float]]]
"""Name of the contender, then of the shape: steps per second, one figure a round."""


def main() -> int:
    """Measure, then print."""
    arguments = _arguments()
    names = arguments.names or [*OURS, *PEERS, *TABLES]
    contenders = {n: _command(n, quick=arguments.quick) for n in names if n not in TABLES}
    rates: Rates = defaultdict(lambda: defaultdict(list))
    failures: dict[str, str] = {}
    for turn in range(arguments.rounds if contenders else 0):
        for name, command in contenders.items():
            if name not in failures:
                print(f"round {turn + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                _measure(name, command, rates, failures)
    if contenders:
        _print_engines(rates, failures, rounds=arguments.rounds)
    for name in names:
        if name in TABLES and subprocess.run(_command(name), check=False).returncode != 0:
            failures[name] = "did not end well"
    return 1 if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Interlock, the disk and the peers.")
    known = [*OURS, *PEERS, *TABLES]
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; 5 or more count")
    parser.add_argument("--quick", action="store_true", help="fewer steps, to see that it works")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in known]
    if unknown or arguments.rounds < 1:
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "at least one round")
    return arguments


# --- measuring ----------------------------------------------------------------------------------


def _command(name: str, *, quick: bool = False) -> list[str]:
    more = ["--quick"] if quick else []
    if name in TABLES:
        return [sys.executable, str(HERE / TABLES[name])]
    if name in OURS:
        return [sys.executable, str(HERE / OURS[name]), *more]
    return [str(_environment(name)), str(HERE / "peers" / f"{name}_peer.py"), *more]


def _environment(name: str) -> Path:
    """Find or make the environment of a peer; its name holds the hash of its pins."""
    pins = HERE / "peers" / f"{name}.txt"
    mark = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "interlock-bench" / f"{name}-{mark}"
    python = place / "bin" / "python"
    done = place / "installed"
    if not done.exists():
        print(f"installing {name} into {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--requirement", str(pins)], check=True)
        done.touch()
    return python


def _measure(name: str, command: list[str], rates: Rates, failures: dict[str, str]) -> None:
    """Run one contender once, in a fresh folder; one JSON line per shape comes back."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "BENCH_DIR": folder},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            failures[name] = f"took longer than {LIMIT_S} s"
            return
    if done.returncode != 0:
        failures[name] = (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
        return
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            rates[name][found["bench"]].append(found["steps_per_s"])


# --- showing ------------------------------------------------------------------------------------


def _print_engines(rates: Rates, failures: dict[str, str], *, rounds: int) -> None:
    middle = {
        name: {shape: statistics.median(figures) for shape, figures in shapes.items()}
        for name, shapes in rates.items()
    }
    disk = middle.get("disk", {}).get("disk")
    ours = middle.get("engine", {})
    peers: dict[str, dict[str, float]] = {n: middle[n] for n in PEERS if n in middle}
    print(f"\nSteps per second, median of {rounds} interleaved rounds\n")
    _print_row("", *SHAPES)
    rows: dict[str, dict[str, float]] = {"interlock": ours, **peers}
    for name, shapes in rows.items():
        if shapes:
            _print_row(name, *(_number(shapes.get(shape)) for shape in SHAPES))
    if disk:
        _print_row("disk limit", _number(disk), "", "")
    print("\nRatios\n")
    _print_row("", *SHAPES)
    if ours and disk:
        _print_row("ours / disk limit", *(_ratio(ours.get(shape), disk) for shape in SHAPES))
    if ours and peers:
        best = {s: max(peers, key=lambda peer: peers[peer].get(s, 0.0)) for s in SHAPES}
        _print_row(
            "ours / best peer",
            *(f"{_ratio(ours.get(s), peers[best[s]].get(s))} ({best[s]})" for s in SHAPES),
        )
    _print_extras(rates, ours)
    for name, why in failures.items():
        print(f"{name} could not be measured: {why}")


def _print_extras(rates: Rates, ours: dict[str, float]) -> None:
    """Print what only our own side measures, and how far the rounds lay apart."""
    for shape, figure in ours.items():
        if shape not in SHAPES:
            _print_row(f"interlock {shape}", _number(figure), "", "")
    print("\nSpread (largest round / smallest)\n")
    for name, shapes in rates.items():
        spreads = (
            f"{shape} {max(figures) / min(figures):.2f}"
            for shape, figures in shapes.items()
            if min(figures) > 0
        )
        _print_row(name, ", ".join(spreads))


def _print_row(title: str, *cells: str) -> None:
    print(f"{title:<22}" + "".join(f"{cell:>22}" for cell in cells))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _ratio(value: float | None, of: float | None) -> str:
    return "-" if value is None or not of else f"{value / of:.2f}"


if __name__ == "__main__":
    sys.exit(main())
