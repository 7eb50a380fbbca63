"""What others may lean on: each module says what it offers, and nobody reaches past that."""

from __future__ import annotations

import ast
import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("actors", "orchestrator")


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            if not name.startswith("orchestrator.template.") and path.name != "__init__.py":
                yield name


def _source(module: str) -> Path:
    return ROOT / Path(*module.split(".")).with_suffix(".py")


def _takings(module: str) -> Iterator[tuple[str, str]]:
    """Yield each (module of ours, name) that this module takes names from."""
    for node in ast.walk(ast.parse(_source(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGES):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("module", list(_modules()))
def test_a_module_says_what_it_offers_and_has_it(module: str) -> None:
    loaded = importlib.import_module(module)
    assert hasattr(loaded, "__all__"), f"{module} has no __all__"
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []
    assert [name for name in loaded.__all__ if name.startswith("_")] == []
    assert len(set(loaded.__all__)) == len(loaded.__all__)


@pytest.mark.parametrize("module", list(_modules()))
def test_a_module_takes_only_what_another_offers(module: str) -> None:
    reached = [
        f"{name} of {owner}"
        for owner, name in _takings(module)
        if not _is_module(f"{owner}.{name}")
        if name not in getattr(importlib.import_module(owner), "__all__", ())
    ]
    assert reached == []


def _is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def test_our_kinds_are_found_the_way_anybody_elses_are() -> None:
    kinds = {point.name: point for point in entry_points(group="interlock.kinds")}
    assert "rehearsal" in kinds, "install the checkout: pip install -e '.[dev]'"
    for point in kinds.values():
        assert callable(point.load()), point.value


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="interlock")
    assert callable(command.load())
