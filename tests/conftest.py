"""What every test may lean on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

    from hosts import Lab

# A slow machine is not a bug: no property fails by the wall clock. In CI the same examples are
# tried each time, so that a red build is about its change; elsewhere new ones are looked for.
settings.register_profile("interlock", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("interlock"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "interlock")

PURE: Final = Path(__file__).parent / "pure"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write stories and schemas again, to review the diff"
    )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Five real hosts for this test alone."""
    from hosts import Lab, NotHere  # noqa: PLC0415 - only tests on hosts pay for them

    try:
        with Lab(5, tmp_path / "lab") as hosts:
            yield hosts
    except NotHere as error:
        pytest.skip(f"no test hosts here: {error}")


@pytest.fixture
def untraced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do not count the lines of this test and its children: it does the same a thousand times."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(autouse=True)
def _traced_where_it_counts(request: pytest.FixtureRequest) -> None:
    """Count lines in the tests of the pure half: each of its branches is held there, by itself.

    Elsewhere it would cost much more, in thousands of processes; `make coverage` does count.
    """
    if PURE not in request.path.parents and os.environ.get("INTERLOCK_COVERAGE") != "all":
        request.getfixturevalue("untraced")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Show the figures that tests found: states explored, images opened, kills."""
    figures = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "figure" and report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.line(figure)
