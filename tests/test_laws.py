"""The laws of the house that neither ruff, mypy nor import-linter can hold.

Each test walks the source of every module of `actors` and `orchestrator`. What a test here finds is
always a line; the message names it.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("actors", "orchestrator")
FUNCTION_LINES: Final = 50
FILE_LINES: Final = 400
PRINTERS: Final = re.compile(
    r"orchestrator/(audit|cli|progress|show|view)(_\w+)?(/.*)?(\.py)?$"
    r"|actors/ansible/look_here\.py$"  # it runs on a host: what it prints is its answer
)
PURE: Final = re.compile(r"orchestrator/pure/.*|actors/(spec|strict)\.py")

IMPURE_MODULES: Final = frozenset(
    {
        "asyncio",
        "concurrent",
        "ctypes",
        "getpass",
        "glob",
        "http",
        "importlib",
        "io",
        "locale",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "platform",
        "queue",
        "random",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "warnings",
    }
)
IMPURE_CALLS: Final = frozenset(
    {"__import__", "breakpoint", "eval", "exec", "hash", "id", "input", "open", "print"}
)
CLOCK_READS: Final = frozenset({"now", "today", "utcnow"})
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
# Whoever takes a set through one of these does not see the order of its hashes.
ORDER_BLIND: Final = frozenset(
    {"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"}
)
SET_METHODS: Final = frozenset({"difference", "intersection", "symmetric_difference", "union"})


class Source(NamedTuple):
    """One module, as text and as a tree."""

    path: str
    text: str
    tree: ast.Module

    def at(self, node: ast.AST, what: str) -> str:
        """Say where it is."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {what}"


def _sources() -> tuple[Source, ...]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("orchestrator/template/"):
                text = path.read_text(encoding="utf-8")
                found.append(Source(name, text, ast.parse(text, name)))
    return tuple(found)


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sources() -> tuple[Source, ...]:
    return _sources()


@pytest.fixture(scope="module")
def owned_libraries() -> dict[str, str]:
    """Say of each outside module which library it belongs to: the contracts `only-<library>`."""
    return {
        module: contract["id"].removeprefix("only-")
        for contract in _contracts()
        if contract["id"].startswith("only-")
        for module in contract["forbidden_modules"]
    }


def _contracts() -> list[dict[str, Any]]:
    contracts: list[dict[str, Any]] = _pyproject()["tool"]["importlinter"]["contracts"]
    return contracts


def _imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module or ""


def test_the_walk_sees_the_house(sources: tuple[Source, ...]) -> None:
    """A walk that sees nothing would keep every law."""
    paths = {source.path for source in sources}
    assert {"actors/spec.py", "orchestrator/errors.py", "orchestrator/pure/model.py"} <= paths


# --- outside libraries --------------------------------------------------------------------------


def _outside_imports(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    for node, module in _imports(source.tree):
        root = module.partition(".")[0]
        if root not in PACKAGES and root not in sys.stdlib_module_names:
            yield node, root


def test_every_outside_library_has_an_owner(
    sources: tuple[Source, ...], owned_libraries: dict[str, str]
) -> None:
    """import-linter holds who may import a known library; this refuses an unknown one."""
    strays = [
        source.at(node, f"{root} has no contract `only-{root}` in pyproject.toml")
        for source in sources
        for node, root in _outside_imports(source)
        if root not in owned_libraries
    ]
    assert strays == []


def test_an_owner_contract_guards_its_library_and_nothing_else() -> None:
    for contract in _contracts():
        if contract["id"].startswith("only-"):
            library, guarded = contract["id"].removeprefix("only-"), contract["forbidden_modules"]
            assert all(module.startswith(library) for module in guarded), contract["id"]
            assert contract["source_modules"] == list(PACKAGES), contract["id"]
            ends = {pair.rpartition(" -> ")[2] for pair in contract["ignore_imports"]}
            assert ends <= set(guarded), contract["id"]


def test_the_wheel_asks_for_exactly_what_is_imported(
    sources: tuple[Source, ...], owned_libraries: dict[str, str]
) -> None:
    distributions = packages_distributions()
    imported = {
        distribution.lower()
        for source in sources
        for _, root in _outside_imports(source)
        for distribution in distributions.get(owned_libraries.get(root, root), (root,))
    }
    declared = {
        re.split(r"[<>=!~\[; ]", requirement)[0].lower()
        for requirement in _pyproject()["project"]["dependencies"]
    }
    assert declared == imported


# --- size ---------------------------------------------------------------------------------------


def test_files_stay_readable(sources: tuple[Source, ...]) -> None:
    long = [
        f"{source.path}: {lines} lines; split it where a second subject begins"
        for source in sources
        if (lines := source.text.count("\n")) > FILE_LINES
    ]
    assert long == []


def test_functions_fit_on_a_screen(sources: tuple[Source, ...]) -> None:
    long = [
        source.at(node, f"{node.name} has {lines} lines")
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert long == []


# --- habits -------------------------------------------------------------------------------------


def test_every_module_opens_with_a_sentence(sources: tuple[Source, ...]) -> None:
    silent = [
        source.path
        for source in sources
        if not (ast.get_docstring(source.tree) or "").partition("\n\n")[0].rstrip().endswith(".")
    ]
    assert silent == []


def test_only_those_who_show_print(sources: tuple[Source, ...]) -> None:
    printing = [
        source.at(node, "prints; return a value and let show.py or cli.py print it")
        for source in sources
        if not PRINTERS.fullmatch(source.path)
        for node in ast.walk(source.tree)
        if _prints(node)
    ]
    assert printing == []


def _prints(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="print")):
            return True
        case ast.Call(
            func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="sys"), attr=stream))
        ):
            return stream in ("stdout", "stderr")
        case _:
            return False


def test_importing_a_module_does_no_work(sources: tuple[Source, ...]) -> None:
    working = [
        source.at(statement, "runs when the module is imported; put it into a function")
        for source in sources
        for statement in source.tree.body
        if not _declares(statement)
    ]
    assert working == []


def _declares(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return True
        case ast.ClassDef() | ast.Assign() | ast.AnnAssign() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="model_rebuild"))):
            return True  # pydantic closes a circle of models this way
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="add_typer"))):
            return True  # typer declares a group of verbs this way
        case _:
            return False


def test_nobody_shares_a_global(sources: tuple[Source, ...]) -> None:
    shared = [
        source.at(node, "a global; pass the value")
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]
    assert shared == []


# --- exceptions ---------------------------------------------------------------------------------

REASONED: Final = {
    "noqa": re.compile(r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \S.*"),
    "type: ignore": re.compile(r"# type: ignore\[[\w, -]+\]  # \S.*"),
    "pragma: no": re.compile(r"# pragma: no (cover|branch) - \S.*"),
}


def _unreasoned(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        for mark, reasoned in REASONED.items():
            if mark in token.string and not reasoned.search(token.string):
                yield token.start[0], token.string


def test_every_exception_gives_its_reason_on_its_line() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{line}: {comment}"
        for package in (*PACKAGES, "tests", "examples")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, comment in _unreasoned(path.read_text(encoding="utf-8"))
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("import os  # noqa", True),
        ("import os  # noqa: F401", True),
        ("import os  # noqa: F401 - kept for its side effect", False),
        ("import os  # type: ignore", True),
        ("import os  # type: ignore[import]", True),
        ("import os  # type: ignore[import]  # has no stubs", False),
        ("import os  # pragma: no cover", True),
        ("import os  # pragma: no cover - only on Windows", False),
    ],
)
def test_an_exception_without_a_reason_is_seen(line: str, *, refused: bool) -> None:
    assert bool(list(_unreasoned(line + "\n"))) is refused


# --- the pure half ------------------------------------------------------------------------------


def test_the_pure_half_knows_no_clock_no_chance_and_no_machine(
    sources: tuple[Source, ...],
) -> None:
    impure = [
        source.at(node, what)
        for source in sources
        if PURE.fullmatch(source.path)
        for node, what in _impurities(source.tree)
    ]
    assert impure == []


def _impurities(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for statement, module in _imports(tree):
        if module.partition(".")[0] in IMPURE_MODULES:
            yield statement, f"imports {module}"
    # `input.now.epoch_s` is a field of a value that was handed in: no clock has fields.
    fields = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield node, f"calls {name}()"
            case ast.Attribute(attr=name) if name in CLOCK_READS and id(node) not in fields:
                yield node, f"reads the clock with .{name}"
            case _:
                pass
    yield from _hash_orders(tree, frozenset())


def _hash_orders(tree: ast.AST, outer: frozenset[str]) -> Iterator[tuple[ast.AST, str]]:
    """Find where the order of a set's hashes, which differs between processes, could get out."""
    room = list(_room(tree))
    sets = outer | _names_of_sets(room)
    blind = {id(argument) for node in room for argument in _order_blind(node, sets)}
    for node in room:
        if node is not tree and isinstance(node, FUNCTIONS):
            yield from _hash_orders(node, sets)
        elif id(node) not in blind and not isinstance(node, ast.SetComp):
            for iterated in _iterated(node):
                if _is_set(iterated, sets):
                    yield node, f"iterates over the set {ast.unparse(iterated)}; sort it"


def _room(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk one function without going into those inside it: their names are their own."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, FUNCTIONS):
            yield child
        else:
            yield from _room(child)


def _order_blind(node: ast.AST, sets: frozenset[str]) -> list[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in ORDER_BLIND:
            return node.args
        case ast.Call(func=ast.Attribute(value=owner)) if _is_set(owner, sets):
            return node.args
        case ast.Set():
            return node.elts
        case _:
            return []


def _iterated(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.For(iter=iterated) | ast.YieldFrom(value=iterated) | ast.Starred(value=iterated):
            return [iterated]
        case ast.ListComp() | ast.GeneratorExp() | ast.DictComp():
            return [generator.iter for generator in node.generators]
        case ast.Call(func=ast.Name(id="list" | "tuple" | "enumerate" | "zip" | "map" | "iter")):
            return node.args
        case ast.Call(func=ast.Attribute(attr="join" | "extend" | "pop", value=owner)):
            return node.args or [owner]
        case _:
            return []


def _names_of_sets(room: list[ast.AST]) -> frozenset[str]:
    names = set()
    for node in room:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_set(value):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind) if _says_set(kind):
                names.add(name)
            case ast.arg(arg=name, annotation=ast.expr() as kind) if _says_set(kind):
                names.add(name)
            case _:
                pass
    return frozenset(names)


def _says_set(annotation: ast.expr) -> bool:
    return (
        re.match(r"(Final\[)?(frozenset|set|AbstractSet|Set)\b", ast.unparse(annotation))
        is not None
    )


def _is_set(node: ast.expr, names: frozenset[str] = frozenset()) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr=method)) if method in SET_METHODS:
            return True
        case ast.BinOp(left=left, right=right, op=ast.BitOr() | ast.BitAnd() | ast.Sub()):
            return _is_set(left, names) or _is_set(right, names)
        case ast.Name(id=name):
            return name in names
        case _:
            return False


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from random import choice",
        "import os.path",
        "print(1)",
        "open('x')",
        "hash('x')",
        "datetime.now(UTC)",
        "for x in {1, 2}: f(x)",
        "a = [x for x in set(b)]",
        "a = {x: 1 for x in frozenset(b)}",
        "a = tuple({1, 2})",
        "a = (*{1, 2},)",
        "','.join({x for x in b})",
        "seen: set[str] = f()\nfor x in seen: g(x)",
        "def f(seen: frozenset[str]) -> list[str]: return list(seen)",
        "both = set(a)\nfor x in both - c: g(x)",
        "both = {*a}\nboth.pop()",
    ],
)
def test_an_impurity_is_seen(line: str) -> None:
    assert list(_impurities(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import datetime",
        "for x in sorted({1, 2}): f(x)",
        "a = any(x for x in {1, 2})",
        "a = {f(x) for x in {1, 2}}",
        "a = len({1, 2})",
        "a = frozenset({*{1, 2}, 3})",
        "seen = set()\nseen.update(f(x) for x in {1, 2})",
        "a = 1 in {1, 2}",
        "for x in (1, 2): f(x)",
        "stack: list[int] = []\nstack.pop()",
        "def f(a: set[int]): return len(a)\ndef g(a: list[int]): return list(a)",
        "seen = set(a)\nfor x in sorted(seen): g(x)",
    ],
)
def test_what_is_pure_is_let_through(line: str) -> None:
    assert not list(_impurities(ast.parse(line)))


# --- changelog ----------------------------------------------------------------------------------

FRAGMENT: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.(added|changed|fixed|removed|security)\.md")


def test_a_changelog_fragment_is_named_by_its_subject_and_kind() -> None:
    for path in sorted((ROOT / "changelog").iterdir()):
        if path.name != "README.md":
            assert FRAGMENT.fullmatch(path.name), path.name
            assert path.read_text(encoding="utf-8").strip(), f"{path.name} says nothing"
