"""The exit codes: the code, the help and the README name the same ones, and each is meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from orchestrator import errors
from orchestrator.cli import app
from orchestrator.denied import DENIED
from orchestrator.driving import EXITS, exit_code
from orchestrator.view import STOPPED
from pure.plans import plan_of, step
from pure.test_run import started

if TYPE_CHECKING:
    from orchestrator.pure.state import Phase

README: Final = Path(__file__).parent.parent / "README.md"
MEANT: Final = {"succeeded": 0, "rejected": 3, "rolled_back": 5, "cancelled": 5, "held": 6}


def test_the_readme_and_the_help_name_every_exit_code() -> None:
    known = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    known |= {*EXITS.values(), DENIED, STOPPED, 4}
    table = README.read_text(encoding="utf-8").partition("[Exit codes]")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"(?:: |· |·\n)(\d+) [a-z]", table)} == known
    said = str(app.info.epilog)
    assert {int(code) for code in re.findall(r"\b(\d+) [a-z]", said)} == known


@pytest.mark.parametrize(("phase", "code"), [*MEANT.items(), ("running", 4), ("approved", 4)])
def test_a_run_ends_with_the_code_of_its_phase(phase: Phase, code: int) -> None:
    assert exit_code(started(plan_of(step("a"))).run._replace(phase=phase)) == code
