"""Every folder of examples/ does what it says: its commands, their exit codes, and their words.

`expected.txt` in each folder is a transcript: `$ command`, what was answered, `exit code N`. What
differs from day to day (instants, digests) stands as a name in angle brackets. After a change that
was meant, write them again with `pytest tests/test_examples.py --rewrite`, and review the diff.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from desk import ROOT, Desk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("examples")

EXAMPLES: Final = sorted(path.parent.name for path in ROOT.glob("examples/*/ticket.yaml"))
WRITTEN: Final = date(2026, 11, 20)
"""The day on which the examples' dates were some days ahead; they move with the clock."""
DAY: Final = re.compile(r"2026-11-\d\d")
CHANGES: Final = (
    (re.compile(r"^\d\d:\d\d:\d\d ", re.MULTILINE), "<time> "),
    (re.compile(r"20\d\d-\d\d-\d\d( \d\d:\d\d(:\d\d)?)? UTC"), "<instant>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<digest>"),
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk.fresh(tmp_path_factory.mktemp("examples"), "embedded")
    ahead = datetime.now(UTC).date() - WRITTEN
    for path in desk.root.glob("examples/*/*.yaml"):
        path.write_text(_moved(path.read_text(encoding="utf-8"), ahead), encoding="utf-8")
    return desk


def _moved(text: str, by: timedelta) -> str:
    return DAY.sub(lambda found: str(date.fromisoformat(found[0]) + by), text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_its_transcript_says(
    desk: Desk, name: str, request: pytest.FixtureRequest
) -> None:
    path = ROOT / "examples" / name / "expected.txt"
    expected = path.read_text(encoding="utf-8")
    shown = _lived(desk, re.findall(r"^\$ (.*)$", expected, re.MULTILINE))
    if request.config.getoption("--rewrite"):
        path.write_text(shown, encoding="utf-8")
    assert shown == expected or request.config.getoption("--rewrite")


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_a_readme_tells_people_to_type_is_what_the_transcript_typed(name: str) -> None:
    folder = ROOT / "examples" / name
    readme = re.findall(
        r"^    (interlock .*?) *(?:#.*)?$", _text(folder / "README.md"), re.MULTILINE
    )
    typed = re.findall(
        r"^\$ (interlock .*?)(?: --digest DIGEST)?$", _text(folder / "expected.txt"), re.MULTILINE
    )
    assert readme
    assert [line for line in readme if line not in typed] == []


def test_every_example_has_its_readme_and_its_transcript() -> None:
    assert EXAMPLES
    for name in EXAMPLES:
        there = {path.name for path in (ROOT / "examples" / name).iterdir()}
        assert {"README.md", "expected.txt", "draft.yaml"} <= there, name


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _lived(desk: Desk, commands: list[str]) -> str:
    """Type the commands one after the other, in a workspace without a past."""
    shutil.rmtree(desk.root / ".interlock", ignore_errors=True)
    lines: list[str] = []
    run = ""
    for command in commands:
        words = command.replace("RUN", run).split()
        if "DIGEST" in words:
            words[words.index("DIGEST")] = desk.digest(run)
        typed = desk.type(*words[1:])
        if words[1] == "plan":
            run = str(desk.type_inside("list", "--json").document["runs"][0]["run"])
        lines += [f"$ {command}", *_steady(typed.out), f"exit code {typed.code}", ""]
    return "\n".join(lines)


def _steady(text: str) -> list[str]:
    for pattern, name in CHANGES:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.xdist_group("demo")
def test_the_demo_shows_every_stage_and_all_end_as_they_should() -> None:
    """What `make demo` plays, which judges each stage by itself."""
    played = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo" / "play.py"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert played.returncode == 0, played.stdout[-2_000:] + played.stderr[-2_000:]
    assert "All stages ended as they should" in played.stdout
    assert re.findall(r"^── (\d)\.", played.stdout, re.MULTILINE) == list("123456789")
    assert "Traceback" not in played.stderr
