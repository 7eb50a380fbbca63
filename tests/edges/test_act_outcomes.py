"""What an act writes down, and that its actor's verify has the last word."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from actors.spec import Done, Failed, Found, InDoubt, Predicted, Unexpected
from edges import rig
from orchestrator.act import perform_act, read_outcome, write_outcome
from orchestrator.local import Local
from orchestrator.pure.commands import Act
from orchestrator.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actors.spec import Brief, Outcome, Verb

DRAFT: Final = """\
decision: plan
steps:
  - {id: b, actor: lab.change, params: {targets: [h02, h03]}}
  - {id: c, actor: lab.look, params: {targets: [h04]}}
"""


@pytest.fixture(scope="module")
def briefs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Act], Brief]:
    """What an honest driver would ask of an act."""
    root = rig.build(tmp_path_factory.mktemp("outcomes") / "ws")
    name = rig.opened(root, DRAFT)
    with Session.open(root) as session:
        run = session.load(name)
        workspace = session.workspace
    local = Local(workspace, lambda: run, os.environ, None, run.id)
    return lambda act: local._warrant(act, root).brief


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"kind": "done", "outputs": {"size": ',
        b'{"kind": "celebrated"}',
        b'{"kind": "done", "extra": 1}',
        b'{"kind": "done", "changed": "yes"}',
        b"\xff\xfe",
        b'{"kind": "in_doubt", "message": "' + b"x" * 4_000_000 + b'"}',
    ],
)
def test_an_unreadable_outcome_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "outcome.json").write_bytes(content)
    assert read_outcome(tmp_path) is None


def test_an_outcome_that_is_no_file_is_none(tmp_path: Path) -> None:
    assert read_outcome(tmp_path) is None
    (tmp_path / "outcome.json").mkdir()
    assert read_outcome(tmp_path) is None


@pytest.mark.parametrize(
    "outcome",
    [
        Done(outputs={"size": 3, "names": ("a", "b")}),
        Failed(mode="broken"),
        Unexpected(message="ü"),
        Found(state="partial"),
        Predicted(grade="none"),
    ],
)
def test_an_outcome_is_read_as_it_was_written(tmp_path: Path, outcome: Outcome) -> None:
    write_outcome(tmp_path, outcome)
    assert read_outcome(tmp_path) == outcome
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]


class Scripted:
    """A kind that answers each verb with what it is given."""

    name = "scripted"
    inline = True

    def __init__(self, apply: Outcome, verify: Outcome) -> None:
        self.answers = {"apply": apply, "undo": apply, "verify": verify, "check": apply}

    def needs(self, _spec: object) -> tuple[str, ...]:
        return ()

    def perform(self, brief: Brief, _settings: object) -> Outcome:
        return self.answers[brief.verb]


@pytest.mark.parametrize(
    ("verb", "seen", "kind"),
    [
        ("apply", Found(state="applied"), "done"),
        ("apply", Found(state="not_applied"), "unexpected"),
        ("apply", Found(state="partial"), "unexpected"),
        ("apply", Found(state="unknown"), "in_doubt"),
        ("apply", InDoubt(message="no line"), "in_doubt"),
        ("apply", Failed(mode="stopped"), "in_doubt"),
        ("apply", Done(), "in_doubt"),
        ("undo", Found(state="not_applied"), "done"),
        ("undo", Found(state="applied"), "unexpected"),
        ("undo", Found(state="unknown"), "in_doubt"),
    ],
)
def test_an_actors_verify_has_the_last_word(
    briefs: Callable[[Act], Brief], verb: Verb, seen: Outcome, kind: str
) -> None:
    brief = briefs(Act("b", verb, 1))
    assert perform_act(Scripted(Done(), seen), brief, {}).kind == kind


def test_what_reads_only_is_not_verified(briefs: Callable[[Act], Brief]) -> None:
    brief = briefs(Act("c", "apply", 1))
    kind = Scripted(Done(outputs={"size": 1}), Found(state="not_applied"))
    assert perform_act(kind, brief, {}) == Done(outputs={"size": 1})
