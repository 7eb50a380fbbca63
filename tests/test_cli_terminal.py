"""What is asked at a terminal, and what ^C does there; each test has a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Final

import pytest

from desk import COMMAND, Desk, Typed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("cli-terminal")

PATIENCE_S: Final = 60.0
ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ASKS: Final = "type the number of targets"


class Terminal:
    """A command with a terminal on all three streams, which are read until it says a word."""

    def __init__(self, desk: Desk, *words: str) -> None:
        self.words = words
        self.shown = ""
        self._mine, its = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=desk.root,
            env={**desk.env, "TERM": "xterm-256color"},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - its own terminal, for ^C
        )
        os.close(its)

    def until(self, word: str) -> str:
        """Read until a word is shown."""
        begun = time.monotonic()
        while word not in ESCAPES.sub("", self.shown):
            assert time.monotonic() - begun < PATIENCE_S, f"{word!r} never came\n{self.shown}"
            assert self._more(), f"it ended before {word!r}\n{self.shown}"
        return self.shown

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._mine, keys.encode())

    def end(self) -> Typed:
        """Read all that is still shown, and wait for the end."""
        while self._more():
            pass
        os.close(self._mine)
        typed = Typed(self.process.wait(PATIENCE_S), self.shown, "")
        assert "Traceback" not in typed.out, typed.out
        return typed

    def _more(self) -> bool:
        ready, _, _ = select.select([self._mine], [], [], PATIENCE_S)
        try:
            read = os.read(self._mine, 65_536) if ready else b""
        except OSError:  # the other end is closed
            return False
        self.shown += read.decode("utf-8", "replace")
        return bool(read)


def _own_terminal() -> None:
    # Whoever runs tests in the background has them ignore ^C; who sits at a terminal does not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.fresh(tmp_path_factory.mktemp("terminal"))


@pytest.fixture
def run(desk: Desk) -> Iterator[str]:
    name = desk.plan()
    yield name
    desk.type_inside("cancel", name)


def _events(desk: Desk, run: str) -> int:
    return int(desk.type_inside("status", run, "--json", expect=0).document["seq"])


def test_whoever_types_the_number_of_targets_has_approved(desk: Desk, run: str) -> None:
    terminal = Terminal(desk, "approve", run, "--as", "jonas.weber")
    assert "RISK" in terminal.until(ASKS), "the plan is shown before it is asked about"
    terminal.press("2\n")
    typed = terminal.end()
    assert typed.code == 0
    assert "approved" in typed.out


@pytest.mark.parametrize("keys", ["3\n", "yes\n", "\n", "\x04"], ids=["3", "yes", "enter", "EOF"])
def test_any_other_answer_records_nothing(desk: Desk, run: str, keys: str) -> None:
    before = _events(desk, run)
    terminal = Terminal(desk, "approve", run, "--as", "jonas.weber")
    terminal.until(ASKS)
    terminal.press(keys)
    typed = terminal.end()
    assert typed.code == 2
    assert "nothing was recorded" in typed.out
    assert _events(desk, run) == before


def test_a_person_who_presses_control_c_instead_has_not_approved(desk: Desk, run: str) -> None:
    before = _events(desk, run)
    terminal = Terminal(desk, "approve", run, "--as", "jonas.weber")
    terminal.until(ASKS)
    # A signal between the question and the wait for its answer is not seen before the next key.
    begun = time.monotonic()
    while terminal.process.poll() is None:
        assert time.monotonic() - begun < PATIENCE_S, "^C is not heard"
        terminal.press("\x03")
        time.sleep(0.2)
    # Whoever presses it once more while Python is ending dies of it: that is no approval either.
    assert terminal.end().code in (130, -signal.SIGINT)
    assert _events(desk, run) == before


def test_control_c_lets_what_is_under_way_settle_and_resume_goes_on(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 1_500)
    run = desk.approved()
    terminal = Terminal(desk, "run", run)
    terminal.until("update  apply")
    terminal.press("\x03")
    terminal.until("stopping")
    typed = terminal.end()
    assert typed.code == 4
    assert f"interlock resume {run}" in typed.out
    stands = desk.type_inside("status", run, expect=0).out
    assert f"interlock resume {run}  " in stands
    assert f"interlock watch {run}" not in stands
    document = desk.type_inside("show", run, "--json", expect=0).document
    assert document["progress"]["states"]["update"]["phase"] == "succeeded"
    assert document["progress"]["states"]["look"]["applies"] == 0
    desk.type("resume", run, expect=0)


def test_control_c_twice_stops_the_acts(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 30_000)
    run = desk.approved()
    terminal = Terminal(desk, "run", run)
    terminal.until("update  apply")
    terminal.press("\x03")
    terminal.until("^C again stops the acts")
    terminal.press("\x03")
    typed = terminal.end()
    assert "stopping the acts" in typed.out
    said = " ".join(ESCAPES.sub("", typed.out).split())
    assert "which may turn the run round for good" in said
    desk.type("cancel", run, expect=5)


def test_a_run_is_paused_and_resumed_from_another_terminal(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 25_000)
    run = desk.approved()
    driver = Terminal(desk, "run", run)
    driver.until("update  apply")
    busy = desk.type("run", run, expect=7)
    assert "already driven by operator, process" in busy.err
    paused = desk.type("pause", run, expect=4)
    assert "asked it to pause: it was heard" in paused.err
    assert f"interlock resume {run}" in paused.out
    resumed = desk.type("resume", run)
    assert resumed.code in (0, 4)
    watched = desk.type("watch", run)
    assert watched.code in (0, 4)
    driver.end()
    desk.type("resume", run, expect=0)


def test_who_comes_late_is_told_what_the_driver_is_told(desk: Desk) -> None:
    desk.slow_down("linux.package_update", 60_000)
    run = desk.approved()
    driver = Terminal(desk, "run", run)
    driver.until("update  apply")
    watching = Terminal(desk, "watch", run)
    watching.until(", expected ")
    watching.press("\x03")
    watching.end()
    driven = desk.type_inside("status", run, expect=0).out
    assert f"interlock watch {run}" in driven
    assert f"interlock resume {run}" not in driven
    busy = desk.type_inside("run", run, expect=7)
    assert f"interlock watch {run}" in busy.err
    seq = _events(desk, run)
    idle = desk.type_inside("resume", run, expect=4)
    assert "there is nothing to resume" in idle.err
    assert _events(desk, run) == seq
    driver.press("\x03")
    driver.until("^C again stops the acts")
    driver.press("\x03")
    driver.end()
    desk.type_inside("cancel", run)  # whatever the stopped act came to


def test_colours_are_for_terminals_that_want_them(desk: Desk) -> None:
    assert "\x1b[" in Terminal(desk, "list").end().out
    desk.env["NO_COLOR"] = "1"
    try:
        assert "\x1b[" not in Terminal(desk, "list").end().out
        desk.env["NO_COLOR"] = ""
        assert "\x1b[" in Terminal(desk, "list").end().out, "empty is as if it were not there"
    finally:
        del desk.env["NO_COLOR"]
    assert "\x1b" not in desk.type_inside("list", expect=0).out
