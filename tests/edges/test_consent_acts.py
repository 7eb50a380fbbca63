"""A driver that lies, and consent that ended: the act's process refuses; nothing happens."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.spec import Done, Found, Unexpected
from edges import rig
from edges.keys import key, line, revoke, signed
from orchestrator.act import main, read_outcome
from orchestrator.act_consent import problem_with_act
from orchestrator.consenting import Pen, consent
from orchestrator.errors import InvalidInput
from orchestrator.local import Local
from orchestrator.pure.commands import Act
from orchestrator.pure.events import Approved, Opened, StartRequested
from orchestrator.pure.model import Approval
from orchestrator.pure.warrant import Warrant as Signed
from orchestrator.session import Session, clock_ms
from orchestrator.workspace import read_ticket, ticket_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actors.spec import Outcome, Verb
    from orchestrator.pure.state import Run

SETTINGS: Final = """\
format: 1
environments:
  lab:
    approvals: [{role: boss, count: 1}, {role: operator, count: 1}]
    max_targets: 100
    require_evidence: false
    allow_undo_none: true
    require_signatures: true
policy: {engine: builtin}
roles: {boss: [bea, amy, carl], operator: anyone}
allowed_signers: signers
revoked_keys: revoked
parallelism: 3
kinds: {rehearsal: {world: .interlock/rehearsal}}
"""
DRAFT: Final = """\
decision: plan
steps:
  - {id: a, actor: lab.change, params: {targets: [h01]}}
  - {id: b, actor: lab.change, params: {targets: [h02], count: 3}, after: [a]}
"""
PEOPLE: Final = ("amy", "bea", "carl", "dan")
Warrant = dict[str, Any]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in (*PEOPLE, "nobody", "bea-2"):
        key(folder, name)
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> tuple[Path, str, str]:
    """A workspace with two runs of one change, both approved by bea and dan."""
    root = rig.build(tmp_path_factory.mktemp("template") / "ws", settings=SETTINGS)
    lines = [line(name, keys / name) for name in PEOPLE]
    (root / "signers").write_text("".join([*lines, line("bea", keys / "bea-2")]))
    revoke(root / "revoked", keys / "nobody")
    names = []
    for ticket in ("CHG-1", "CHG-2"):
        name = opened(root, ticket)
        approve(root, name, "bea", "boss", keys / "bea")
        assert approve(root, name, "dan", "operator", keys / "dan").phase == "approved"
        names.append(name)
    return root, names[0], names[1]


@pytest.fixture
def root(template: tuple[Path, str, str], tmp_path: Path) -> Path:
    return rig.copied(template[0], tmp_path / "ws")


@pytest.fixture
def run_id(template: tuple[Path, str, str]) -> str:
    return template[1]


def opened(root: Path, ticket: str) -> str:
    file = root / f"{ticket}.yaml"
    file.write_text(rig.TICKET.format(id=ticket))
    words = read_ticket(file)
    event = Opened(
        at_ms=clock_ms(), ticket=words, ticket_digest=ticket_digest(words), by="olga", draft=DRAFT
    )
    with Session.open(root, create=True) as session:
        name = session.begin(event)
        with session.driver(name, lambda _run, _events: None) as driver:
            assert driver.drive().phase == "waiting"
    return name


def approve(root: Path, name: str, who: str, role: str, path: Path | None) -> Run:
    with Session.open(root) as session:
        row, run = session.ledger.row(name), session.load(name)
        given = consent(
            session.workspace,
            run,
            who=who,
            role=role,
            pen=Pen(path),
            head=f"{row.head}@{row.seq}",
            now_ms=max(clock_ms(), run.at_ms),
        )
        return record(session, name, Approved(at_ms=given.issued_ms, approval=given))


def record(session: Session, name: str, *events: Any) -> Run:
    with session.driver(name, lambda _run, _events: None, patience_s=60) as driver:
        driver.record(list(events))
        return driver.drive()


def start(root: Path, name: str) -> Run:
    with Session.open(root) as session:
        run = session.load(name)
        at_ms = max(clock_ms(), run.at_ms)
        return record(
            session, name, StartRequested(at_ms=at_ms, by="olga", plan_digest=run.plan_digest)
        )


def warrant_of(root: Path, run_id: str, act: Act) -> Warrant:
    with Session.open(root) as session:
        run = session.load(run_id)
        local = Local(session.workspace, lambda: run, os.environ, None, run.id)
        value: Warrant = json.loads(
            local._warrant(act, directory_of(root, run_id, act)).model_dump_json()
        )
        return value


def directory_of(root: Path, run: str, act: Act) -> Path:
    return root / ".interlock" / "acts" / run / f"{act.step}.{act.verb}.{act.attempt}"


APPLY: Final = Act("b", "apply", 1)


def done_with(root: Path, run: str, warrant: Warrant, act: Act = APPLY) -> Outcome | None:
    directory = directory_of(root, run, act)
    directory.mkdir(parents=True)
    (directory / "warrant.json").write_text(json.dumps(warrant))
    assert main(directory) == 0
    return read_outcome(directory)


def refusal(outcome: Outcome | None) -> str:
    assert isinstance(outcome, Unexpected), outcome
    assert outcome.message.startswith("refused before it acted: ")
    return outcome.message


# --- the honest way -------------------------------------------------------------------------------


def test_a_signed_run_acts_from_end_to_end(root: Path, run_id: str) -> None:
    assert start(root, run_id).phase == "succeeded"
    assert rig.net(rig.effects(root)) == {("a", "h01"), ("b", "h02")}


def test_an_honest_warrant_is_acted_on(root: Path, run_id: str) -> None:
    assert isinstance(done_with(root, run_id, warrant_of(root, run_id, APPLY)), Done)
    assert len(rig.effects(root)) == 1


# --- a driver that lies ---------------------------------------------------------------------------


def _no_approvals(w: Warrant) -> None:
    w["approvals"] = []


def _one_approval(w: Warrant) -> None:
    w["approvals"] = w["approvals"][:1]


def _one_twice(w: Warrant) -> None:
    w["approvals"] = [w["approvals"][0]] * 3


def _changed_nonce(w: Warrant) -> None:
    w["approvals"][1]["nonce"] = "f" * 32


def _other_person(w: Warrant) -> None:
    w["approvals"][0]["principal"] = "carl"


def _other_role(w: Warrant) -> None:
    w["approvals"][1]["role"] = "boss"


def _longer(w: Warrant) -> None:
    w["approvals"][0]["expires_ms"] += 1


def _other_requester(w: Warrant) -> None:
    w["approvals"][0]["seen"]["requested_by"] = []


def _other_signature(w: Warrant) -> None:
    w["approvals"][0]["signature"] = w["approvals"][1]["signature"]


def _claimed(w: Warrant) -> None:
    for given in w["approvals"]:
        given.update(method="claimed", signature=None)


def _other_param(w: Warrant) -> None:
    w["brief"]["params"]["count"] = 9


def _other_param_in_both(w: Warrant) -> None:
    w["brief"]["params"]["count"] = 9
    next(p for p in w["step"]["params"] if p["name"] == "count")["value"] = 9


def _other_step(w: Warrant) -> None:
    w["step"]["id"] = "a"
    w["brief"]["key"] = f"{w['run']}/a/apply/1"


def _other_attempt(w: Warrant) -> None:
    w["brief"]["attempt"] = 2
    w["brief"]["key"] = w["brief"]["key"].replace("apply/1", "apply/2")


def _other_host(w: Warrant) -> None:
    w["brief"]["targets"][0]["connection"] = {"host": "elsewhere"}


def _other_labels(w: Warrant) -> None:
    w["brief"]["targets"][0]["labels"] = {"rack": "r9"}


def _other_world(w: Warrant) -> None:
    w["settings"]["world"] = w["settings"]["world"] + "-2"


def _other_environment(w: Warrant) -> None:
    w["header"]["environment"] = "unknown"


LIES: Final[dict[str, tuple[Callable[[Warrant], None], str]]] = {
    "no approvals": (_no_approvals, "consent is missing: 1 x boss, 1 x operator"),
    "one of two": (_one_approval, "consent is missing: 1 x operator"),
    "one thrice": (_one_twice, "consent is missing: 1 x operator"),
    "a changed nonce": (_changed_nonce, "dan does not count: it is not what dan signed"),
    "another person": (_other_person, "carl does not count: it is not what carl signed"),
    "another role": (_other_role, "consent is missing"),
    "a longer life": (_longer, "bea does not count: it is not what bea signed"),
    "no requester": (_other_requester, "bea does not count: it is not what bea signed"),
    "another's signature": (_other_signature, "bea does not count"),
    "a mere claim": (_claimed, "consent is missing: 1 x boss, 1 x operator"),
    "another param": (_other_param, "a param differs from the plan"),
    "another param in step and brief": (_other_param_in_both, "the step is not in the plan"),
    "another step": (_other_step, "the step is not in the plan"),
    "another attempt": (_other_attempt, "its directory is another act's"),
    "another connection": (_other_host, "h02 is not described as in the inventory"),
    "other labels": (_other_labels, "h02 is not described as in the inventory"),
    "other settings": (_other_world, "settings of the kind rehearsal"),
    "another environment": (_other_environment, "the plan's header has another digest"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_driver_that_lies_gets_no_effect(root: Path, run_id: str, name: str) -> None:
    lie, says = LIES[name]
    warrant = warrant_of(root, run_id, APPLY)
    lie(warrant)
    assert says in refusal(done_with(root, run_id, warrant))
    assert rig.effects(root) == []


def test_the_approvals_of_another_run_get_no_effect(
    root: Path, template: tuple[Path, str, str]
) -> None:
    _, one, other = template
    warrant = warrant_of(root, one, APPLY)
    warrant["approvals"] = warrant_of(root, other, APPLY)["approvals"]
    assert "an approval is for another plan or run" in refusal(done_with(root, one, warrant))
    assert rig.effects(root) == []


def test_a_whole_plan_of_its_own_gets_no_effect(root: Path, run_id: str, keys: Path) -> None:
    """A driver that plans by itself and signs with a key of nobody's."""
    name = opened(root, "CHG-9")
    with Session.open(root) as session:
        run = session.load(name)
        honest = Approval.model_validate(
            warrant_of(root, run_id, APPLY)["approvals"][0], strict=False
        )
        forged = honest.model_copy(update={"run": name, "plan_digest": run.plan_digest})
    warrant = warrant_of(root, name, APPLY)
    for who, role in (("bea", "boss"), ("dan", "operator")):
        given = forged.model_copy(update={"principal": who, "role": role, "signature": None})
        warrant["approvals"].append(json.loads(signed(given, keys / "nobody").model_dump_json()))
    assert "consent is missing: 1 x boss, 1 x operator" in refusal(done_with(root, name, warrant))
    assert rig.effects(root) == []


def test_a_folder_outside_the_workspace_is_not_acted_from(
    root: Path, run_id: str, tmp_path: Path
) -> None:
    shutil.copytree(root / "playbooks" / "lab.change", tmp_path / "lab.change")
    warrant = warrant_of(root, run_id, APPLY)
    warrant["brief"]["folder"] = str(tmp_path / "lab.change")
    assert "not the workspace's" in refusal(done_with(root, run_id, warrant))
    assert rig.effects(root) == []


def test_a_frozen_inventory_that_was_changed_is_not_believed(root: Path, run_id: str) -> None:
    warrant = warrant_of(root, run_id, APPLY)
    (frozen,) = (root / ".interlock" / "inventories").iterdir()
    inventory = json.loads(frozen.read_text())
    thing = next(thing for thing in inventory["objects"] if thing["name"] == "h02")
    thing["connection"] = warrant["brief"]["targets"][0]["connection"] = {"host": "elsewhere"}
    frozen.write_text(json.dumps(inventory))
    assert "not described as in the inventory" in refusal(done_with(root, run_id, warrant))
    frozen.unlink()
    file = root / "inventory" / "lab.yaml"
    file.write_text(file.read_text().replace("name: h09", "name: h99"))
    problem = problem_with_act(
        Signed.model_validate_json(json.dumps(warrant)), directory_of(root, run_id, APPLY), 0
    )
    assert problem == "the inventory is not the one that the plan was made for"


@pytest.mark.parametrize(
    ("listed", "mode", "says"),
    [
        ("{root}\n", 0o644, None),
        ("/srv/other\n{root}\n", 0o644, None),
        ("/srv/other\n", 0o644, "does not list"),
        ("", 0o644, "does not list"),
        ("{root}\n", 0o666, "can be changed by others than root"),
    ],
)
@pytest.mark.skipif(os.getuid() != 0, reason="the list belongs to root")
def test_a_machine_acts_only_for_the_workspaces_it_serves(
    root: Path, run_id: str, tmp_path: Path, listed: str, mode: int, says: str | None
) -> None:
    machine = tmp_path / "workspaces"
    machine.write_text(listed.format(root=root))
    machine.chmod(mode)
    warrant = Signed.model_validate_json(json.dumps(warrant_of(root, run_id, APPLY)))
    directory = directory_of(root, run_id, APPLY)
    problem = problem_with_act(warrant, directory, clock_ms(), machine)
    assert (problem is None) if says is None else (problem is not None and says in problem)


# --- consent that ended ---------------------------------------------------------------------------


def _revoke_bea(root: Path, keys: Path) -> None:
    revoke(root / "revoked", keys / "bea")


def _one_more_signer(root: Path, keys: Path) -> None:
    with (root / "signers").open("a") as file:
        file.write(line("eve", keys / "nobody"))


def _no_list(root: Path, keys: Path) -> None:
    (root / "revoked").unlink()


def _a_wildcard(root: Path, keys: Path) -> None:
    with (root / "signers").open("a") as file:
        file.write(line("*", keys / "nobody"))


def _bea_is_no_boss(root: Path, keys: Path) -> None:
    settings = root / "interlock.yaml"
    settings.write_text(settings.read_text().replace("boss: [bea, amy, carl]", "boss: [amy]"))


ENDED: Final[dict[str, tuple[Callable[[Path, Path], None], str]]] = {
    "her key is revoked": (_revoke_bea, "bea does not count: its key is revoked"),
    "one more may sign": (_one_more_signer, "have changed since it was given"),
    "her role is gone": (_bea_is_no_boss, "consent is missing: 1 x boss"),
    "the list of revoked keys is gone": (_no_list, "revoked: cannot be read"),
    "somebody slipped in a wildcard": (_a_wildcard, "has the pattern '*' for a name"),
}

UNREADABLE: Final = ("the list of revoked keys is gone", "somebody slipped in a wildcard")


@pytest.mark.parametrize("name", ENDED)
def test_consent_that_ended_stops_the_next_act(
    root: Path, run_id: str, keys: Path, name: str
) -> None:
    change, says = ENDED[name]
    warrant = warrant_of(root, run_id, APPLY)
    change(root, keys)
    assert says in refusal(done_with(root, run_id, warrant))
    assert rig.effects(root) == []


@pytest.mark.parametrize("name", ENDED)
def test_consent_that_ended_stops_the_start(root: Path, run_id: str, keys: Path, name: str) -> None:
    change, _ = ENDED[name]
    change(root, keys)
    if name in UNREADABLE:
        with pytest.raises(InvalidInput) as told:
            start(root, run_id)
        assert told.value.next_step
    else:
        run = start(root, run_id)
        assert (run.phase, run.decision and run.decision.missing != ()) == ("waiting", True)
    assert rig.effects(root) == []


def test_whoever_counts_no_more_is_named_to_the_person_who_starts(
    root: Path, run_id: str, keys: Path
) -> None:
    _revoke_bea(root, keys)
    run = start(root, run_id)
    assert run.decision is not None
    (warning,) = run.decision.warnings
    assert "the approval by bea does not count: its key is revoked" in warning.message
    assert approve(root, run_id, "amy", "boss", keys / "amy").phase == "approved"
    assert start(root, run_id).phase == "succeeded"


def test_an_expired_approval_stops_what_changes_and_not_the_way_back(
    root: Path, run_id: str
) -> None:
    later = clock_ms() + 400 * 24 * 3_600_000
    verbs: tuple[tuple[Verb, bool], ...] = (
        ("apply", True),
        ("undo", False),
        ("verify", False),
        ("check", False),
    )
    for verb, is_refused in verbs:
        act = Act("b", verb, 1)
        warrant = Signed.model_validate_json(json.dumps(warrant_of(root, run_id, act)))
        problem = problem_with_act(warrant, directory_of(root, run_id, act), later)
        assert (problem is not None and "it has expired" in problem) == is_refused, verb


def test_a_clock_that_went_back_stops_what_changes(root: Path, run_id: str) -> None:
    warrant = Signed.model_validate_json(json.dumps(warrant_of(root, run_id, APPLY)))
    problem = problem_with_act(warrant, directory_of(root, run_id, APPLY), 1_000_000)
    assert problem is not None
    assert "one of the clocks is wrong" in problem


def test_a_revoked_key_stops_the_way_back_too(root: Path, run_id: str, keys: Path) -> None:
    warrant = warrant_of(root, run_id, Act("b", "undo", 1))
    _revoke_bea(root, keys)
    outcome = done_with(root, run_id, warrant, Act("b", "undo", 1))
    assert "bea does not count: its key is revoked" in refusal(outcome)


def test_looking_needs_no_consent(root: Path, run_id: str, keys: Path) -> None:
    act = Act("b", "verify", 1)
    warrant = warrant_of(root, run_id, act)
    _revoke_bea(root, keys)
    assert isinstance(done_with(root, run_id, warrant, act), Found)


# --- who counts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "role", "name", "says"),
    [
        ("dan", "boss", "dan", "dan does not hold the role boss"),
        ("olga", "operator", "amy", "a requester's own consent never counts"),
        ("amy", "boss", "nobody", "amy's signature does not count: it is not what amy signed"),
        ("nina", "operator", "nobody", "nina's signature does not count: no line is for nina"),
        ("amy", "boss", None, "lab counts only signed approvals"),
        ("amy", "boss", "missing", "there is no such key"),
    ],
)
def test_an_approval_that_would_not_count_is_not_recorded(
    root: Path, keys: Path, who: str, role: str, name: str | None, says: str
) -> None:
    run_id = opened(root, "CHG-7")
    with pytest.raises(InvalidInput, match=says) as told:
        approve(root, run_id, who, role, keys / name if name else None)
    assert told.value.next_step
    with Session.open(root) as session:
        assert session.load(run_id).approvals == ()


def test_one_person_with_two_keys_is_one_person(root: Path, keys: Path) -> None:
    run_id = opened(root, "CHG-7")
    assert approve(root, run_id, "bea", "boss", keys / "bea").phase == "waiting"
    assert approve(root, run_id, "bea", "operator", keys / "bea-2").phase == "waiting"
    assert approve(root, run_id, "dan", "operator", keys / "dan").phase == "approved"
