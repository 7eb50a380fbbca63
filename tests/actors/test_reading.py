"""The strict reader: what it types, what it keeps as text, what it refuses, and on which line."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from actors.reading import Read, read_yaml
from actors.strict import UnreadableError, read_json

BOUND = 100_000


def read(text: str | bytes) -> Read:
    return read_yaml(text, max_bytes=BOUND)


@pytest.mark.parametrize(
    "word",
    [
        *("yes", "no", "on", "off", "y", "True", "FALSE", "Null", "0o17", "0x1F", "0b1", "1:30"),
        *("007", "1_000", "+5", "-0", "2026-11-25", "2026-11-25T02:00:00+01:00", "1.2.3", "="),
    ],
)
def test_a_word_that_yaml_versions_read_differently_stays_text(word: str) -> None:
    assert read(f"a: {word}\n").value == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [("true", True), ("false", False), ("null", None), ("", None), ("0", 0), ("-12", -12)],
)
def test_only_a_few_plain_words_have_a_type(word: str, value: object) -> None:
    found = read(f"a: {word}\n").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_the_largest_exact_integer_is_read() -> None:
    assert read(f"a: {2**53 - 1}").value == {"a": 2**53 - 1}


def test_what_is_quoted_is_text() -> None:
    assert read("a: 'true'\nb: \"12\"\nc: '1.5'").value == {"a": "true", "b": "12", "c": "1.5"}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' twice, first on line 1"),
        ("x:\n  a: 1\n  'a': 3\n", 3, "twice"),
        ("a: 1\nb: &x 2\n", 2, "anchor"),
        ("a: 1\nb: *x\n", 2, "alias"),
        ("a:\n  <<: {b: 1}\n", 2, "merge key"),
        ("a: 1\nb: !!str 2\n", 2, "tag"),
        ("a: 1\nb: ! 2\n", 2, "tag"),
        ("!!python/object/apply:os.system ['true']\n", 1, "tag"),
        ("a: 1\nb: 1.5\n", 2, "whole number"),
        ("a: .5", 1, "whole number"),
        ("a: 12e3", 1, "whole number"),
        ("a: -.INF", 1, "whole number"),
        ("a: .nan", 1, "whole number"),
        ("a: ~", 1, "write null"),
        (f"a: {2**53}", 1, "larger than 2^53-1"),
        ("a: " + "9" * 50_000, 1, "larger than 2^53-1"),
        ("a: 1\n5: x\n", 2, "not text"),
        ("a: 1\ntrue: x\n", 2, "not text"),
        ("a: 1\n? [b]\n: c\n", 2, "not plain text"),
        ("a: 1\n---\nb: 2\n", 2, "more than one document"),
        ("%YAML 1.1\n---\na: 1\n", 1, "directive"),
        ("", 1, "empty"),
        ("# nothing\n", 1, "empty"),
        ("a: 1\nb: 'x\n", 3, "not YAML"),
        ("a: 1\nb:\n\t- c\n", 3, "not YAML"),
        ("a: 1\nb: \0", 2, "U+0000"),
        ("\ufeffa: 1", 1, "U+FEFF"),
        ("a: 1 # \u202e hidden\n", 1, "U+202E"),
        ("a: 1\nb: c\rd: 2\n", 2, "U+000D"),
        ("a: 1\u2028b: 2", 1, "U+2028"),
        ('a: 1\nb: "\\x07"\n', 2, "U+0007"),
        ("a: 1\nb: e\u0301\n", 2, "normal form C"),
        ('a: 1\nb: "\\ud83d"\n', 2, "not YAML"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "not YAML"),
        ("[" * 50_000, 1, "nested deeper"),
        ("{a: " * 20_000, 1, "nested deeper"),
        ("- " * 40_000, 1, "nested deeper"),
    ],
)
def test_what_is_ambiguous_is_refused_on_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(UnreadableError, match=re.escape(reason)) as caught:
        read(text)
    assert caught.value.line == line


@pytest.mark.parametrize("raw", [b"\xff\xfea\x00", b"a: \xed\xa0\x80", "a: \ud800"])
def test_what_is_not_utf8_is_refused(raw: str | bytes) -> None:
    with pytest.raises(UnreadableError, match="UTF-8"):
        read(raw)


def test_a_text_beyond_the_limit_is_not_looked_at() -> None:
    with pytest.raises(UnreadableError, match="at most 10 are read"):
        read_yaml("[" * 11, max_bytes=10)


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x,x]\n" + "".join(
        f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcd", "bcde", strict=True)
    )
    with pytest.raises(UnreadableError, match="anchor"):
        read(bomb)


def test_every_value_knows_its_line() -> None:
    found = read("a: 1\nb:\n  - x\n  - c: y\n    d:\n      z\ne: |\n  long\n")
    assert found.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "d"): 5,
        ("e",): 7,
    }
    assert found.line_of(("b", 1, "missing", "deeper")) == 4
    assert found.line_of(("nowhere",)) == 1


def test_windows_line_ends_are_read() -> None:
    assert read("a: 1\r\nb: 2\r\n").value == {"a": 1, "b": 2}


texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
@example({"a": "\u00e9", "": [[]], "true": "null", "<<": "~"})
def test_json_reads_as_the_same_value(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        expected = read_json(text, max_bytes=BOUND)
    except UnreadableError:
        with pytest.raises(UnreadableError):
            read(text)
        return
    assert read(text).value == expected


@given(values)
def test_whatever_a_yaml_writer_writes_is_read_back_or_refused(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    try:
        found = read(text).value
    except UnreadableError:
        return
    assert found == value


alphabet = st.sampled_from(
    [*"ab:- \n\t'\"[]{},#&*!|>%?~.0123456789e\\x@`=<", "\n  ", ": ", "- ", "<<: ", "...\n", "---\n"]
)


@given(st.lists(alphabet, max_size=40).map("".join))
def test_both_parsers_of_the_library_read_the_same(text: str) -> None:
    found = _reads(text)
    fast = yaml.CSafeLoader
    del yaml.CSafeLoader
    try:
        slow = _reads(text)
    finally:
        yaml.CSafeLoader = fast  # type: ignore[misc]  # puts the class back
    if found is not None and slow is not None:
        assert found == slow


def _reads(text: str) -> object:
    try:
        return read(text).value, "read"
    except UnreadableError:
        return None
