"""The party as a whole, in a workspace: engine and floor; where policy fails, nothing acts."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Final

import pytest

from desk import Desk
from edges.policy_case import POLICIES
from opa import opa_program, serving
from orchestrator.errors import Unavailable
from orchestrator.policy import vet
from orchestrator.policy_bundle import read_bundle
from orchestrator.settings import Settings
from pure.plans import plan_of, step
from pure.policy_world import NOW_MS, run_of

if TYPE_CHECKING:
    from pathlib import Path

    from desk import Typed

TICKET: Final = "examples/basic-update/ticket.yaml"
DRAFT: Final = "examples/basic-update/draft.yaml"
UPDATE: Final = "linux.package_update"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.fresh(tmp_path, "embedded")


def engine(desk: Desk, words: str) -> None:
    """Set the engine."""
    edit(desk, "interlock.yaml", "  engine: embedded ", f"  engine: {words}\n  # ")


def edit(desk: Desk, name: str, old: str, new: str) -> None:
    path = desk.root / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def plan(desk: Desk) -> Typed:
    return desk.type("plan", TICKET, "--draft", DRAFT)


def decision(desk: Desk) -> dict[str, object]:
    run = desk.type("list", "--json").document["runs"][0]["run"]
    told: dict[str, object] = desk.type("show", run, "--json").document["decision"]
    return told


def test_every_decision_names_who_decided_by_which_rules_and_data(desk: Desk) -> None:
    assert plan(desk).code == 4
    told, bundle = decision(desk), read_bundle(desk.root / "policies")
    assert told["engine"] == "embedded regopy 1.5.2"
    assert (told["rules_digest"], told["data_digest"]) == (bundle.digest, bundle.data_digest)


def test_a_local_binary_and_a_server_decide_as_the_embedded_engine_does(desk: Desk) -> None:
    assert plan(desk).code == 4
    first = decision(desk)
    desk.type("reject", "CHG-1001", "--reason", "Once more.", expect=3)
    engine(desk, f"opa, program: {opa_program()}".replace(", ", "\n  "))
    assert plan(desk).code == 4
    second = decision(desk)
    same = ("outcome", "denials", "warnings", "missing", "obligations", "rules_digest")
    assert {name: first.get(name) for name in same} == {name: second.get(name) for name in same}
    assert str(second["engine"]).startswith("opa ")


def test_a_server_that_is_away_stops_the_run_and_one_that_is_back_lets_it_go_on(
    desk: Desk, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    engine(desk, f"opa-server\n  url: http://127.0.0.1:{port}")
    away = plan(desk)
    assert away.code == 7
    assert "it cannot be reached" in away.err
    assert not (desk.root / ".interlock/rehearsal").exists(), "nothing was touched"
    with serving(tmp_path / "opa", read_bundle(desk.root / "policies")) as served:
        edit(desk, "interlock.yaml", f"http://127.0.0.1:{port}", served.url)
        run = desk.type("list", "--json").document["runs"][0]["run"]
        back = desk.type("resume", run)
        assert back.code == 4, back.err
    assert str(decision(desk)["engine"]).startswith("opa ")


@pytest.mark.parametrize(
    ("name", "old", "new", "code", "says"),
    [
        ("decision.rego", "input.digest", '"' + "0" * 64 + '"', 2, "answers to another input"),
        ("decision.rego", "decision :=", "decisions :=", 7, "the entry point fails"),
        ("rules/undo.rego", "deny contains", "denied contains", 2, "is silent about"),
        ("rules/undo.rego", "import rego.v1", "import rego.v1\n\nx := max([1])", 2, "max() does"),
        ("rules/undo.rego", "input.", "inputs.", 2, "undo"),
        ("rules/undo.rego", "package interlock.rules.undo", "package undo", 2, "must begin with"),
    ],
)
def test_broken_rules_stop_a_run_before_anything(
    desk: Desk, name: str, old: str, new: str, code: int, says: str
) -> None:
    edit(desk, f"policies/{name}", old, new)
    broken = plan(desk)
    assert broken.code == code, broken.err
    assert says in broken.err
    assert "next: " in broken.err
    assert not (desk.root / ".interlock/rehearsal").exists(), "nothing was touched"


def test_rules_that_allow_everything_cannot_take_away_the_quorum(desk: Desk) -> None:
    """The floor holds: with rules that say nothing, the settings still want consent."""
    for path in (desk.root / "policies/rules").iterdir():
        if path.name.startswith("evidence"):
            continue
        path.unlink()
    (desk.root / "policies/levels.yaml").unlink(missing_ok=True)
    (desk.root / "policies/waivers.yaml").unlink(missing_ok=True)
    waits = plan(desk)
    assert waits.code == 4, waits.err
    assert decision(desk)["missing"] == [{"role": "operator", "count": 1}]


# --- what is offered ------------------------------------------------------------------------------


def withhold(desk: Desk) -> None:
    edit(desk, "policies/data.yaml", "withheld: {}", f"withheld: {{{UPDATE}: true}}")


def test_an_actor_that_policy_withholds_is_not_offered_and_not_compiled(desk: Desk) -> None:
    asked = ("actors", "list", "--for", "staging", "--requester", "sofia.lindqvist", "--json")
    before = desk.type(*asked).document
    assert (before["withheld"], UPDATE in {a["name"] for a in before["actors"]}) == ({}, True)
    withhold(desk)
    after = desk.type(*asked).document
    assert after["withheld"] == {UPDATE: f"{UPDATE} is withheld in staging"}
    assert UPDATE not in {actor["name"] for actor in after["actors"]}
    refused = plan(desk)
    assert refused.code == 3
    assert "R2-not-offered" in refused.out + refused.err
    elsewhere = desk.type("actors", "list", "--for", "prod", "--json").document
    assert elsewhere["withheld"].get(UPDATE) is None


def test_who_may_not_ask_is_offered_nothing(desk: Desk) -> None:
    edit(desk, "interlock.yaml", "  operator: anyone ", "  operator: [jonas]\n  # ")
    told = desk.type("actors", "list", "--for", "staging", "--requester", "eve", "--json").document
    assert told["actors"] == []
    assert all("eve holds no role" in why for why in told["withheld"].values())


def test_an_environment_that_is_not_there_is_said(desk: Desk) -> None:
    nowhere = desk.type("actors", "list", "--for", "nowhere")
    assert nowhere.code == 2
    assert "nowhere is not an environment" in nowhere.err
    assert desk.type("actors", "list", "--requester", "eve").code == 2


def test_the_doctor_names_the_engine_that_would_decide(desk: Desk) -> None:
    digest = read_bundle(desk.root / "policies").digest
    assert f"policy: embedded regopy 1.5.2; {_rules()} rules, digest {digest}" in _doctor(desk)
    engine(desk, "opa\n  program: /nowhere/opa")
    assert "no program /nowhere/opa is on PATH" in _doctor(desk)
    edit(desk, "interlock.yaml", "engine: opa\n  program: /nowhere/opa", "engine: builtin")
    assert "policy: builtin: interlock.yaml alone" in _doctor(desk)


def _rules() -> int:
    return len(list((POLICIES / "rules").glob("*.rego")))


def _doctor(desk: Desk) -> str:
    checks = desk.type("doctor", "--json").document["checks"]
    (line,) = (check["what"] for check in checks if check["what"].startswith("policy:"))
    return str(line)


# --- what cannot be judged ------------------------------------------------------------------------


def settings(**policy: object) -> Settings:
    value = {
        "format": 1,
        "environments": {"staging": {"approvals": [], "max_targets": 9}},
        "policy": {"engine": "embedded", **policy},
    }
    return Settings.model_validate_json(json.dumps(value))


def test_an_engine_without_surroundings_decides_nothing() -> None:
    with pytest.raises(Unavailable, match="was not told what is around"):
        vet(run_of(plan_of(step("a"))), "plan", NOW_MS, settings())


def test_a_time_zone_that_nobody_knows_is_said(desk: Desk) -> None:
    edit(desk, "interlock.yaml", "[Europe/Amsterdam]", "[Europe/Atlantis]")
    unknown = plan(desk)
    assert unknown.code == 2
    assert "Europe/Atlantis is not a time zone" in unknown.err
