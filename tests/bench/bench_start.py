"""How long the command takes to start, as a multiple of the least that typer and Python need.

bare      a typer app with two empty verbs, `--help`
help      `interlock --help`
status    `interlock status` in a workspace with many runs
python    `python -c pass`: what nothing at all costs
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
WATCHED: Final = (
    "ansible_runner",
    "apsw",
    "asyncio",
    "immutables",
    "kubernetes",
    "openai",
    "orchestrator.pure",
    "pydantic",
    "rfc8785",
    "rich",
    "typer",
    "yaml",
)
BARE: Final = """
import typer
app = typer.Typer()
@app.command()
def one() -> None: ...
@app.command()
def two() -> None: ...
app()
"""
INTERLOCK: Final = "import sys; from orchestrator.cli import main; sys.exit(main())"
DRAW_UP: Final = ROOT / "tests" / "bench" / "fill_ledger.py"


def main() -> int:
    """Interleave the rounds, then print medians, ratios and what was loaded."""
    arguments = _arguments()
    runs = 50 if arguments.quick else 1000
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        workspace = Path(folder) / "workspace"
        commands = {
            "python": ["-c", "pass"],
            "bare": ["-c", BARE, "--help"],
            "help": ["-c", INTERLOCK, "--help"],
        }
        if _made(workspace, runs):
            commands["status"] = ["-c", INTERLOCK, "status"]
        else:
            workspace.mkdir(exist_ok=True)
        seconds = _measure(commands, workspace, max(arguments.rounds, 5))
        _print_times(seconds, runs)
        for name in ("help", "status"):
            if name in commands:
                _print_loaded(name, commands[name], workspace)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how long the command takes to start.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def _run(command: list[str], workspace: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _made(workspace: Path, runs: int) -> bool:
    """Make a workspace whose ledger holds many runs, or say why not."""
    for command in (
        ["-c", INTERLOCK, "init", str(workspace)],
        [str(DRAW_UP), str(workspace), str(runs)],
    ):
        done = _run(command)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no word"])[-1]
            print(f"status is not measured: {Path(command[0]).name} said: {why}")
            return False
    return True


def _measure(
    commands: dict[str, list[str]], workspace: Path, rounds: int
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for name, command in commands.items():
        done = _run(command, workspace)  # writes the bytecode, and is not counted
        if done.returncode != 0:
            raise SystemExit(f"{name} does not run: {done.stderr.strip()}")
    for _ in range(rounds * 3):
        for name, command in commands.items():
            start = time.perf_counter()
            _run(command, workspace)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _print_times(seconds: dict[str, list[float]], runs: int) -> None:
    middle = {name: statistics.median(figures) for name, figures in seconds.items()}
    starts = len(seconds["bare"])
    print(f"\nStart, median of {starts} interleaved starts; {runs} runs in the ledger\n")
    for name, figure in middle.items():
        print(f"{name:<10}{figure * 1000:>8.1f} ms{figure / middle['bare']:>8.2f} x bare typer app")


def _print_loaded(name: str, command: list[str], workspace: Path) -> None:
    """List the heavy modules that a start loads, with what each costs, by `-X importtime`."""
    trace = _run(["-X", "importtime", *command], workspace).stderr
    modules: dict[str, int] = {}
    for line in trace.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[1].strip().isdigit():
            modules[parts[2].strip()] = int(parts[1])
    print(f"\n{name} loads {len(modules)} modules; heavy ones:")
    for watched in WATCHED:
        if watched in modules:
            print(f"    {watched:<20}{modules[watched] / 1000:>8.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
