"""Starting is a feature: `--help` and `status` load no library that they do not need.

What is counted is modules, never milliseconds: a count is the same on every machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
BASIC: Final = "examples/basic-update"
RUN: Final = "CHG-1001.1"
HEAVY: Final = frozenset(
    {
        "ansible",
        "ansible_runner",
        "immutables",
        "kubernetes",
        "opa_client",
        "openai",
        "pydantic",
        "pydantic_core",
        "regopy",
        "rfc8785",
        "temporalio",
        "yaml",
    }
)
# Runs the command, then writes down what Python has loaded; typer leaves by SystemExit.
PROBE: Final = """
import json, sys
seen, sys.argv = sys.argv[1], ["interlock", *sys.argv[2:]]
code = 0
try:
    from orchestrator.cli import main
    code = main()
except SystemExit as end:
    code = end.code
with open(seen, "w") as file:
    json.dump(sorted(sys.modules), file)
sys.exit(code)
"""
BARE: Final = """
import json, sys, typer
app = typer.Typer()
for verb in ("one", "two"):
    app.command(verb)(lambda: None)
seen, sys.argv = sys.argv[1], ["bare", "--help"]
try:
    app()
except SystemExit:
    pass
with open(seen, "w") as file:
    json.dump(sorted(sys.modules), file)
"""


def _loaded(
    tmp_path: Path, program: str, *arguments: str, cwd: Path | None = None, code: int = 0
) -> set[str]:
    seen = tmp_path / "seen.json"
    done = subprocess.run(
        [sys.executable, "-c", program, str(seen), *arguments],
        cwd=cwd or tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return set(json.loads(seen.read_text()))


def _heavy(loaded: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in loaded} & HEAVY


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace in which something was planned: there is a ledger to open."""
    place = tmp_path / "workspace"
    _loaded(tmp_path, PROBE, "init", str(place))
    settings = place / "interlock.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("engine: embedded", "engine: builtin"), encoding="utf-8")
    planned = ("plan", f"{BASIC}/ticket.yaml", "-d", f"{BASIC}/draft.yaml")
    assert _heavy(_loaded(tmp_path, PROBE, *planned, cwd=place, code=4)), "planning takes much"
    return place


def test_help_loads_no_heavy_library(tmp_path: Path) -> None:
    assert _heavy(_loaded(tmp_path, PROBE, "--help")) == set()


def test_help_loads_hardly_more_than_the_library_that_prints_it(tmp_path: Path) -> None:
    more = _loaded(tmp_path, PROBE, "--help") - _loaded(tmp_path, BARE)
    foreign = {module for module in more if not module.startswith("orchestrator")}
    assert not any(module.startswith("orchestrator.pure.") for module in more)
    assert len(foreign) <= 10, sorted(foreign)


@pytest.mark.parametrize("words", [("status",), ("list",), ("status", RUN)], ids=" ".join)
def test_looking_at_runs_loads_no_heavy_library(
    tmp_path: Path, workspace: Path, words: tuple[str, ...]
) -> None:
    loaded = _loaded(tmp_path, PROBE, *words, cwd=workspace)
    assert "apsw" in loaded, "the ledger was opened"
    assert _heavy(loaded) == set()
