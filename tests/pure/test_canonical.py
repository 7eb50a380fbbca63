"""Canonical JSON, the Merkle tree of a plan's steps, and the strict door."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from actors.strict import MAX_DEPTH, UnreadableError, is_plain, read_json, refuse_ambiguous
from orchestrator.pure.canonical import (
    canonical,
    digest,
    merkle_levels,
    merkle_path,
    merkle_root,
    proves,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="ascii", categories=["L"])), inner, max_size=4
        )
    ),
    max_leaves=20,
)
# Also what is not plain: floats, large numbers, text beyond ASCII, keys that are no text.
ANYTHING = st.recursive(
    PLAIN
    | st.floats()
    | st.integers()
    | st.sampled_from([2**53 - 1, 2**53, 1 - 2**53, -(2**53)])
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), inner, max_size=4)
    ),
    max_leaves=20,
)
# RFC 6962 and RFC 9162 test leaves, and the roots of the trees over the first n of them.
LEAVES = tuple(
    bytes.fromhex(h)
    for h in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


# --- canonical form -------------------------------------------------------------------------------


def test_keys_are_sorted_by_their_utf_16_units() -> None:
    # The example of RFC 8785, section 3.2.3.
    keys = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7}
    told = json.loads(canonical(keys), object_pairs_hook=lambda pairs: [v for _, v in pairs])
    assert told == [2, 4, 6, 7, 1, 5, 3]


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [
        ({"b": 1, "a": [True, None, "x"]}, b'{"a":[true,null,"x"],"b":1}'),
        ("\u20ac$\x0f\nA'B\"\\", b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\"'),
        (2**53 - 1, b"9007199254740991"),
        ([], b"[]"),
    ],
    ids=["object", "text", "largest", "nothing"],
)
def test_canonical_bytes_are_those_of_rfc_8785(value: Any, bytes_: bytes) -> None:
    assert canonical(value) == bytes_
    assert digest(value) == sha256(bytes_).hexdigest()


@given(ANYTHING)
def test_whatever_has_a_canonical_form_has_the_bytes_of_rfc_8785(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        with pytest.raises(type(error)):
            canonical(value)
    else:
        assert canonical(value) == expected


@given(ANYTHING)
def test_only_what_passes_the_strict_door_is_plain(value: Any) -> None:
    if is_plain(value):
        assert read_json(json.dumps(value), max_bytes=1_000_000) == value


def test_plain_values_are_not_too_deep() -> None:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert is_plain(deep)
    assert not is_plain([deep])
    with pytest.raises(UnreadableError, match="nested deeper"):
        refuse_ambiguous([deep])


@given(PLAIN)
def test_the_order_of_keys_never_matters(value: Any) -> None:
    def turned(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: turned(inner[key]) for key in reversed(inner)}
        return [turned(each) for each in inner] if isinstance(inner, list) else inner

    assert canonical(turned(value)) == canonical(value)
    assert read_json(canonical(value), max_bytes=1_000_000) == value


# --- Merkle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_rfc_6962(size: int) -> None:
    assert merkle_root(LEAVES[:size]) == ROOTS[size]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_every_leaf_has_a_proof_and_no_other_leaf_fits_it(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = merkle_root(leaves), merkle_path(merkle_levels(leaves), index)
    assert proves(leaves[index], proof, root)
    assert not proves(leaves[index] + b"x", proof, root)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        side, rest = proof[place][0], proof[place][1:]
        other = ("R" if side == "L" else "L") + rest
        torn = (*proof[:place], other, *proof[place + 1 :])
        same = leaves and len(set(leaves)) < len(leaves)
        assert same or not proves(leaves[index], torn, root)
        assert not proves(leaves[index], proof[:-1], root)


@pytest.mark.parametrize(
    "sibling", ["", "L", "Lzz", "X" + "00" * 32, "00" * 32], ids=["empty", "bare", "hex", "x", "0"]
)
def test_a_torn_proof_proves_nothing(sibling: str) -> None:
    assert not proves(b"a", (sibling,), merkle_root([b"a"]))


def test_a_node_of_the_tree_is_not_a_leaf() -> None:
    left, right = (sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b"))
    assert not proves(left + right, (), merkle_root([b"a", b"b"]))


# --- the strict door ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1,"a":2}', "'a' twice"),
        ('{"x":{"b":1,"c":2,"b":3}}', "'b' twice"),
        ("1.0", "only whole numbers"),
        ("1e3", "only whole numbers"),
        ("NaN", "only whole numbers"),
        ("-Infinity", "only whole numbers"),
        ("9007199254740992", r"2\^53-1"),
        ("-9007199254740992", r"2\^53-1"),
        ('"a\\u0000b"', r"U\+0000"),
        ('"\\ud800"', r"U\+D800"),
        ('"\\u202e"', r"U\+202E"),
        ('"e\\u0301"', "normal form C"),
        ('{"e\\u0301":1}', "normal form C"),
        ("[" * 40 + "]" * 40, "nested deeper"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper"),
        ("", "not JSON"),
        ("{} {}", "not JSON"),
        ("{'a':1}", "not JSON"),
        ("\ufeff{}", "not JSON"),
    ],
    ids=range(19),
)
def test_what_two_readers_could_read_differently_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        read_json(text, max_bytes=1_000_000)


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(UnreadableError, match="not JSON"):
        read_json(b'"\xff"', max_bytes=100)


def test_what_is_too_long_is_not_read() -> None:
    assert read_json("[1]", max_bytes=3) == [1]
    with pytest.raises(UnreadableError, match="at most 2"):
        read_json("[1]", max_bytes=2)


def test_a_refusal_says_where() -> None:
    with pytest.raises(UnreadableError) as refused:
        refuse_ambiguous({"steps": [{"id": "a"}, {"id": 1.5}]})
    assert refused.value.pointer == ("steps", 1, "id")


@pytest.mark.parametrize("value", [{1: 2}, {"a": b"x"}, {"a": {1, 2}}], ids=["key", "bytes", "set"])
def test_values_that_json_does_not_have_are_refused(value: Any) -> None:
    with pytest.raises(UnreadableError):
        refuse_ambiguous(value)


@pytest.mark.parametrize(
    "value", [None, True, -5, "Zürich\n\t", ("a", ["b", {"c": 0}])], ids=range(5)
)
def test_plain_values_pass(value: Any) -> None:
    refuse_ambiguous(value)
