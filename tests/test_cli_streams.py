"""Where the words go: pipes, streams that are closed or full, plain places, widths."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from desk import COMMAND, Desk

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.xdist_group("cli-streams")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.fresh(tmp_path_factory.mktemp("streams"))


@pytest.fixture(scope="module")
def run(desk: Desk) -> str:
    return desk.plan("examples/openssl-web-tier")


def _shell(desk: Desk, line: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=desk.root,
        env={**desk.env, "INTERLOCK": " ".join(COMMAND)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "a bug:" not in done.stderr
    return done


def test_a_reader_that_goes_away_changes_nothing(desk: Desk, run: str) -> None:
    for words in (f"show {run}", f"show {run} --json", "list", f"audit replay {run}"):
        done = _shell(desk, f"$INTERLOCK {words} | true")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    plan = "plan examples/basic-update/ticket.yaml -d examples/basic-update/draft.yaml"
    assert _shell(desk, f"$INTERLOCK {plan} 2>&1 | true").returncode == 4


def test_a_closed_stream_is_nobodys_harm(desk: Desk, run: str) -> None:
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        assert _shell(desk, f"$INTERLOCK show {run} {closed}").returncode == 0
    assert _shell(desk, "$INTERLOCK show nope >&- 2>&-").returncode == 2
    assert _shell(desk, f"$INTERLOCK audit verify {run}").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_answer_that_cannot_be_written_is_said_beside(desk: Desk, run: str) -> None:
    for words in (f"show {run}", f"show {run} --json"):
        done = _shell(desk, f"$INTERLOCK {words} >/dev/full")
        assert done.returncode == 7
        assert "could not be written" in done.stderr


POOR: Final[Mapping[str, dict[str, str | None]]] = {
    "C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin": {"PYTHONIOENCODING": "latin-1"},
    "no TERM": {"TERM": None},
    "dumb": {"TERM": "dumb"},
    "no home": {"HOME": None},
    "home is nowhere": {"HOME": "/nowhere"},
    "no names": {"USER": None, "LOGNAME": None, "LNAME": None, "USERNAME": None},
}


@pytest.mark.parametrize("env", POOR.values(), ids=POOR)
def test_a_poor_environment_is_enough(desk: Desk, run: str, env: dict[str, str | None]) -> None:
    assert run in desk.type("show", run, env=env, expect=0).out
    assert desk.type("show", run, "--json", env=env, expect=0).document["run"] == run


@pytest.mark.parametrize("columns", [20, 60, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_no_target_is_lost(
    desk: Desk, run: str, columns: int
) -> None:
    env: dict[str, str | None] = {"COLUMNS": str(columns)}
    for words in (("list",), ("status",), ("status", run), ("show", run, "--graph")):
        typed = desk.type(*words, env=env, expect=0)
        wide = [line for line in typed.out.splitlines() if len(line) > max(columns, 40)]
        assert not wide, wide[0]


def test_json_is_the_same_whatever_the_terminal(desk: Desk, run: str) -> None:
    plain = desk.type("show", run, "--json", expect=0).out
    narrow = desk.type("show", run, "--json", env={"COLUMNS": "20", "NO_COLOR": "1"}, expect=0).out
    assert json.loads(plain) == json.loads(narrow)
    assert "\x1b" not in plain
