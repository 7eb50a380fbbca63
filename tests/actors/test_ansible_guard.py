"""What stands before a module that came through a connection: it ends with who listens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from ansible.errors import AnsibleError  # type: ignore[import-untyped]  # has no types

from actors.ansible.connections.interlock_ssh import guarded
from ansible_rig import marked, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHEBANG = "#!/usr/bin/python3\n"


def started(program: bytes) -> subprocess.Popen[bytes]:
    """Begin what sshd begins: a shell that leads a session, and Python that is sent a text."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"{sys.executable} && sleep 0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(program)
    process.stdin.close()
    return process


def ran(text: str) -> tuple[int, bytes]:
    with started(guarded((SHEBANG + text).encode(), by_sudo=False)) as process:
        assert process.stdout is not None
        return process.wait(30), process.stdout.read()


@pytest.fixture
def mark() -> Iterator[str]:
    mark = f"68.{os.getpid()}"
    yield mark
    for pid in marked(f"sleep\0{mark}"):
        os.kill(pid, signal.SIGKILL)


def test_a_module_says_and_ends_as_it_would_by_itself() -> None:
    assert ran("print('said')") == (0, b"said\n")
    assert ran("import sys\nprint('ü')\nsys.exit(3)") == (3, "ü\n".encode())
    assert ran("import os\nos.kill(os.getpid(), 15)") == (128 + 15, b"")
    assert ran("from __future__ import annotations\nprint(__name__)") == (0, b"__main__\n")
    assert ran("raise ValueError")[0] == 1


def test_a_module_to_which_nobody_listens_is_hung_up_with_what_it_started(mark: str) -> None:
    text = f"import subprocess\nsubprocess.run(['sleep', '{mark}'])\nprint('late')\n"
    process = started(guarded((SHEBANG + text).encode(), by_sudo=False))
    until(lambda: marked(f"sleep\0{mark}"), "the module has begun")
    assert process.poll() is None
    assert process.stdout is not None
    process.stdout.close()
    until(lambda: not marked(f"sleep\0{mark}"), "what it started is gone")
    assert process.wait(30) == -signal.SIGHUP, "and the shell above it, as a lost terminal would"


def test_a_module_that_somebody_listens_to_may_take_its_time_and_close_its_input() -> None:
    assert ran("import sys, time\nsys.stdin.close()\ntime.sleep(0.5)\nprint('late')") == (
        0,
        b"late\n",
    )


def test_what_lives_on_in_a_session_of_its_own_does_not_keep_the_guard(mark: str) -> None:
    text = (
        "import subprocess\nsubprocess.Popen(['sleep', '" + mark + "'], start_new_session=True, "
        "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
    )
    assert ran(text) == (0, b"")
    assert marked(f"sleep\0{mark}"), "a daemon that a module starts is no part of the module"


def test_a_module_that_is_cut_off_on_its_way_does_nothing(tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = guarded(f"{SHEBANG}open({str(done)!r}, 'w')\n\n".encode(), by_sudo=False)
    end = len(program) - 1  # a line may end without saying so
    for at in (*range(0, end, 37), *range(end - 8, end)):
        with started(program[:at]) as process:
            process.wait(30)
        assert not done.exists(), at
    with started(program) as process:
        process.wait(30)
    assert done.exists(), "the whole of it does what it should"


@pytest.mark.parametrize("first", ["#!/bin/sh\n", "#!/usr/bin/perl\n", "", "import os\n"])
def test_what_cannot_bring_the_guard_is_not_sent(first: str) -> None:
    with pytest.raises(AnsibleError, match="pipelining: false"):
        guarded(f"{first}exit 0\n".encode(), by_sudo=False)


def test_a_module_whose_guard_would_hear_nothing_does_not_begin() -> None:
    program = guarded(f"{SHEBANG}print('begun')\n".encode(), by_sudo=True)
    with started(program) as process:  # nobody said that this is what sshd listens to
        assert process.stdout is not None
        assert process.stdout.read() == b""
        assert process.wait(30) == 1
