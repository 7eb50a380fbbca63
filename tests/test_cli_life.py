"""A ticket's life as an operator types it: every verb where it applies, and what it answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from desk import BASIC, Desk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("cli-life")

DOCUMENT: Final = {
    "answers", "approvals", "at_ms", "by", "carried_from", "decision", "epoch", "events",
    "findings", "format", "incidents", "next", "offered", "opened_ms", "paused", "phase", "plan",
    "plan_digest", "preview", "progress", "question", "reason", "refusal", "revision", "run",
    "ticket", "ticket_digest",
}  # fmt: skip
ROW: Final = {
    "at_ms", "counts", "environment", "epoch", "head", "note", "opened_ms", "phase", "run", "seq",
    "ticket", "title",
}  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.fresh(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
def done(desk: Desk) -> str:
    """A run that has succeeded."""
    run = desk.approved()
    desk.type("run", run, expect=0)
    return run


def test_a_plan_waits_for_approval_and_says_what_to_type(desk: Desk) -> None:
    typed = desk.type_inside("plan", f"{BASIC}/ticket.yaml", "-d", f"{BASIC}/draft.yaml", expect=4)
    run = typed.out.split()[0]
    assert f"interlock approve {run}" in typed.out
    assert "RISK" in typed.out
    assert typed.out.index("RISK") < typed.out.index("STEPS")


def test_a_ticket_is_read_from_the_standard_input(desk: Desk) -> None:
    ticket = (desk.root / BASIC / "ticket.yaml").read_bytes()
    typed = desk.type("plan", "-", "-d", f"{BASIC}/draft.yaml", "--json", stdin=ticket, expect=4)
    assert typed.document["phase"] == "waiting"


def test_the_documents_of_a_run_have_these_keys(desk: Desk, done: str) -> None:
    assert set(desk.type_inside("show", done, "--json", expect=0).document) == DOCUMENT
    assert set(desk.type_inside("status", done, "--json", expect=0).document) == ROW | {
        "format",
        "driver",
    }
    for verb in ("status", "list"):
        document = desk.type_inside(verb, "--json", expect=0).document
        assert set(document) == {"format", "runs"}
        assert all(set(row) == ROW for row in document["runs"])
    graph = desk.type_inside("show", done, "--graph", "--json", expect=0).document
    assert set(graph) == DOCUMENT


def test_a_dry_run_changes_nothing_but_the_record(desk: Desk, done: str) -> None:
    effects = desk.root / ".interlock/rehearsal/effects.jsonl"
    before = effects.read_bytes()
    assert f'"{done}"' in before.decode(), "what acts leaves a trace there"
    run = desk.plan()
    typed = desk.type("dry-run", run, expect=0)
    assert "nothing was changed" in typed.out
    assert effects.read_bytes() == before
    assert desk.type_inside("show", run, "--json").document["preview"]["left"] == 0


def test_a_rollback_that_policy_denies_says_so_and_undoes_nothing(desk: Desk, done: str) -> None:
    settings = desk.root / "interlock.yaml"
    as_it_was = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"max_targets: \d+", "max_targets: 1", as_it_was), encoding="utf-8")
    typed = desk.type("rollback", done, "-r", "no good", expect=3)
    settings.write_text(as_it_was, encoding="utf-8")
    assert "going back was denied: the plan touches" in typed.out
    document = desk.type_inside("show", done, "--json", expect=0).document
    assert document["phase"] == "succeeded"
    assert document["decision"]["outcome"] == "deny"


def test_two_people_approve_where_policy_asks_for_two(desk: Desk) -> None:
    run = desk.plan("examples/openssl-web-tier")
    digest = desk.digest(run)[:12]
    first = ("approve", run, "--as", "ines.ferreira", "--digest", digest)
    several = desk.type_inside(*first, expect=2)
    assert "--role change_manager" in several.err
    typed = desk.type_inside(*first, "--role", "change_manager", expect=4)
    assert "operator" in typed.out
    again = desk.type_inside(*first, "--role", "operator", expect=4)
    assert "operator" in again.out, "one person counts once"
    desk.type_inside("approve", run, "--as", "otto.weber", "--digest", digest, expect=0)
    late = desk.type_inside("approve", run, "--as", "x.y", "--digest", digest, expect=2)
    assert f"interlock run {run}" in late.err


def test_a_run_before_its_approval_waits_and_names_the_next_command(desk: Desk) -> None:
    run = desk.plan()
    typed = desk.type("run", run, expect=4)
    assert f"next: interlock approve {run}" in typed.out


def test_the_run_succeeds_once(desk: Desk, done: str) -> None:
    refused = desk.type("run", done, expect=2)
    assert "has ended" in refused.err


def test_the_requester_cannot_approve(desk: Desk) -> None:
    run = desk.plan()
    words = ("approve", run, "--as", "sofia.lindqvist", "--digest", desk.digest(run))
    assert "requester's own" in desk.type_inside(*words, expect=2).err


def test_a_rejected_plan_is_over(desk: Desk) -> None:
    run = desk.plan()
    desk.type_inside("reject", run, "--reason", "not today", expect=3)
    typed = desk.type("run", run, expect=2)
    assert "rejected" in typed.err


def test_a_run_is_cancelled_before_it_begins(desk: Desk) -> None:
    run = desk.plan()
    typed = desk.type_inside("cancel", run, expect=5)
    assert "no reason was given" in typed.out
    desk.type_inside("cancel", run, expect=2)


def test_a_success_can_be_rolled_back(desk: Desk) -> None:
    run = desk.approved()
    desk.type("run", run, expect=0)
    assert "undone" in desk.type("rollback", run, "-r", "no good", expect=5).out
    assert "rolled back" in desk.type("resume", run, expect=5).out
    assert "rolled back" in desk.type_inside("watch", run, expect=5).out
    row = desk.type_inside("status", run, "--json", expect=0).document
    assert (row["counts"]["done"], row["counts"]["undone"]) == (0, 1)
    assert "0 of 2 steps done, 1 undone" in desk.type_inside("status", run, expect=0).out
    (line,) = (x for x in desk.type_inside("list").out.splitlines() if x.startswith(f"{run} "))
    assert "0/2" in line
    shown = desk.type_inside("show", run, "--json", expect=0).document
    assert shown["progress"]["done"] == 0


def test_a_question_is_answered_with_another_draft(desk: Desk) -> None:
    example = "examples/question"
    asked = desk.type_inside(
        "plan", f"{example}/ticket.yaml", "-d", f"{example}/draft.yaml", expect=4
    )
    (run,) = re.findall(r"interlock answer (\S+)", asked.out)
    refused = desk.type_inside("answer", run, "etcd-ams1-02", expect=2)
    assert "--draft" in refused.err
    draft = f"{example}/draft-after-answer.yaml"
    typed = desk.type_inside("answer", run, "etcd-ams1-02", "--draft", draft, expect=4)
    assert "etcd-ams1-02" in typed.out


def test_a_tickets_id_names_its_only_living_run(desk: Desk) -> None:
    run = desk.plan("examples/foreseen-failure")
    assert desk.type_inside("status", "CHG-1007", "--json", expect=0).document["run"] == run
    assert desk.type_inside("run", "CHG-1007", expect=4).out.startswith(run)
    other = desk.plan("examples/foreseen-failure")
    typed = desk.type_inside("run", "CHG-1007", expect=2)
    assert run in typed.err
    assert other in typed.err
    desk.type_inside("cancel", run, expect=5)
    assert desk.type_inside("status", "CHG-1007", "--json", expect=0).document["run"] == other


def test_a_gate_opens_for_the_right_name_only(desk: Desk, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(
        "decision: plan\nrationale: A person says yes first.\nsteps:\n"
        "  - id: yes\n    actor: interlock.confirm\n"
        "    params: {text: Shall it begin?, expect: targets}\n    why: asked by hand\n"
        "  - id: look\n    actor: http.health_check\n    after: [yes]\n    why: harmless\n"
        "    params: {targets: [web-stg-01, web-stg-02]}\n",
        encoding="utf-8",
    )
    planned = desk.type_inside("plan", f"{BASIC}/ticket.yaml", "-d", str(draft), "--json").document
    assert planned["phase"] == "waiting", planned["findings"]
    run = planned["run"]
    desk.type_inside("approve", run, "--as", "jonas.weber", "--digest", desk.digest(run), expect=0)
    asked = desk.type("run", run, expect=4)
    assert f"interlock confirm {run} yes ANSWER" in asked.out
    wrong = desk.type("confirm", run, "yes", "7", expect=2)
    assert "not what yes asks for" in wrong.err
    elsewhere = desk.type("confirm", run, "look", "2", expect=2)
    assert "waiting are: yes" in elsewhere.err
    desk.type("confirm", run, "yes", "2", expect=0)


def test_the_record_verifies_replays_and_is_exported_once(desk: Desk, done: str) -> None:
    verified = desk.type_inside("audit", "verify", done, "--json", expect=0).document
    assert verified["ok"]
    anchor = f"{verified['head']}@{verified['events']}"
    desk.type_inside("audit", "verify", done, "--anchor", anchor, expect=0)
    replayed = desk.type_inside("audit", "replay", done, "--json", expect=0).document
    assert set(replayed) == {"format", "run", "phase", "events"}
    assert [event["seq"] for event in replayed["events"]] == list(range(1, verified["events"] + 1))
    assert "fold to: succeeded" in desk.type_inside("audit", "replay", done, expect=0).out
    desk.type_inside("audit", "export", done, "-o", "out.jsonl", expect=0)
    assert (
        "there already"
        in desk.type_inside("audit", "export", done, "-o", "out.jsonl", expect=2).err
    )
    assert (
        desk.type_inside("audit", "verify", "out.jsonl", "--json", expect=0).document["run"] == done
    )


def test_two_plans_are_compared(desk: Desk, done: str) -> None:
    other = desk.plan("examples/foreseen-failure")
    assert "web-stg-03" in desk.type_inside("diff", done, other, expect=0).out
    assert desk.type_inside("diff", done, other, "--json", expect=0).document
    desk.type_inside("cancel", other, expect=5)


def test_the_workspace_answers_for_its_actors(desk: Desk) -> None:
    assert len(desk.type_inside("actors", "list", "--json", expect=0).document["actors"]) == len(
        [folder for folder in (desk.root / "playbooks").iterdir() if folder.is_dir()]
    )
    assert "nothing is wrong" in desk.type_inside("actors", "check", expect=0).out
    shown = desk.type_inside("actors", "show", "service.restart", "--json", expect=0).document
    assert shown["tested"]
    text = desk.type_inside("actors", "show", "service.restart", expect=0).out
    assert "None" not in text
    assert "{" not in text
    assert "bad" not in desk.type_inside("doctor", expect=0).out


def test_a_broken_actor_hides_nothing_but_itself_and_says_what_is_wrong(desk: Desk) -> None:
    manifest = "playbooks/service.restart/actor.yaml"
    desk.edit(manifest, "\nversion: ", "\nversoin: ")
    broken = desk.type_inside("actors", "show", "service.restart", expect=2)
    other = desk.type_inside("actors", "show", "lb.member_drain", expect=0)
    desk.edit(manifest, "\nversoin: ", "\nversion: ")
    assert "versoin" in broken.err
    assert "there is no actor" not in broken.err
    assert "lb.member_drain" in other.out


def test_completion_knows_the_runs(desk: Desk, done: str) -> None:
    typed = desk.type(
        "--show-completion", "bash", env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )
    assert "complete" in typed.out
    asked: dict[str, str | None] = {
        "_INTERLOCK_COMPLETE": "complete_bash",
        "COMP_WORDS": "interlock show CHG-1001",
        "COMP_CWORD": "2",
    }
    assert done in desk.type(env=asked).out.split()


COMPLETED: Final = {
    "show -w {w} CHG-10": "{done}",
    "audit verify -w {w} CHG-10": "{done}",
    "audit verify {w}/inter": "{w}/interlock.yaml",
    "actors show -w {w} service.": "service.restart",
    "actors test -w {w} service.": "service.restart",
}


@pytest.mark.parametrize(("typed", "offered"), COMPLETED.items())
def test_completion_looks_where_the_command_would(
    desk: Desk, done: str, tmp_path: Path, typed: str, offered: str
) -> None:
    assert _completed(desk, typed.format(w=desk.root), tmp_path) >= {
        offered.format(w=desk.root, done=done)
    }


def test_completion_knows_the_remedies_of_a_run(tmp_path: Path) -> None:
    desk = Desk.fresh(tmp_path)
    assert _completed(desk, "recover CHG-1 ret", desk.root) == set(), "and survives an unknown run"
    script = "playbooks/linux.package_update/rehearsal.yaml"
    desk.edit(script, "\non:\n", "\non:\n  - {step: update, do: break, message: odd thing}\n")
    desk.edit("interlock.yaml", "  staging:\n", "  staging:\n    require_evidence: false\n")
    run = desk.approved()
    held = desk.type("run", run, expect=6)
    assert f"interlock recover {run} retry:update" in held.out
    assert "1 open incident" in desk.type_inside("status", run, expect=0).out
    assert "retry:update" in _completed(desk, f"recover {run} ret", desk.root)
    assert _completed(desk, f"recover {run} resu", desk.root) == {"resume:update"}


def _completed(desk: Desk, typed: str, cwd: Path) -> set[str]:
    words = f"interlock {typed}"
    asked: dict[str, str | None] = {
        "_INTERLOCK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    return set(desk.type(env=asked, cwd=cwd).out.split())
