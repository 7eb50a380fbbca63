"""Redaction: no value comes through in any form, however a stream is cut, and nothing else goes."""

from __future__ import annotations

import secrets
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.redaction import SHORTEST, Redactor, forms
from edges.teller import needles, tellings

LETTERS: Final = st.sampled_from("abcXYZ0189+/=%&<>'\"\\$`~ éß€𝄞:;_-.") | st.characters(
    exclude_categories=("C", "Z")
)
WORDS: Final = st.text(LETTERS, min_size=12, max_size=40).map(lambda text: f"k{text}Z")
PEM: Final = "-----BEGIN KEY-----\n" + "\n".join(f"{n:064d}" for n in range(30)) + "\n-----END-----"


def redactor(**values: str) -> Redactor:
    return Redactor.of({name: SecretStr(value) for name, value in values.items()})


@given(WORDS, st.text(max_size=20), st.text(max_size=20))
@example('it\'s "x" \\ / & é', "", "")
@example("+/+/+/+/+/+/", "a", "b")
def test_no_form_of_a_value_comes_through(value: str, before: str, after: str) -> None:
    cleans = redactor(key=value)
    for way in tellings(value):
        said = cleans.text(f"{before}{way}{after}")
        assert "<secret key>" in said
        assert not [needle for needle in needles(value) if needle in said.encode(errors="replace")]


def test_a_key_of_many_lines_comes_through_neither_whole_nor_by_the_line() -> None:
    cleans = redactor(key=PEM)
    for way in tellings(PEM):
        said = cleans.text(way).encode()
        assert not [needle for needle in needles(PEM) if needle in said], way


@given(
    value=WORDS,
    other=WORDS,
    parts=st.lists(st.sampled_from(["value", "other", "half", "noise", "hex", "overlap"])),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_what_comes_through_does_not_depend_on_how_the_stream_was_cut(
    value: str, other: str, parts: list[str], cuts: list[int]
) -> None:
    words = {
        "value": value,
        "other": other,
        "half": value[: len(value) // 2],
        "noise": "some words",
        "hex": value.encode().hex(),
        "overlap": value + value[2:],
    }
    stream = "".join(words[part] for part in parts).encode()
    whole = redactor(one=value, two=other).whole(stream)
    cleans, said, last = redactor(one=value, two=other), b"", 0
    for cut in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        said, last = said + cleans.feed(stream[last:cut]), cut
    assert said + cleans.flush() == whole
    assert value.encode() not in whole


@pytest.mark.parametrize("value", ["aaaa", "abab", "aabaa"])
def test_a_value_that_overlaps_itself_leaves_nothing(value: str) -> None:
    stream = (value * 40)[:-1].encode()
    for size in (1, 2, 3, 5, 7, 64):
        cleans = redactor(key=value)
        said = b"".join(cleans.feed(stream[at : at + size]) for at in range(0, len(stream), size))
        said += cleans.flush()
        assert said == redactor(key=value).whole(stream)
        assert value.encode() not in said


@given(st.binary(max_size=400))
def test_what_holds_no_secret_comes_through_as_it_is(raw: bytes) -> None:
    assert redactor(key="a secret of nobody's §").whole(raw) == raw
    assert redactor().whole(raw) == raw


def test_two_secrets_are_each_called_by_its_name_and_the_longer_one_wins() -> None:
    cleans = redactor(short="hunter", long="hunter-and-gatherer")
    assert cleans.text("x hunter y hunter-and-gatherer z") == "x <secret short> y <secret long> z"
    assert cleans.holds("a hunter") == "short"
    assert cleans.holds("a gatherer") is None


def test_nothing_that_could_be_an_ordinary_word_is_looked_for() -> None:
    assert all(len(form) >= SHORTEST for form in forms("a b\nlonger line\nx=1"))
    assert b"x=1" not in forms("a b\nlonger line\nx=1")
    assert b"longer line" in forms("a b\nlonger line\nx=1")


def test_the_time_is_linear_in_what_is_read() -> None:
    """Twice as much takes twice as many looks at each byte as once: none."""
    looked = 0

    class Counting(bytes):
        def find(self, *args: object) -> int:
            nonlocal looked
            looked += len(self)
            return bytes.find(self, *args)  # type: ignore[arg-type]  # passed on as it came

    counts = []
    for size in (1 << 16, 1 << 17, 1 << 18):
        looked = 0
        cleans = redactor(key=PEM)
        stream = secrets.token_bytes(size)
        for at in range(0, size, 97):
            cleans._buffer = Counting(cleans._buffer)
            cleans.feed(stream[at : at + 97])
            cleans._buffer = Counting(cleans._buffer)
        cleans.flush()
        counts.append(looked)
    assert counts[2] <= 4.2 * counts[0]


def test_ten_megabytes_of_the_worst_come_through() -> None:
    assert redactor(key="aaaa").whole(b"a" * 10_000_000) == b"<secret key>"
    noise = secrets.token_bytes(1_000_000) * 10
    assert redactor(key=PEM).whole(noise) == noise
