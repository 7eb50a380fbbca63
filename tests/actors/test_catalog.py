"""Actors as folders: the digest that covers them, and every finding with its code and line."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.catalog import (
    ActorRead,
    Evidence,
    folder_digest,
    read_actor,
    read_catalog,
    record_evidence,
)
from actors.kinds import ActorsError
from actors.rehearsal import Rehearsal

if TYPE_CHECKING:
    from actors.kinds import Kind

GOOD = """\
name: web.member_drain
version: 1.0.0
kind: rehearsal
summary: Take servers out.
when_to_use: Before work on them.
when_not_to_use: For fun.
effect: change
params:
  targets: {type: targets, summary: the servers}
  grace_s: {type: integer, summary: how long, minimum: 0, maximum: 60, required: false, default: 5}
  note:
    type: text
    summary: a word
    pattern: '^[a-z]+$'
    required: false
outputs:
  cut: {type: integer, summary: how many, minimum: 0, maximum: 9}
writes: [pool]
idempotent: true
undo: full
dry_run: predicted
failure_modes:
  - {name: busy, summary: it was busy, retry: true}
retries: {maximum: 1}
timeouts: {apply_s: 60, expected_s: 5}
"""


def kind_of(name: str) -> Kind:
    if name == "rehearsal":
        return Rehearsal()
    raise ActorsError(f"no kind named {name}", next_step="install it")


def laid(tmp_path: Path, manifest: str = GOOD, name: str = "web.member_drain") -> Path:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "actor.yaml").write_text(manifest)
    (folder / "rehearsal.yaml").write_text("format: 1\n")
    return folder


def read(folder: Path) -> ActorRead:
    return read_actor(folder, kind_of=kind_of)


def places(found: ActorRead) -> list[tuple[str, int | None]]:
    return [(finding.code, finding.line) for finding in found.findings]


def test_a_good_folder_is_an_actor(tmp_path: Path) -> None:
    found = read(laid(tmp_path))
    assert found.findings == ()
    assert found.spec is not None
    assert found.spec.target_param == "targets"
    assert found.digest is not None


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("name: web.member_drain", "name: web.member_drian", "M-folder-name", 1),
        ("summary: Take servers out.\n", "", "M-missing", 1),
        ("kind: rehearsal", "kind: ansibel", "M-unknown-kind", 3),
        ("effect: change", "effect: chagne", "M-unknown-word", 7),
        ("effect: change", "effect: change\nefect: read", "M-unknown-field", 8),
        ("type: integer, summary: how long", "type: intger, summary: x", "M-unknown-word", 10),
        ("{type: integer, summary: how long", "{summary: x", "M-missing", 10),
        ("version: 1.0.0", "version: '1'", "M-pattern", 2),
        ("maximum: 60", "maximum: sixty", "M-value", 10),
        ("pattern: '^[a-z]+$'", "pattern: '[a-z]+'", "M-pattern", 14),
        ("pattern: '^[a-z]+$'", "pattern: '^a\\$'", "M-pattern", 14),
        ("pattern: '^[a-z]+$'", "pattern: '^a|b$'", "M-pattern", 14),
        ("pattern: '^[a-z]+$'", "pattern: '^([a-z]+$'", "M-pattern", 14),
        ("default: 5", "default: 61", "M-default", 10),
        ("required: false, default: 5", "default: 5", "M-default-required", 10),
        ("minimum: 0, maximum: 60", "minimum: 61, maximum: 60", "M-range", 10),
        ("  note:", "  more: {type: targets, summary: x}\n  note:", "M-two-targets", 11),
        ("  note:", "  ansible_host:", "M-reserved-name", 11),
        ("  cut:", "  interlock_cut:", "M-reserved-name", 17),
        ("  cut: {type: integer, summary: how many, minimum: 0, maximum: 9}",
         "  cut: {type: targets, summary: x}", "M-unknown-word", 17),
        ("  targets: {type: targets, summary: the servers}\n", "", "M-no-targets", 7),
        ("writes: [pool]", "writes: [pool]\nuntargeted_because: none", "M-targets-denied", 19),
        ("writes: [pool]\n", "", "M-writes-nothing", 7),
        ("undo: full", "undo: full\npoint_of_no_return: true", "M-no-return", 21),
        ("retry: true", "retry: true, leaves: partial", "M-retry-dirty", 23),
        ("retry: true", "retry: false", "M-retry-nothing", 24),
        ("expected_s: 5", "expected_s: 61", "M-timeout", 25),
        ("writes: [pool]", "writes: [pool]\nneeds_after: [web.member_drain]", "M-order", 19),
        ("writes: [pool]", "writes: [p]\nneeds_before: [a.b]\nneeds_after: [a.b]", "M-order", 20),
        ("retry: true}", "retry: true}\n  - {name: busy, summary: again}", "M-twice", 24),
        ("version: 1.0.0", "version: 1.0.0\nversion: 1.0.0", "M-unreadable", 3),
    ],
)  # fmt: skip
def test_each_finding_has_its_code_and_line(
    tmp_path: Path, old: str, new: str, code: str, line: int
) -> None:
    assert GOOD.count(old) == 1
    found = read(laid(tmp_path, GOOD.replace(old, new)))
    assert (code, line) in places(found), [str(finding) for finding in found.findings]


def test_a_read_actor_cannot_declare_changes(tmp_path: Path) -> None:
    manifest = GOOD.replace("effect: change", "effect: read").replace(
        "writes: [pool]", "writes: [pool]\nshares: [rack]\ndisturbs: true\npoint_of_no_return: true"
    )
    found = [one for one in read(laid(tmp_path, manifest)).findings if one.code == "M-read-changes"]
    assert [finding.line for finding in found] == [18, 19, 20, 21, 23]


def test_a_choice_offered_twice_is_found(tmp_path: Path) -> None:
    choice = "  word: {type: choice, summary: x, choices: [a, a]}\n  note:"
    found = read(laid(tmp_path, GOOD.replace("  note:", choice)))
    assert ("M-twice", 11) in places(found)


def test_the_items_of_a_list_keep_the_same_rules(tmp_path: Path) -> None:
    items = "{type: text, summary: x, pattern: 'a.c'}"
    entry = f"  words: {{type: list, summary: x, items: {items}, minimum: 9, maximum: 1}}\n  note:"
    codes = {one.code for one in read(laid(tmp_path, GOOD.replace("  note:", entry))).findings}
    assert codes == {"M-pattern", "M-range"}


@pytest.mark.parametrize(
    "pattern",
    [
        *("^(a+)+$", "^(a*)*$", "^(a|a)*$", "^(?:a+){2,}$", "^(a+){30}$", "^((a+))+$", "^(a?)+$"),
        *("^(-[a-z-]+)+$", "^(-.+)+$", "^(-[^a]+)+$", r"^(-\S+)+$", "^(_\\w+)+$", "^(-[ -z]+)+$"),
        *("^(a{1,9})*$", "^x(([a-z])+.)+$", "^(-[+-z]+)+$"),
    ],
)
def test_a_pattern_that_could_take_for_ever_is_refused(tmp_path: Path, pattern: str) -> None:
    found = read(laid(tmp_path, GOOD.replace("^[a-z]+$", pattern)))
    assert places(found) == [("M-pattern", 14)]
    assert "for ever" in found.findings[0].message


@pytest.mark.parametrize(
    "pattern",
    [
        *("^[a-z]+(-[a-z0-9]+)*$", r"^[a-z]+(\.[a-z][a-z0-9_]*){1,3}$", "^(ab)+$", "^(a+)?$"),
        *("^([a-z]+){1}$", "^(a|b)$", "^(/[a-z0-9_-]{1,20}){0,5}$", r"^\(a+\)+$", "^[(a+)]+$"),
    ],
)
def test_a_pattern_with_clear_repetitions_is_taken(tmp_path: Path, pattern: str) -> None:
    assert read(laid(tmp_path, GOOD.replace("^[a-z]+$", pattern))).findings == ()


def test_a_change_without_targets_may_give_its_reason(tmp_path: Path) -> None:
    manifest = GOOD.replace("  targets: {type: targets, summary: the servers}\n", "").replace(
        "idempotent", "untargeted_because: it changes one global switch\nidempotent"
    )
    assert read(laid(tmp_path, manifest)).findings == ()


@pytest.mark.parametrize(
    ("old", "new", "offered"),
    [
        ("effect: change", "effect: chnage", "did you mean change?"),
        ("idempotent:", "idempotnet:", "did you mean idempotent?"),
        ("summary: how long", "sumary: how long", "did you mean summary?"),
        ("name: busy", "nam: busy", "did you mean name?"),
        ("type: integer, summary: how long", "type: integr, summary: x", "did you mean integer?"),
        ("apply_s: 60", "aply_s: 60", "did you mean apply_s?"),
    ],
)
def test_the_nearest_legal_word_is_offered(
    tmp_path: Path, old: str, new: str, offered: str
) -> None:
    found = read(laid(tmp_path, GOOD.replace(old, new)))
    assert any(offered in finding.message for finding in found.findings), found.findings


def test_a_file_that_the_kind_needs_is_missed(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / "rehearsal.yaml").unlink()
    assert places(read(folder)) == [("M-missing-file", 3)]


def test_a_folder_without_manifest_is_no_actor(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / "actor.yaml").unlink()
    assert places(read(folder)) == [("M-no-manifest", None)]


def test_a_folder_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    assert places(read(tmp_path / "no.such")) == [("M-unreadable", None)]


# --- the digest ---------------------------------------------------------------------------------


def test_the_digest_can_be_computed_by_hand(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / "run.sh").write_text("true\n")
    (folder / "run.sh").chmod(0o755)
    lines = [
        f"{sha256((folder / name).read_bytes()).hexdigest()} {mode} {name}\n"
        for name, mode in (("actor.yaml", "-"), ("rehearsal.yaml", "-"), ("run.sh", "x"))
    ]
    text = "interlock actor 1\n" + "".join(lines)
    assert folder_digest(folder).digest == sha256(text.encode()).hexdigest()


@given(st.data())
def test_any_change_of_a_byte_a_mode_or_a_name_changes_the_digest(data: st.DataObject) -> None:
    with _Scratch() as scratch:
        folder = laid(scratch)
        (folder / "tests").mkdir()
        (folder / "tests" / "one.yml").write_text("x: 1\n")
        before = folder_digest(folder).digest
        path = data.draw(st.sampled_from(sorted(p for p in folder.rglob("*") if p.is_file())))
        match data.draw(st.sampled_from(["byte", "mode", "name", "place", "gone", "more"])):
            case "byte":
                raw = bytearray(path.read_bytes())
                raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
                path.write_bytes(raw)
            case "mode":
                path.chmod(0o755)
            case "name":
                path.rename(path.with_name("x" + path.name))
            case "place":
                (folder / "other").mkdir()
                path.rename(folder / "other" / path.name)
            case "gone":
                path.unlink()
            case _:
                (path.parent / "more").write_bytes(data.draw(st.binary(max_size=3)))
        after = folder_digest(folder).digest
        assert before is not None
        assert after is not None
        assert after != before


class _Scratch:
    """A folder for one example of a property."""

    def __enter__(self) -> Path:
        import tempfile  # noqa: PLC0415 - only here

        self._path = Path(tempfile.mkdtemp())
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path)


def test_evidence_and_empty_folders_do_not_count(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    before = folder_digest(folder).digest
    (folder / "evidence.json").write_text("{}")
    (folder / "empty").mkdir()
    assert folder_digest(folder).digest == before
    (folder / "empty" / "evidence.json").write_text("{}")
    assert folder_digest(folder).digest != before


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    (folder / "link").symlink_to(folder / "actor.yaml")
    (folder / "dir").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert sorted(code for code, _ in places(read(folder))) == [
        "M-link",
        "M-link",
        "M-special-file",
    ]


def test_a_folder_that_is_itself_a_link_is_refused(tmp_path: Path) -> None:
    folder = laid(tmp_path / "elsewhere")
    link = tmp_path / folder.name
    link.symlink_to(folder)
    assert places(read(link)) == [("M-link", None)]
    assert read_catalog(tmp_path, kind_of=kind_of).actors == {}


@pytest.mark.parametrize(
    "name", ["__pycache__", "apply.yml.swp", "apply.yml~", ".DS_Store", "x.pyc"]
)
def test_what_a_tool_left_behind_is_named_and_not_digested(tmp_path: Path, name: str) -> None:
    folder = laid(tmp_path)
    (folder / name).write_text("")
    assert places(read(folder)) == [("M-stray-file", None)]


@pytest.mark.parametrize("name", [b"e\xcc\x81", b"a\nb", b"\xff", b"a\xe2\x80\xaeb"])
def test_a_name_that_others_would_write_differently_is_refused(tmp_path: Path, name: bytes) -> None:
    folder = laid(tmp_path)
    Path(os.fsdecode(bytes(folder) + b"/" + name)).write_text("")
    found = read(folder)
    assert places(found) == [("M-file-name", None)]
    assert str(found.findings[0]).encode()


def test_a_folder_that_is_too_large_is_refused(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    with (folder / "large").open("wb") as file:
        file.truncate(20_000_001)
    assert places(read(folder)) == [("M-too-large", None)]


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    for number in range(1_000):
        (folder / f"{number}").touch()
    assert places(read(folder)) == [("M-too-large", None)]


# --- the catalog --------------------------------------------------------------------------------


def test_one_bad_actor_hides_nothing_but_itself(tmp_path: Path) -> None:
    laid(tmp_path)
    laid(tmp_path, "name: [", "web.broken")
    (tmp_path / "README.md").write_text("no actor")
    (tmp_path / ".git").mkdir()
    found = read_catalog(tmp_path, kind_of=kind_of)
    assert list(found.actors) == ["web.member_drain"]
    assert [finding.code for finding in found.findings] == ["M-unreadable"]


def test_an_unknown_neighbour_is_found(tmp_path: Path) -> None:
    laid(tmp_path, GOOD + "needs_after: [web.member_drian]\n")
    (finding,) = read_catalog(tmp_path, kind_of=kind_of).findings
    assert finding.code == "M-unknown-actor"
    assert "did you mean web.member_drain?" in finding.message


def test_a_neighbour_that_cannot_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    laid(tmp_path, GOOD + "needs_after: [web.broken]\n")
    laid(tmp_path, "name: [", "web.broken")
    (finding,) = read_catalog(tmp_path, kind_of=kind_of).findings
    assert (finding.code, Path(finding.file).parent.name) == ("M-unreadable", "web.broken")


def test_a_catalog_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    (finding,) = read_catalog(tmp_path / "none", kind_of=kind_of).findings
    assert finding.code == "M-unreadable"


def test_the_digest_of_a_catalog_covers_every_actor(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    before = read_catalog(tmp_path, kind_of=kind_of).digest
    (folder / "rehearsal.yaml").write_text("format: 1\n\n")
    assert read_catalog(tmp_path, kind_of=kind_of).digest != before


def test_evidence_is_for_one_digest(tmp_path: Path) -> None:
    folder = laid(tmp_path)
    digest = read(folder).digest
    assert digest is not None
    evidence = Evidence(actor="web.member_drain", digest=digest, passed=1, tool="test")
    record_evidence(folder, evidence)
    actor = read_catalog(tmp_path, kind_of=kind_of).actors["web.member_drain"]
    assert (actor.evidence, actor.digest) == (digest, digest)


@pytest.mark.parametrize(
    "text",
    ["{", "{}", '{"actor": "web.other", "digest": "%s", "passed": 1, "tool": "x"}' % ("0" * 64)],
)
def test_evidence_that_cannot_be_used_is_none(tmp_path: Path, text: str) -> None:
    (laid(tmp_path) / "evidence.json").write_text(text)
    found = read_catalog(tmp_path, kind_of=kind_of)
    assert found.actors["web.member_drain"].evidence is None
    assert {finding.code for finding in found.findings} == {"M-evidence"}
