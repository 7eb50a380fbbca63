"""Whatever the bytes of a file are, a verb ends in words and a code of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from desk import BASIC, Desk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("cli-fuzz")

FILES: Final = {
    "ticket": f"{BASIC}/ticket.yaml",
    "draft": f"{BASIC}/draft.yaml",
    "manifest": "playbooks/http.health_check/actor.yaml",
    "inventory": "inventory/staging.yaml",
    "settings": "interlock.yaml",
}
SNIPPETS: Final = (
    b"\x00", b"\xff", b"\n", b"\t", b": ", b"- ", b"[", b"{", b"&a ", b"*a", b"!!python/name:os ",
    b"\x1b[31m", "\u202e".encode(), "\ud7ff".encode(), b"'", b'"', b"1e400", b"-0", b"~", b"<<: ",
    b"9" * 40, b"%YAML 1.1\n---\n", b"x" * 3_000, b"{{ 7*7 }}", b"../", b"null", b"true", b"#",
)  # fmt: skip
CODES: Final = {2, 3, 4}
"""Refused, rejected or declined, waiting: planning can end in nothing else."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.fresh(tmp_path_factory.mktemp("fuzz"))


@st.composite
def _damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Cut out, put in, repeat and swap: what is left is almost what it was."""
    raw = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from((0, 0, 1, 2, 8, 40, 400))))
        new = draw(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=6), st.just(b"")))
        raw[start:end] = new
    return bytes(raw)


@pytest.mark.parametrize("what", FILES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_of_a_file_make_planning_end_in_a_bug(
    desk: Desk, what: str, data: st.DataObject
) -> None:
    path = desk.root / FILES[what]
    good = path.read_bytes()
    path.write_bytes(data.draw(_damaged(good)))
    try:
        _plan(desk)
    finally:
        path.write_bytes(good)


def _plan(desk: Desk) -> None:
    typed = desk.type_inside("plan", FILES["ticket"], "-d", FILES["draft"])
    assert typed.code in CODES, typed
    if typed.code == 2:
        assert typed.out == ""
        assert typed.err.startswith("error: ")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_bytes_of_an_export_are_believed_or_end_in_a_bug(
    desk: Desk, tmp_path: Path, data: st.DataObject
) -> None:
    run = "CHG-1001.1"
    if desk.type_inside("status", run).code != 0:
        desk.plan()
    out = tmp_path / "out.jsonl"
    if not out.exists():
        desk.type_inside("audit", "export", run, "-o", str(out), expect=0)
    good = out.read_bytes()
    bad = data.draw(_damaged(good))
    (tmp_path / "bad.jsonl").write_bytes(bad)
    expected = 0 if bad == good else 8
    desk.type_inside("audit", "verify", str(tmp_path / "bad.jsonl"), expect=expected)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_no_words_end_in_a_bug(desk: Desk, words: list[str]) -> None:
    verbs = ("show", "status", "diff", "recover", "cancel", "confirm", "reject", "answer")
    for verb in verbs:
        assert desk.type_inside(verb, "--", *words).code == 2
