"""A place for a rig, and a hostile kind."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Path]:
    """A place for a workspace, in whose acts nothing is left when the test is over."""
    root = tmp_path / "ws"
    yield root
    from edges import rig  # noqa: PLC0415 - most tests here need no rig

    for pid in rig.act_processes(root):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hostile kind, installed."""
    from edges import hostile  # noqa: PLC0415 - most tests here need no kind

    folder = hostile.installed(tmp_path / "kinds")
    monkeypatch.syspath_prepend(str(folder))
    return folder
