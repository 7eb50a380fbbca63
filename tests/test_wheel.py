"""The wheel works where there is no checkout: build, install, init, plan, approve, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parent.parent
TEMPLATE: Final = ("examples", "interlock.yaml", "inventory", "playbooks", "policies")
WAITING: Final = 4

# One worker builds and installs; the others need not.
pytestmark = pytest.mark.xdist_group("wheel")


class Installed(NamedTuple):
    """A virtual environment that holds the wheel, far from the checkout."""

    bin: Path
    outside: Path

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Start a program of the environment; nothing leads it back to the checkout."""
        environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.outside),
            "USER": "wheel",
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
        }
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd or self.outside,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    _ok(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place)],
        cwd=ROOT,
    )
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    outside = tmp_path_factory.mktemp("outside")
    _ok([sys.executable, "-m", "venv", "--without-pip", str(outside / "venv")])
    python = outside / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    done = _run([*pip, "install", "--quiet", "--no-input", str(wheel)])
    if done.returncode != 0:
        _skip_when_the_index_is_out_of_reach(pip, outside)
        pytest.fail(done.stdout + done.stderr)
    return Installed(python.parent, outside)


def _skip_when_the_index_is_out_of_reach(pip: Sequence[str], outside: Path) -> None:
    """Skip only when a package that surely exists cannot be had either."""
    probe = [*pip, "download", "--no-deps", "--no-cache-dir", "-d", str(outside / "probe"), "typer"]
    if _run(probe).returncode != 0:
        pytest.skip("the package index cannot be reached, so the wheel cannot be installed")


def _run(command: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def _ok(command: Sequence[str], cwd: Path | None = None) -> None:
    done = _run(command, cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_carries_the_code_and_the_template_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    roots = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert roots == {"actors", "orchestrator"}
    assert not [name for name in names if name.startswith("orchestrator/core")]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_the_template_is_exactly_what_the_checkout_owns(wheel: Path) -> None:
    """Files that git ignores (caches, ledgers) must not slip in; new ones must not be left out."""
    template = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if name.startswith("orchestrator/template/")
    }
    owned = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *TEMPLATE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert template == {f"orchestrator/template/{path}" for path in owned}


def test_the_installed_command_explains_itself(installed: Installed) -> None:
    done = installed.run("interlock", "--help")
    assert done.returncode == 0, done.stderr
    assert "plan" in done.stdout


def test_the_installed_code_is_not_the_checkout(installed: Installed) -> None:
    done = installed.run("python", "-c", "import actors, orchestrator as o; print(o.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.outside)


def test_the_installed_kinds_are_registered(installed: Installed) -> None:
    program = (
        "from importlib.metadata import entry_points\n"
        "print([p.load().__name__ for p in entry_points(group='interlock.kinds')])"
    )
    done = installed.run("python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert "Rehearsal" in done.stdout


def test_a_ticket_becomes_a_plan_and_the_plan_is_carried_out(installed: Installed) -> None:
    assert (ROOT / "orchestrator" / "cli.py").exists(), "there is no command line to test"
    workspace = installed.outside / "workspace"
    done = installed.run("interlock", "init", str(workspace))
    assert done.returncode == 0, done.stdout + done.stderr

    ticket, draft = _example(workspace)
    there = ("--workspace", str(workspace))
    planned = installed.run(
        "interlock", "plan", str(ticket), "--draft", str(draft), *there, "--json"
    )
    assert planned.returncode == WAITING, planned.stdout + planned.stderr
    run = str(json.loads(planned.stdout)["run"])

    digest = str(json.loads(planned.stdout)["plan_digest"])
    approved = installed.run(
        "interlock", "approve", run, "--as", "jonas.weber", "--digest", digest, *there
    )
    assert approved.returncode == 0, approved.stdout + approved.stderr
    ran = installed.run("interlock", "run", run, *there)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _example(workspace: Path) -> tuple[Path, Path]:
    """Find a ticket and a draft that stand beside each other."""
    for ticket in sorted((workspace / "examples").glob("*/ticket.yaml")):
        drafts = sorted(ticket.parent.glob("draft.*"))
        if drafts:
            return ticket, drafts[0]
    pytest.fail("`interlock init` brought no examples/<name>/ticket.yaml with a draft beside it")
