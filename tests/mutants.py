"""Test the tests: seed one known bug at a time into a copy of the tree; some test must catch it.

    python tests/mutants.py [NAME ...] [--jobs 2]

1. The table is data (`mutants/*.yaml`): what is changed, what it breaks, and who must notice.
2. The checkout is never changed: each worker has a copy, and puts back what it changed there.
3. The text that is replaced must be there exactly once, so that the table cannot rot unseen.
4. A failing test catches a bug; a test that cannot be collected, or runs out of time, does not.
5. The same tests must pass on the copy while nothing is wrong with it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "LIMITS",
    "ROOT",
    "Edit",
    "Mutant",
    "MutantError",
    "Verdict",
    "all_tried",
    "cheap",
    "copied",
    "mutated",
    "problem_unmutated",
    "pytest_on",
    "table",
    "tried",
]

ROOT: Final = Path(__file__).resolve().parent.parent
TABLE: Final = ROOT / "tests" / "mutants"
LIMITS: Final[dict[str, int]] = {"one_s": 300, "unmutated_s": 1_800}
"""How long the tests of one mutant may take, and all of them together without any."""
NOT_COPIED: Final = shutil.ignore_patterns(
    ".*cache", ".git", ".venv", ".hypothesis", ".interlock", ".coverage*", ".bench",
    "__pycache__", "build", "dist", "docs", "htmlcov",
)  # fmt: skip
TOLD: Final = re.compile(r"^(?:FAILED|ERROR) (\S+?::.*?)(?: - .*)?$", re.MULTILINE)
SMALL: Final = {
    "INTERLOCK_CRASH_IMAGES": "1500",
    "INTERLOCK_EXPLORE_STATES": "20000",
    "INTERLOCK_ZOMBIES": "2",
}
"""A seeded bug is large: a fraction of the usual effort finds it."""


class MutantError(Exception):
    """The table does not fit the tree, or the tree is not green to begin with."""


class Edit(NamedTuple):
    """One change of the text."""

    old: str
    """Exact text, there once; several lines are whole lines, at any one indentation."""
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One seeded bug."""

    name: str
    breaks: str
    """The invariant (S1 to V25 of the design) or promise that no longer holds."""
    file: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    """A selection for pytest, as small and quick as can be."""
    cost_s: float
    """How long it took to catch when it was last measured."""
    environ: Mapping[str, str] = field(default_factory=dict)


class Verdict(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    test: str
    """The test that caught it; empty if it survived."""
    why: str
    seconds: float


# --- the table ------------------------------------------------------------------------------------


def table() -> tuple[Mutant, ...]:
    """Read all seeded bugs, in the order of the files."""
    return tuple(
        _read(entry)
        for path in sorted(TABLE.glob("*.yaml"))
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    )


def _read(entry: dict[str, Any]) -> Mutant:
    edits = tuple(Edit(**edit) for edit in entry["edits"])
    return Mutant(**{**entry, "edits": edits, "caught_by": tuple(entry["caught_by"])})


def cheap(mutants: Iterable[Mutant], budget_s: float) -> list[Mutant]:
    """Choose as many as fit the budget, the cheapest first."""
    chosen: list[Mutant] = []
    for mutant in sorted(mutants, key=lambda one: one.cost_s):
        budget_s -= mutant.cost_s
        if budget_s < 0:
            break
        chosen.append(mutant)
    return chosen


def mutated(text: str, mutant: Mutant) -> str:
    """Put the bug into a file's text, or say why the table does not fit it."""
    for edit in mutant.edits:
        hits = [pair for pair in _indented(edit) for _ in range(text.count(pair.old))]
        if len(hits) != 1 or edit.old == edit.new:
            raise MutantError(
                f"{mutant.name}: its old text stands {len(hits)} times in {mutant.file}, not once, "
                f"or is also the new one: {edit.old!r}; mend tests/mutants/*.yaml"
            )
        text = text.replace(*hits[0])
    return text


def _indented(edit: Edit) -> list[Edit]:
    if "\n" not in edit.old:
        return [edit]
    margins = (" " * width for width in range(0, 40, 4))
    return [Edit(*(f"\n{textwrap.indent(text, m)}\n" for text in edit)) for m in margins]


# --- copies of the tree ---------------------------------------------------------------------------


def copied(tree: Path, to: Path) -> Path:
    """Copy a tree, without what tools left in it."""
    shutil.copytree(tree, to, ignore=NOT_COPIED)
    return to


def pytest_on(
    tree: Path,
    selection: Sequence[str],
    environ: Mapping[str, str],
    *options: str,
    limit: str = "one_s",
) -> tuple[int | None, str]:
    """Run tests on a copy; say pytest's exit code (nothing: out of time) and what it told."""
    # A place of its own: in the shared one, pytests that end together race to tidy it.
    with tempfile.TemporaryDirectory(prefix="mt-", ignore_cleanup_errors=True) as own:
        return _run_to_its_end(
            [
                sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider",
                "--hypothesis-seed=0", f"--basetemp={own}/t", *options, *selection,
            ],
            tree,
            environ,
            LIMITS[limit],
        )  # fmt: skip


def _run_to_its_end(
    command: Sequence[str], tree: Path, environ: Mapping[str, str], limit_s: int
) -> tuple[int | None, str]:
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=_environ(tree, environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, said


def _environ(tree: Path, more: Mapping[str, str]) -> dict[str, str]:
    # The copy comes before an installed checkout, also in the processes of acts; and what a mutant
    # runs through must not count as covered.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTEST"))}
    return {**SMALL, **kept, "PYTHONPATH": f"{tree}:{tree / 'tests'}", **more}


# --- judging --------------------------------------------------------------------------------------


def problem_unmutated(tree: Path, mutants: Iterable[Mutant]) -> str:
    """Run each test of the selections once on an unmutated copy; say what is not green."""
    groups: dict[tuple[tuple[str, str], ...], dict[str, None]] = {}
    for mutant in mutants:
        chosen = groups.setdefault(tuple(sorted(mutant.environ.items())), {})
        chosen.update(dict.fromkeys(mutant.caught_by))
    for environ, selection in groups.items():
        code, said = pytest_on(tree, list(selection), dict(environ), limit="unmutated_s")
        if code != 0:
            return "\n".join(said.splitlines()[-40:]) or f"pytest ended with {code}"
    return ""


def tried(tree: Path, mutant: Mutant) -> Verdict:
    """Seed one bug into a copy, run its tests, and take it out again."""
    path, began = tree / mutant.file, time.monotonic()
    sound = path.read_text(encoding="utf-8")
    _written(path, mutated(sound, mutant))
    try:
        code, said = pytest_on(tree, mutant.caught_by, mutant.environ, "-x")
    finally:
        _written(path, sound)
        shutil.rmtree(tree / ".hypothesis", ignore_errors=True)
    spent_s = time.monotonic() - began
    found = TOLD.search(said)
    if code == 1 and found:
        return Verdict(mutant, found[1], "", spent_s)
    whys = {0: "SURVIVED", 1: "no test said so", None: "out of time"}
    last = "" if code == 0 else "\n".join(said.splitlines()[-15:])
    return Verdict(mutant, "", f"{whys.get(code, f'pytest ended with {code}')} {last}", spent_s)


def _written(path: Path, text: str) -> None:
    # A compiled file is told by size and second: two versions within a second could look the same.
    path.write_text(text, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def all_tried(base: Path, mutants: Sequence[Mutant], jobs: int) -> Iterable[Verdict]:
    """Try the mutants in the order given, some at a time, each worker in a copy of its own."""
    trees: SimpleQueue[Path] = SimpleQueue()
    for number in range(jobs):
        trees.put(copied(base, base.with_name(f"{base.name}-{number}")))

    def one(mutant: Mutant) -> Verdict:
        tree = trees.get()
        try:
            return tried(tree, mutant)
        finally:
            trees.put(tree)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, mutants)


# --- the program ----------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Try the named mutants, or all; 1 if any survives."""
    parser = argparse.ArgumentParser(prog="mutants.py", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(argv)
    mutants = _named(asked.names)
    try:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            return _report(Path(folder), mutants, asked.jobs)
    except MutantError as error:
        print(error, file=sys.stderr)
        return 1


def _named(names: Sequence[str]) -> list[Mutant]:
    every = table()
    unknown = set(names) - {mutant.name for mutant in every}
    if unknown:
        sys.exit(f"there is no mutant {', '.join(sorted(unknown))}; see tests/mutants/")
    return [mutant for mutant in every if not names or mutant.name in names]


def _report(folder: Path, mutants: Sequence[Mutant], jobs: int) -> int:
    base = copied(ROOT, folder / "tree")
    for mutant in mutants:
        mutated((base / mutant.file).read_text(encoding="utf-8"), mutant)
    problem = problem_unmutated(base, mutants)
    if problem:
        raise MutantError(f"the tests are not green without any mutant:\n{problem}")
    survived = 0
    for verdict in all_tried(base, mutants, jobs):
        survived += not verdict.test
        one = verdict.mutant
        print(
            f"{one.name:<42} {one.breaks:<8} {verdict.seconds:>6.1f} s  "
            f"{verdict.test or verdict.why}",
            flush=True,
        )
    print(f"\n{len(mutants)} seeded bugs, {len(mutants) - survived} caught, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
