"""The table of seeded bugs fits the tree, and each bug of it is caught (see tests/mutants.py)."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from mutants import (
    LIMITS,
    ROOT,
    Edit,
    Mutant,
    MutantError,
    all_tried,
    cheap,
    copied,
    mutated,
    problem_unmutated,
    pytest_on,
    table,
    tried,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL: Final = os.environ.get("INTERLOCK_MUTANTS") == "all"
BUDGET_S: Final = 90.0
"""What the cheap ones may cost together, on one core; then come their tests without any bug."""
JOBS: Final = 2
FEWEST: Final = 25


def bug(**changes: object) -> Mutant:
    fields: dict[str, object] = {
        "name": "a-bug",
        "breaks": "S1",
        "file": "code.py",
        "edits": (Edit("return 1", "return 2"),),
        "caught_by": ("test_code.py",),
        "cost_s": 1.0,
    }
    return Mutant(**{**fields, **changes})  # type: ignore[arg-type]  # a test names its own fields


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("def one():\n    return 1\n")
    (tmp_path / "test_code.py").write_text(
        "from code import one\n\ndef test_one():\n    assert one() == 1\n"
    )
    return tmp_path


# --- the table ------------------------------------------------------------------------------------


def test_names_are_unique_and_there_are_enough() -> None:
    names = Counter(mutant.name for mutant in table())
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= FEWEST


@pytest.mark.parametrize("mutant", table(), ids=lambda mutant: mutant.name)
def test_a_seeded_bug_fits_the_tree(mutant: Mutant) -> None:
    assert mutant.edits
    text = mutated((ROOT / mutant.file).read_text(encoding="utf-8"), mutant)
    compile(text, mutant.file, "exec")
    assert mutant.breaks[:1] in "SV"
    assert 1 <= int(mutant.breaks[1:]) <= 25


def test_every_selection_names_tests_that_exist() -> None:
    selection = sorted({one for mutant in table() for one in mutant.caught_by})
    code, said = pytest_on(ROOT, selection, {}, "--collect-only")
    assert code == 0, said


# --- the tool -------------------------------------------------------------------------------------


def test_a_caught_bug_names_the_test_and_leaves_the_tree_as_it_was(tree: Path) -> None:
    before = (tree / "code.py").read_text()
    assert tried(tree, bug()).test == "test_code.py::test_one"
    assert (tree / "code.py").read_text() == before


def test_a_bug_that_nobody_notices_has_survived(tree: Path) -> None:
    verdict = tried(tree, bug(edits=(Edit("def one():", "def one(more=1):"),)))
    assert (verdict.test, verdict.why.strip()) == ("", "SURVIVED")


@pytest.mark.parametrize(
    "new", ["return (", "import nowhere; return 1"], ids=["no syntax", "fails in the test"]
)
def test_only_a_test_that_ran_and_failed_has_caught_a_bug(tree: Path, new: str) -> None:
    caught = tried(tree, bug(edits=(Edit("return 1", new),))).test
    assert bool(caught) == new.startswith("import")


def test_a_test_that_never_ends_has_caught_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "one_s", 3)
    verdict = tried(tree, bug(edits=(Edit("return 1", "\n    while True: pass"),)))
    assert verdict.test == ""
    assert verdict.why.startswith("out of time")


@pytest.mark.parametrize(
    "edit",
    [Edit("return 9", "return 2"), Edit("1", "2"), Edit("return 1", "return 1"), Edit("e", "f")],
    ids=["not there", "there once", "no change", "there twice"],
)
def test_an_old_text_that_is_not_there_exactly_once_is_refused(edit: Edit) -> None:
    text = "def one():\n    return 1\n"
    if edit == Edit("1", "2"):
        assert mutated(text, bug(edits=(edit,))) == "def one():\n    return 2\n"
        return
    with pytest.raises(MutantError, match=r"a-bug: its old text stands [02-9]|is also the new one"):
        mutated(text, bug(edits=(edit,)))


def test_lines_are_found_at_any_one_indentation() -> None:
    text = "if a:\n    b()\n    c()\n"
    edit = Edit("b()\nc()", "c()\nb()")
    assert mutated(text, bug(edits=(edit,))) == "if a:\n    c()\n    b()\n"


def test_what_is_red_without_a_bug_is_told(tree: Path) -> None:
    assert problem_unmutated(tree, [bug()]) == ""
    (tree / "code.py").write_text("def one():\n    return 3\n")
    assert "test_one" in problem_unmutated(tree, [bug()])


def test_the_cheapest_come_first_and_the_budget_holds() -> None:
    priced = [bug(name=str(cost), cost_s=cost) for cost in (5.0, 1.0, 3.0)]
    assert [one.name for one in cheap(priced, 4.5)] == ["1.0", "3.0"]


# --- the bugs -------------------------------------------------------------------------------------


def test_every_seeded_bug_is_caught(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    every = table()
    chosen = list(every) if ALL else cheap(every, BUDGET_S)
    assert len(chosen) >= FEWEST
    base = copied(ROOT, tmp_path / "tree")
    assert problem_unmutated(base, chosen) == ""
    verdicts = list(all_tried(base, chosen, JOBS))
    survivors = [f"{v.mutant.name}: {v.why}" for v in verdicts if not v.test]
    assert not survivors, "\n".join(survivors)
    record_property("figure", f"seeded bugs: {len(chosen)} of {len(every)} tried, all caught")
