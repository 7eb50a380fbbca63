"""A start or a way back that policy denies: its exit code, and what is said to come next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from desk import BASIC, Desk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("cli-denied")

GATED: Final = (
    "decision: plan\nrationale: A person says yes first.\nsteps:\n"
    "  - id: yes\n    actor: interlock.confirm\n"
    "    params: {text: Shall it begin?, expect: targets}\n    why: asked by hand\n"
    "  - id: update\n    actor: linux.package_update\n    after: [yes]\n    why: asked for\n"
    "    params: {targets: [web-stg-01, web-stg-02], package: openssl}\n"
)


@pytest.fixture(scope="module", params=["builtin", "embedded"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk.fresh(tmp_path_factory.mktemp("denied"), request.param)


def narrowed(desk: Desk, most: int) -> None:
    settings = desk.root / "interlock.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"max_targets: \d+", f"max_targets: {most}", text), encoding="utf-8")


def test_a_denied_start_is_a_no_and_says_what_would_help(desk: Desk) -> None:
    run = desk.approved()
    narrowed(desk, 1)
    typed = desk.type_inside("run", run, expect=3)
    status = desk.type_inside("status", run, expect=0).out
    watched = desk.type_inside("watch", run, expect=3)
    narrowed(desk, 10)
    assert "approved: the start was denied: the plan touches 2 targets" in typed.out
    assert "next: split the ticket into parts of at most 1 targets" in typed.out
    assert f"all reasons: interlock show {run}" in typed.out
    assert "next: split" in watched.out
    assert "read why policy denied the start" in status
    assert "let it act" not in status
    desk.type("run", run, expect=0)
    assert "denied" not in desk.type_inside("status", run, expect=0).out


def test_a_denied_way_back_is_a_no_whichever_verb_drives_it(desk: Desk) -> None:
    run = desk.approved()
    desk.type("run", run, expect=0)
    narrowed(desk, 1)
    typed = desk.type_inside("rollback", run, expect=3)
    narrowed(desk, 10)
    assert "succeeded: going back was denied: the plan touches 2 targets" in typed.out
    assert f"to ask again: interlock rollback {run}" in typed.out


def test_held_targets_are_busy_whichever_engine_says_so(desk: Desk, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(GATED, encoding="utf-8")
    back = desk.approved()
    desk.type("run", back, expect=0)
    words = ("plan", f"{BASIC}/ticket.yaml", "-d", str(draft), "--json")
    holder = str(desk.type_inside(*words, expect=4).document["run"])
    digest = desk.digest(holder)
    desk.type_inside("approve", holder, "--as", "jonas.weber", "--digest", digest, expect=0)
    waits = desk.approved()
    desk.type_inside("run", holder, expect=4)
    for verb, run in (("run", waits), ("rollback", back)):
        typed = desk.type_inside(verb, run, expect=7)
        assert holder in typed.out + typed.err
        assert "next: wait until that run" in typed.out + typed.err
    desk.type_inside("cancel", holder, expect=5)
    desk.type("run", waits, expect=0)
    asked = desk.type_inside("status", back, "--json", expect=0).document["phase"] == "returning"
    desk.type("resume" if asked else "rollback", back, expect=5)
