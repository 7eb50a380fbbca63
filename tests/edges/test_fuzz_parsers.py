"""Whatever a file says, its reader answers with a value or with its declared error.

Three sorts of text: raw characters and bytes, text made of YAML's own pieces, and our own files
with pieces exchanged, doubled, dropped or put elsewhere.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.catalog import read_actor, read_catalog
from actors.contract import prove
from actors.kinds import ActorsError
from actors.reading import Read, read_yaml
from actors.rehearsal import Rehearsal, read_script
from actors.strict import UnreadableError, read_json
from orchestrator.errors import InvalidInput
from orchestrator.pure.compile import compile_draft
from orchestrator.workspace import open_workspace, read_draft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.kinds import Kind
    from orchestrator.pure.model import Catalog, Inventory
    from orchestrator.workspace import Workspace

ROOT = Path(__file__).parent.parent.parent
LIMIT = 50_000
OPENSSL = ROOT / "examples" / "openssl-web-tier"
MANIFEST = ROOT / "playbooks" / "linux.package_update" / "actor.yaml"

PIECES = [
    *("- ", ": ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "'", '"', "#", "|\n", ">-\n"),
    *("&a ", "*a", "<<: ", "!!str ", "!x ", "? ", "---\n", "...\n", "%YAML 1.1\n", "~", "null"),
    *("true", "yes", "1", "-1", "1.5", "1e9", ".nan", "0o7", "9" * 30, "2026-11-25", "\\", "\t"),
    *("\r", "\0", "\x85", "\u2028", "\ufeff", "\u202e", "e\u0301", "\U0001f600", '"\\ud800"'),
    *("name", "params", "targets", "steps", "actor", "type", "text", "integer", "pattern", "'^a$'"),
    *("format: 1", "environments", "objects", "id", "when", "output", "wave", "decision", "plan"),
]
raw = st.text(max_size=200) | st.binary(max_size=200)
pieced = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, -1, 2**53, 10**40, "", "x", "x" * 5_000, [], {}, [[]], {"a": {}}),
        *("\u202e", "^(a+)+$", "(", "[", "a|b", "../..", "@web", "!", "interlock.hold", "1.5", "~"),
    ]
)


def kind_of(_: str) -> Kind:
    return Rehearsal()


def mutated(path: Path) -> st.SearchStrategy[str]:
    """Take one of our own files and exchange, drop, double, rename or move some of its pieces."""
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    return st.composite(_mutate)(value)


def _mutate(draw: st.DrawFn, value: Any) -> str:
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 4))):
        holder, key = _place(draw, value)
        match draw(st.sampled_from(["exchange", "drop", "rename", "move"])):
            case "exchange":
                holder[key] = draw(odd_values)
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["nmae", "type", "id", "", "interlock_x"]))] = (
                    holder.pop(key)
                )
            case _:
                other, where = _place(draw, value)
                other[where] = copy.deepcopy(holder[key])
        if not value:
            break
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False)


def _place(draw: st.DrawFn, value: Any) -> tuple[Any, Any]:
    places: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], (dict, list)) and holder[key]:
                waiting.append(holder[key])
    chosen: tuple[Any, Any] = draw(st.sampled_from(places))
    return chosen


def bytes_of(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


@contextmanager
def scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def ours() -> Workspace:
    return open_workspace(ROOT)


@pytest.fixture(scope="module")
def catalog(ours: Workspace) -> Catalog:
    return ours.catalog()[0]


@pytest.fixture(scope="module")
def inventory(ours: Workspace) -> Inventory:
    return ours.inventory()


@given(raw | pieced)
@settings(max_examples=500)
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        found = read_yaml(text, max_bytes=LIMIT)
    except UnreadableError as error:
        refused(error)
        return
    assert isinstance(found, Read)
    last = bytes_of(text).count(b"\n") + 1
    assert all(1 <= line <= last for line in found.lines.values())


@given(raw | pieced)
def test_any_json_is_read_or_refused(text: str | bytes) -> None:
    try:
        read_json(bytes_of(text), max_bytes=LIMIT)
    except UnreadableError as error:
        refused(error)


@given(raw | pieced | mutated(MANIFEST))
@settings(max_examples=300)
def test_any_manifest_is_a_spec_or_findings_with_places(text: str | bytes) -> None:
    with scratch() as folder:
        actor = folder / "linux.package_update"
        actor.mkdir()
        (actor / "rehearsal.yaml").write_text("format: 1\n")
        (actor / "actor.yaml").write_bytes(bytes_of(text))
        found = read_actor(actor, kind_of=kind_of)
        assert (found.spec is not None) or found.findings
        for finding in found.findings:
            assert finding.code.startswith("M-")
            assert finding.message
            assert finding.line is None or finding.line >= 1
        assert len(read_catalog(folder, kind_of=kind_of).actors) == (not found.findings)


@given(raw | pieced | mutated(ROOT / "inventory" / "prod.yaml"))
def test_any_inventory_is_read_or_refused(text: str | bytes) -> None:
    with scratch() as root:
        shutil.copy(ROOT / "interlock.yaml", root)
        (root / "inventory").mkdir()
        (root / "inventory" / "a.yaml").write_bytes(bytes_of(text))
        with declared(root / "inventory" / "a.yaml"):
            names = [one.name for one in open_workspace(root, kind_of=kind_of).inventory().objects]
            assert len(set(names)) == len(names)


@given(raw | pieced | mutated(ROOT / "interlock.yaml"))
def test_any_settings_are_read_or_refused(text: str | bytes) -> None:
    with scratch() as root:
        (root / "interlock.yaml").write_bytes(bytes_of(text))
        with declared(root / "interlock.yaml"):
            open_workspace(root, kind_of=kind_of)


@given(text=raw | pieced | mutated(OPENSSL / "ticket.yaml"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ticket_is_read_or_refused(ours: Workspace, text: str | bytes) -> None:
    with scratch() as folder:
        path = folder / "ticket.yaml"
        path.write_bytes(bytes_of(text))
        with declared(path):
            assert ours.ticket(path).environment in ours.settings.environments


@given(text=raw | pieced | mutated(OPENSSL / "draft.yaml"))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_draft_is_refused_or_compiles_to_an_answer(
    ours: Workspace, catalog: Catalog, inventory: Inventory, text: str | bytes
) -> None:
    ticket = ours.ticket(OPENSSL / "ticket.yaml")
    with scratch() as folder:
        path = folder / "draft.yaml"
        path.write_bytes(bytes_of(text))
        with declared(path):
            document = read_draft(path)
            answer = compile_draft(
                document, ticket=ticket, catalog=catalog, inventory=inventory, limits=ours.limits()
            )
            assert answer != ()


@given(raw | pieced | mutated(MANIFEST.with_name("rehearsal.yaml")))
def test_any_script_is_read_or_refused(text: str | bytes) -> None:
    with scratch() as folder:
        (folder / "rehearsal.yaml").write_bytes(bytes_of(text))
        try:
            read_script(folder)
        except ActorsError as error:
            refused(error)


@given(raw | pieced | mutated(MANIFEST.parent / "tests" / "contract.yaml"))
@settings(max_examples=50)
def test_any_cases_prove_something_or_say_why_not(text: str | bytes) -> None:
    with scratch() as folder:
        actor = folder / "linux.package_update"
        shutil.copytree(MANIFEST.parent, actor)
        (actor / "rehearsal.yaml").write_text(
            "format: 1\ndurations_ms: {check: 0, apply: 0, verify: 0, undo: 0}\n"
        )
        (actor / "tests" / "contract.yaml").write_bytes(bytes_of(text))
        proof = prove(
            actor,
            settings={"world": str(folder / "world")},
            workdir=folder / "work",
            tool="fuzz",
            kind_of=kind_of,
        )
        assert (proof.evidence is None) == bool(proof.broken)


@contextmanager
def declared(path: Path) -> Iterator[None]:
    """Let only the declared error through, and only with a place and a next step."""
    try:
        yield
    except InvalidInput as error:
        refused(error, path.name)


def refused(error: UnreadableError | ActorsError | InvalidInput, place: str = "") -> None:
    if isinstance(error, UnreadableError):
        assert error.reason
        assert error.line is None or error.line >= 1
        return
    assert place in error.what
    assert error.next_step
