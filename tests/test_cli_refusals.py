"""What a person gets wrong: one clear message, the right exit code, and nothing is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from desk import BASIC, Desk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("cli-refusals")

PLAN: Final = ("plan", f"{BASIC}/ticket.yaml", "-d", f"{BASIC}/draft.yaml")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.fresh(tmp_path_factory.mktemp("refusals"))


@pytest.fixture(scope="module")
def run(desk: Desk) -> str:
    return desk.plan()


# --- files that cannot be read: before anything is opened -----------------------------------------

BAD_FILES: Final = {
    "a ticket that is no YAML": (f"{BASIC}/ticket.yaml", b"id: [\n", "ticket.yaml:2"),
    "a ticket that lacks a field": (f"{BASIC}/ticket.yaml", b"id: CHG-1\n", "ticket.yaml:1"),
    "a ticket with a hidden sign": (
        f"{BASIC}/ticket.yaml",
        "id: CHG-1\ntitle: left\u202eright\n".encode(),
        "ticket.yaml:2",
    ),
    "a ticket in another encoding": (f"{BASIC}/ticket.yaml", b"id: \xff\n", "ticket.yaml"),
    "an empty ticket": (f"{BASIC}/ticket.yaml", b"", "ticket.yaml"),
    "a draft that is no YAML": (f"{BASIC}/draft.yaml", b"steps: [\n", "draft.yaml:2"),
    "a draft with an alias": (f"{BASIC}/draft.yaml", b"a: &x 1\nb: *x\n", "draft.yaml:1"),
    "a manifest that is no YAML": (
        "playbooks/service.restart/actor.yaml",
        b"a: [\n",
        "actor.yaml:2",
    ),
    "a manifest with a stray field": (
        "playbooks/service.restart/actor.yaml",
        b"format: 1\nshell: rm\n",
        "actor.yaml:2",
    ),
    "an inventory that is no YAML": ("inventory/prod.yaml", b"a: [\n", "prod.yaml:2"),
    "an inventory of nowhere": (
        "inventory/prod.yaml",
        b"format: 1\nenvironment: mars\nobjects: [{name: a}]\n",
        "prod.yaml:2",
    ),
    "settings that are no YAML": ("interlock.yaml", b"a: [\n", "interlock.yaml:2"),
    "settings with a stray field": (
        "interlock.yaml",
        b"format: 1\nshell: yes\n",
        "interlock.yaml:2",
    ),
}


@pytest.mark.parametrize(("file", "content", "place"), BAD_FILES.values(), ids=BAD_FILES)
def test_what_cannot_be_read_is_named_with_its_line_and_nothing_is_written(
    desk: Desk, run: str, file: str, content: bytes, place: str
) -> None:
    path = desk.root / file
    good = path.read_bytes()
    path.write_bytes(content)
    try:
        before = desk.everything()
        typed = desk.type_inside(*PLAN, expect=2)
        assert place in typed.err, typed.err
        assert typed.out == ""
        assert desk.everything() == before
    finally:
        path.write_bytes(good)


NO_FILE: Final = b"\0a folder"
"""Instead of content: a folder stands in the file's place."""
BAD_CONTENT: Final = {
    **{name: bad for name, bad in BAD_FILES.items() if not bad[0].startswith(BASIC)},
    "a folder instead of an inventory": ("inventory/staging.yaml", NO_FILE, "staging.yaml"),
    "an actor with a stray field": (
        "playbooks/linux.package_update/actor.yaml",
        b"format: 1\nbogus: 1\n",
        "actor.yaml:2",
    ),
}


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, dict[str, tuple[str, ...]]]:
    """Sit at a desk of its own, with what to type for runs in three phases."""
    desk = Desk.fresh(tmp_path_factory.mktemp("acting"))
    waiting, approved, succeeded = desk.plan(), desk.approved(), desk.approved()
    desk.type("run", succeeded, expect=0)
    digest = desk.digest(waiting)
    return desk, {
        "plan": PLAN,
        "dry-run": ("dry-run", waiting),
        "approve": ("approve", waiting, "--as", "jonas.weber", "--digest", digest),
        "run": ("run", approved),
        "rollback": ("rollback", succeeded),
    }


def _record(desk: Desk) -> list[tuple[object, ...]]:
    rows = desk.type_inside("list", "--json", expect=0).document["runs"]
    return [(row["run"], row["phase"], row["seq"], row["head"]) for row in rows]


@pytest.mark.parametrize("verb", ["plan", "dry-run", "approve", "run", "rollback"])
@pytest.mark.parametrize(("file", "content", "place"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_a_workspace_that_cannot_be_read_is_refused_before_anything_is_recorded(
    acting: tuple[Desk, dict[str, tuple[str, ...]]],
    verb: str,
    file: str,
    content: bytes,
    place: str,
) -> None:
    desk, words = acting
    path = desk.root / file
    good, before = path.read_bytes(), _record(desk)
    path.unlink()
    if content is NO_FILE:
        path.mkdir()
    else:
        path.write_bytes(content)
    try:
        typed = desk.type_inside(*words[verb], expect=2)
    finally:
        path.rmdir() if content is NO_FILE else path.unlink()
        path.write_bytes(good)
    assert place in typed.err, typed.err
    assert typed.out == ""
    if verb != "plan" and file != "interlock.yaml":
        assert "nothing was recorded" in typed.err
    assert _record(desk) == before


@pytest.mark.parametrize("verb", ["dry-run", "approve", "run", "rollback"])
@pytest.mark.parametrize(
    "file", ["playbooks/linux.package_update/actor.yaml", "inventory/staging.yaml"]
)
def test_what_is_not_as_it_was_planned_does_not_verify_and_nothing_is_recorded(
    acting: tuple[Desk, dict[str, tuple[str, ...]]], verb: str, file: str
) -> None:
    desk, words = acting
    path = desk.root / file
    good, before = path.read_text(encoding="utf-8"), _record(desk)
    changed = {
        "actor.yaml": good + "# one more line\n",
        "staging.yaml": good + "  - {name: one-more}\n",
    }
    path.write_text(changed[path.name], encoding="utf-8")
    try:
        typed = desk.type_inside(*words[verb], expect=8)
    finally:
        path.write_text(good, encoding="utf-8")
    assert "changed since" in typed.err
    assert "nothing was recorded" in typed.err
    assert _record(desk) == before


def test_rules_that_cannot_be_read_are_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path)
    waiting, approved = desk.plan(), desk.approved()
    digest = desk.digest(waiting)
    desk.edit("interlock.yaml", "engine: builtin", "engine: embedded")
    before = _record(desk)
    (desk.root / "policies/levels.yaml").write_bytes(b"a: [\n")
    consent = ("approve", waiting, "--as", "jonas.weber", "--digest", digest)
    for words in (PLAN, consent, ("run", approved)):
        typed = desk.type_inside(*words, expect=2)
        assert "levels.yaml:2" in typed.err
    assert _record(desk) == before


def test_a_refused_plan_does_not_even_make_a_ledger(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path)
    before = desk.everything()
    desk.type_inside("plan", f"{BASIC}/ticket.yaml", "-d", "nowhere.yaml", expect=2)
    desk.type_inside("plan", f"{BASIC}/ticket.yaml", expect=2)
    desk.type_inside("plan", "-", "-d", "-", expect=2)
    looked = desk.type_inside("show", "CHG-1001.1", expect=2)
    assert "nothing was planned here yet" in looked.err
    assert desk.type_inside("list", "--json", expect=0).document["runs"] == []
    assert desk.everything() == before


def test_a_draft_that_does_not_compile_is_rejected_with_the_line_of_each_finding(
    desk: Desk, tmp_path: Path
) -> None:
    draft = tmp_path / "draft.yaml"
    text = (desk.root / BASIC / "draft.yaml").read_text(encoding="utf-8")
    draft.write_text(text.replace("linux.package_update", "shell.run"), encoding="utf-8")
    typed = desk.type_inside("plan", f"{BASIC}/ticket.yaml", "-d", str(draft), expect=3)
    assert f"{draft}:" in typed.out
    assert "R2-unknown-actor" in typed.out
    assert "nothing was planned" in typed.out
    newest = desk.type_inside("list", "--json").document["runs"][0]
    assert newest["phase"] == "rejected"
    assert f"recorded as {newest['run']}, rejected" in typed.out


def test_a_file_that_is_not_there_is_not_called_a_run(desk: Desk, tmp_path: Path) -> None:
    for name in (str(tmp_path / "nope.jsonl"), "nope.jsonl", str(tmp_path)):
        typed = desk.type_inside("audit", "verify", name, expect=2)
        assert f"there is no such file or run: '{name}'" in typed.err


def test_a_mistake_in_the_ticket_is_shown_in_the_ticket(desk: Desk, tmp_path: Path) -> None:
    ticket = tmp_path / "ticket.yaml"
    text = (desk.root / BASIC / "ticket.yaml").read_text(encoding="utf-8")
    ticket.write_text(text.replace("web-stg-02]", "web-stg-99]"), encoding="utf-8")
    line = text[: text.index("targets:")].count("\n") + 1
    typed = desk.type_inside("plan", str(ticket), "-d", f"{BASIC}/draft.yaml", expect=3)
    assert f"{ticket}:{line}: R7-ticket-targets " in typed.out
    assert "draft.yaml:1:" not in typed.out


def test_a_single_finding_is_said_once(desk: Desk) -> None:
    settings = desk.root / "interlock.yaml"
    good = settings.read_bytes()
    settings.write_bytes(good + b"shell: yes\n")
    typed = desk.type_inside("list", expect=0), desk.type_inside(*PLAN, expect=2)
    settings.write_bytes(good)
    assert typed[1].err.count("interlock.yaml:") == 1
    manifest = desk.root / "playbooks/service.restart/actor.yaml"
    good = manifest.read_bytes()
    manifest.write_bytes(good.replace(b"\nversion: ", b"\nversoin: "))
    broken = desk.type_inside(*PLAN, expect=2)
    manifest.write_bytes(good)
    assert "not in the catalog" not in broken.err


# --- names and words ------------------------------------------------------------------------------

STRANGE: Final = {
    "unknown": "CHG-9999.1",
    "unknown ticket": "CHG-9999",
    "a path": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "empty": "",
    "blank": "  ",
    "long": "x" * 10_000,
    "escapes": "\x1b[31mred\x1b[0m",
    "bidi": "CHG\u202e1",
    "no UTF-8": "CHG\udcff",
    "quotes": "'; DROP TABLE runs; --",
    "wildcard": "%",
}


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
def test_a_name_that_is_no_run_is_said_to_be_none(desk: Desk, run: str, name: str) -> None:
    typed = desk.type_inside("status", name, expect=2)
    assert "there is no run" in typed.err or "is not UTF-8" in typed.err
    assert len(typed.err) < 500
    assert "\x1b" not in typed.err
    assert "\u202e" not in typed.err


VERBS: Final = (
    ("show", "X"), ("show", "X", "--graph"), ("status", "X"), ("watch", "X"), ("dry-run", "X"),
    ("approve", "X", "--digest", "a" * 12), ("reject", "X", "-r", "no"), ("run", "X"),
    ("resume", "X"), ("confirm", "X", "s", "1"), ("pause", "X"), ("cancel", "X"),
    ("rollback", "X"), ("recover", "X"), ("recover", "X", "hold"), ("answer", "X", "yes"),
    ("diff", "X", "X"), ("audit", "verify", "X"), ("audit", "replay", "X"),
    ("audit", "export", "X", "-o", "y"),
)  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_refuses_an_unknown_run_in_one_json_document(
    desk: Desk, run: str, words: tuple[str, ...]
) -> None:
    typed = desk.type_inside(*words, "--json", expect=2)
    assert "there is no run 'X'" in typed.document["error"]["what"]
    assert set(typed.document["error"]) == {"kind", "what", "details", "next_step", "exit_code"}


MISUSES: Final = (
    (), ("frob",), ("show",), ("show", "a", "b"), ("show", "-rf"), ("list", "-n", "0"),
    ("list", "-n", "x"), ("plan",), ("reject", "a"), ("audit",), ("actors", "frob"),
)  # fmt: skip


@pytest.mark.parametrize("words", MISUSES, ids=lambda words: " ".join(words) or "nothing")
def test_a_misused_command_is_sent_to_its_help(desk: Desk, words: tuple[str, ...]) -> None:
    typed = desk.type_inside(*words, expect=2)
    assert "--help" in typed.err or "Usage:" in typed.out


# --- what does not apply --------------------------------------------------------------------------


def test_what_does_not_apply_says_when_it_would(desk: Desk, run: str) -> None:
    for verb in ("pause", "rollback"):
        typed = desk.type_inside(verb, run, expect=2)
        assert f"'{verb}' does not apply" in typed.err
        assert "nothing was recorded" in typed.err
        assert "it stands at: waits for approval: 1 x operator" in typed.err
        assert "succeeded" in typed.err or verb == "pause"
    assert "none" in desk.type_inside("recover", run, "retry:update", expect=2).err


def test_a_person_is_told_of_the_verb_that_he_typed(desk: Desk) -> None:
    run = desk.plan()
    desk.type_inside("cancel", run, expect=5)
    for verb, more in (("dry-run", ()), ("reject", ("--reason", "no"))):
        typed = desk.type_inside(verb, run, *more, expect=2)
        assert f"'{verb}' does not apply to {run}: it stands at: cancelled" in typed.err
        assert "waits for approval, approved" in typed.err
        assert "previewing" not in typed.err
        assert "_requested" not in typed.err


def test_a_digest_must_be_the_plans_own_and_long_enough(desk: Desk, run: str) -> None:
    digest = desk.digest(run)
    events = desk.type_inside("show", run, "--json").document["events"]
    for wrong in ("0" * 64, digest[:11], "", digest + "0", "x" * 10_000):
        typed = desk.type_inside("approve", run, "--as", "jonas.weber", "--digest", wrong, expect=2)
        assert len(typed.err) < 600
    assert desk.type_inside("show", run, "--json").document["events"] == events


def test_nobody_is_asked_where_there_is_no_terminal(desk: Desk, run: str) -> None:
    for words in (("approve", run, "--as", "jonas.weber"), ("approve", run, "--json")):
        typed = desk.type(*words, stdin=b"2\n", expect=2)
        assert "--digest" in typed.out + typed.err
        assert "type the number" not in typed.out


def test_a_bad_anchor_is_refused(desk: Desk, run: str) -> None:
    assert "HASH@SEQ" in desk.type_inside("audit", "verify", run, "--anchor", "x", expect=2).err
    wrong = f"{'0' * 64}@1"
    assert "anchor" in desk.type_inside("audit", "verify", run, "--anchor", wrong, expect=8).err


def test_an_export_goes_nowhere_it_cannot(desk: Desk, run: str) -> None:
    typed = desk.type_inside("audit", "export", run, "-o", "nowhere/out.jsonl", expect=2)
    assert "cannot be written" in typed.err


UNSPEAKABLE: Final = {
    "endless": "x" * 200_000,
    "escapes": "\x1b[31mred",
    "bidi": "left\u202eright",
    "null": "a\x00b",
    "empty": "",
    "two lines": "a\nb",
}


@pytest.mark.parametrize("words", UNSPEAKABLE.values(), ids=UNSPEAKABLE)
def test_what_a_person_says_is_recorded_cleanly_or_refused(
    desk: Desk, run: str, words: str
) -> None:
    digest = desk.digest(run)
    for typed in (
        desk.type_inside("approve", run, "--as", words, "--role", "operator", "--digest", digest),
        desk.type_inside("approve", run, "--as", "a.b", "--role", words, "--digest", digest),
        desk.type_inside("answer", run, words),
        desk.type_inside("confirm", run, words, words),
        desk.type_inside("recover", run, words),
    ):
        assert typed.code == 2, typed
        assert len(typed.err) < 1_000
    other = desk.plan()
    said = desk.type_inside("cancel", other, "-r", words)
    assert said.code in (2, 5)
    assert "\x1b[31m" not in said.out + said.err
    assert desk.type_inside("status", other).code == 0


def test_a_login_name_that_cannot_be_recorded_is_refused(desk: Desk) -> None:
    runs = desk.type_inside("list", "--json").document["runs"]
    for name in ("two words", "\u202e", "x" * 1_000):
        typed = desk.type(*PLAN, env={"USER": name, "LOGNAME": name}, expect=2)
        assert "this cannot be recorded: " in typed.err
        assert "(your login, or --as)" in typed.err
        assert desk.type_inside("list", "--json").document["runs"] == runs


# --- workspaces -----------------------------------------------------------------------------------


def test_a_folder_that_is_no_workspace_says_how_to_make_one(desk: Desk, tmp_path: Path) -> None:
    assert "interlock init" in desk.type_inside("list", cwd=tmp_path, expect=2).err
    assert "interlock init" in desk.type_inside("list", "-w", str(tmp_path), expect=2).err
    named: dict[str, str | None] = {"INTERLOCK_WORKSPACE": str(desk.root)}
    desk.type("list", cwd=tmp_path, env=named, expect=0)


def test_init_writes_over_nothing(desk: Desk) -> None:
    before = desk.everything()
    typed = desk.type_inside("init", ".", expect=2)
    assert "nothing was written" in typed.err
    assert typed.err.count("\n  - ") == 51
    assert re.search(r"… and \d+ more\n", typed.err)
    empty = desk.type_inside("init", "", expect=2)
    assert "the name of the folder is empty" in empty.err
    assert desk.everything() == before


def test_a_broken_actor_earns_no_evidence(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path)
    script = desk.root / "playbooks/linux.package_update/rehearsal.yaml"
    good = script.read_text(encoding="utf-8")
    script.write_text(good.replace("updated: 2", "updated: many"), encoding="utf-8")
    evidence = desk.root / "playbooks/linux.package_update/evidence.json"
    before = evidence.read_bytes()
    typed = desk.type_inside("actors", "test", expect=2)
    assert "BROKEN  linux.package_update" in typed.out
    assert "passed  service.restart" in typed.out
    assert evidence.read_bytes() == before
    document = desk.type_inside(
        "actors", "test", "linux.package_update", "--json", expect=2
    ).document
    assert document["actors"]["linux.package_update"]["broken"]
    unknown = desk.type_inside("actors", "test", "../service.restart", expect=2)
    assert "there is no actor" in unknown.err
    assert not (desk.root / ".interlock").exists()
