"""What a team owns is read whole or refused, with file, line, and what to do next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.rehearsal import Rehearsal
from orchestrator.errors import InvalidInput
from orchestrator.pure.compile import compile_draft
from orchestrator.pure.draft import Question, Refusal
from orchestrator.pure.model import Plan
from orchestrator.workspace import (
    find_workspace,
    init,
    inventory_digest,
    open_workspace,
    read_draft,
    read_ticket,
    template,
    ticket_digest,
)

if TYPE_CHECKING:
    from actors.kinds import Kind
    from orchestrator.workspace import Workspace

ROOT = Path(__file__).parent.parent.parent
SETTINGS = """\
format: 1
environments:
  prod: {approvals: [{role: boss, count: 1}], max_targets: 5, require_evidence: false}
  lab:
    approvals: []
    max_targets: 5
policy: {engine: builtin}
roles:
  boss: [ann]
kinds:
  rehearsal: {world: .interlock/rehearsal, pace: 3}
"""
INVENTORY = """\
format: 1
environment: prod
groups: [linux]
labels: {site: ams1}
budgets: [{label: quorum, maximum: 1}]
objects:
  - {name: web-2, groups: [web], labels: {rack: r1}}
  - name: web-1
"""
TICKET = """\
id: CHG-1
title: Restart
environment: prod
requester: bob
request: Please restart it.
window:
  start: 2026-11-25T02:00:00+01:00
  end: 2026-11-25T04:00:00+01:00
"""


def kind_of(_: str) -> Kind:
    return Rehearsal()


def laid(tmp_path: Path, settings: str = SETTINGS, inventory: str = INVENTORY) -> Path:
    root = tmp_path / "team"
    for name in ("inventory", "playbooks", "policies"):
        (root / name).mkdir(parents=True)
    (root / "interlock.yaml").write_text(settings)
    (root / "inventory" / "prod.yaml").write_text(inventory)
    return root


def opened(tmp_path: Path, settings: str = SETTINGS, inventory: str = INVENTORY) -> Workspace:
    return open_workspace(laid(tmp_path, settings, inventory), kind_of=kind_of)


def refusal(caught: pytest.ExceptionInfo[InvalidInput]) -> str:
    assert caught.value.next_step
    return caught.value.what


# --- finding ------------------------------------------------------------------------------------


def test_a_workspace_is_found_from_any_folder_below(tmp_path: Path) -> None:
    root = laid(tmp_path)
    below = root / "playbooks" / "deep"
    below.mkdir()
    assert find_workspace(below) == root
    assert find_workspace(tmp_path, root) == root


@pytest.mark.parametrize("explicit", [True, False])
def test_where_no_workspace_is_the_next_step_is_init(tmp_path: Path, *, explicit: bool) -> None:
    with pytest.raises(InvalidInput) as caught:
        find_workspace(tmp_path, tmp_path if explicit else None)
    assert "interlock.yaml" in refusal(caught)
    assert "interlock init" in caught.value.next_step


# --- settings -----------------------------------------------------------------------------------


def test_what_is_not_said_is_off(tmp_path: Path) -> None:
    settings = opened(tmp_path).settings
    assert settings.recovery.agent is False
    assert settings.environments["lab"].require_evidence is True
    assert settings.environments["lab"].allow_undo_none is False
    assert settings.llm is None


def test_who_holds_a_role_is_said_by_name_or_is_anyone(tmp_path: Path) -> None:
    settings = opened(tmp_path, SETTINGS + "").settings
    assert settings.holds("ann", "boss")
    assert not settings.holds("bob", "boss")
    assert not settings.holds("ann", "king")
    open_to_all = opened(tmp_path / "b", SETTINGS.replace("[ann]", "anyone")).settings
    assert open_to_all.holds("bob", "boss")


def test_a_kind_is_told_its_settings_with_absolute_paths(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    world = str(workspace.root / ".interlock" / "rehearsal")
    assert workspace.kind_settings("rehearsal") == {"world": world, "pace": 3}
    assert workspace.kind_settings("ansible") == {}


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("format: 1", "format: 2", ":1: format is 2"),
        ("policy: {engine: builtin}\n", "", ":1: policy is missing"),
        ("engine: builtin", "engine: bultin", ":7: policy.engine is"),
        ("engine: builtin", "engine: opa-server", ":7: policy needs a url"),
        ("engine: builtin", "engine: opa, url: 'https://x'", ":7: policy has url, which only"),
        ("engine: builtin", "engine: opa-server, url: 'http://x.y'", "forged on its way"),
        ("engine: builtin", "engine: embedded, program: /bin/opa", ":7: policy has program"),
        ("engine: builtin", "engine: builtin, timeout_s: 0", ":7: policy.timeout_s"),
        ("    max_targets: 5\n", "", ":4: environments.lab.max_targets is missing"),
        ("    approvals: []\n", "", ":4: environments.lab.approvals is missing"),
        (
            "approvals: []",
            "approvals: [{role: a, count: 0}]",
            ":5: environments.lab.approvals.1.co",
        ),
        (
            "approvals: []",
            "approvals: [{role: a, count: 1}, {role: a, count: 2}]",
            "one role twice",
        ),
        ("[ann]", "[]", "roles names nobody who holds it"),
        ("max_targets: 5\n", "max_targets: 5\n    max_target: 1\n", "did you mean max_targets?"),
        ("roles:", "paths: {playbooks: ../elsewhere}\nroles:", ":8: paths.playbooks is"),
        ("roles:", "paths: {routines: a/../../b}\nroles:", "must not contain"),
        ("roles:", "recovery: {agent: true}\nroles:", "no llm section"),
        (
            "max_targets: 5\n",
            "max_targets: 5\n    require_signatures: true\n",
            "no allowed_signers",
        ),
        ("format: 1", "format: 1\nformat: 1", ":2: has the key 'format' twice"),
    ],
)
def test_settings_that_cannot_be_used_say_where(
    tmp_path: Path, old: str, new: str, place: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        opened(tmp_path, SETTINGS.replace(old, new))
    assert place in refusal(caught)


def test_every_misfit_is_listed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        opened(tmp_path, SETTINGS.replace("format: 1", "format: 2").replace("builtin", "b"))
    assert "(and 1 more)" in refusal(caught)
    assert len(caught.value.details) == 2


# --- inventory ----------------------------------------------------------------------------------


def test_an_inventory_is_sorted_and_shares_what_the_file_says_for_all(tmp_path: Path) -> None:
    first, second = opened(tmp_path).inventory().objects
    assert (first.name, first.groups, first.labels) == ("web-1", ("linux",), {"site": "ams1"})
    assert (second.name, second.groups) == ("web-2", ("linux", "web"))
    assert second.labels == {"site": "ams1", "rack": "r1"}


def test_the_digest_of_an_inventory_knows_its_words_and_not_its_files(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    before = inventory_digest(workspace.inventory())
    path = workspace.root / "inventory" / "prod.yaml"
    path.rename(path.with_name("other.yml"))
    assert inventory_digest(workspace.inventory()) == before
    path.with_name("other.yml").write_text(INVENTORY.replace("r1", "r2"))
    assert inventory_digest(workspace.inventory()) != before


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("environment: prod", "environment: pord", "prod.yaml:2: the environment pord"),
        ("name: web-1", "name: web-2", "prod.yaml:8: the object web-2 is there already"),
        (
            "maximum: 1}",
            "maximum: 1}, {label: quorum, maximum: 2}",
            "the budget of the label quorum",
        ),
        ("name: web-1", "nam: web-1", "did you mean name?"),
        ("rack: r1", "rack: 1", "prod.yaml:7: objects.1.labels.rack is 1"),
        ("name: web-1", "name: Web_1", "prod.yaml:8: objects.2.name"),
        ("format: 1", "format: 1\nformat: 1", "prod.yaml:2: has the key"),
    ],
)
def test_an_inventory_that_cannot_be_used_says_where(
    tmp_path: Path, old: str, new: str, place: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        opened(tmp_path, inventory=INVENTORY.replace(old, new)).inventory()
    assert place in refusal(caught)


def test_an_inventory_without_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="objects"):
        opened(tmp_path, inventory=INVENTORY.partition("objects")[0] + "objects: []\n").inventory()


def test_a_name_in_two_files_names_both(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    (workspace.root / "inventory" / "lab.yaml").write_text(
        "format: 1\nenvironment: lab\nobjects:\n  - name: web-1\n"
    )
    with pytest.raises(InvalidInput) as caught:
        workspace.inventory()
    assert "prod.yaml:8" in refusal(caught)
    assert "lab.yaml:4" in refusal(caught)


def test_a_folder_without_inventory_is_refused(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    (workspace.root / "inventory" / "prod.yaml").unlink()
    with pytest.raises(InvalidInput, match="holds no inventory file"):
        workspace.inventory()
    (workspace.root / "inventory").rmdir()
    with pytest.raises(InvalidInput, match="cannot be read"):
        workspace.inventory()


# --- tickets and drafts -------------------------------------------------------------------------


def test_a_ticket_is_read_and_has_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "ticket.yaml"
    path.write_text(TICKET)
    ticket = opened(tmp_path).ticket(path)
    assert ticket.window is not None
    assert ticket.window.end_ms - ticket.window.start_ms == 7_200_000
    path.write_text(TICKET.replace("restart it", "restart them"))
    assert ticket_digest(read_ticket(path)) != ticket_digest(ticket)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("prod", "prodd", "ticket.yaml:3: the environment prodd is not in interlock.yaml; did you"),
        ("T04:00:00+01:00", "T04:00:00", ":8: window.end is"),
        ("T04", "T02", ":8: the window ends before it begins"),
        ("2026-11-25T04:00:00+01:00", "tomorrow", "must be a date and time such as"),
        ("requester: bob\n", "", ":1: requester is missing"),
        ("title:", "titel:", ":2: titel is not a field; did you mean title?"),
        ("title: Restart", "title: Restart\nrisk: hihg", ":3: risk is"),
        (
            "title: Restart",
            "title: Restart\nparams: {a: {b: c}}",
            ":3: params.a.b is not a field; legal here: secret",
        ),
    ],
)
def test_a_ticket_that_cannot_be_used_says_where(
    tmp_path: Path, old: str, new: str, place: str
) -> None:
    path = tmp_path / "ticket.yaml"
    path.write_text(TICKET.replace(old, new))
    with pytest.raises(InvalidInput) as caught:
        opened(tmp_path).ticket(path)
    assert place in refusal(caught)


def test_a_draft_is_a_value_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "draft.yaml"
    path.write_text("steps:\n  - id: a\n")
    document = read_draft(path)
    assert document.value == {"steps": [{"id": "a"}]}
    assert document.lines["steps", 0, "id"] == 2


def test_what_is_not_a_plain_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "none", Path("a\0b")):
        with pytest.raises(InvalidInput) as caught:
            read_ticket(path)
        assert "cannot be read" in refusal(caught)


# --- a hostile workspace ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["playbooks", "policies", "inventory"])
def test_a_folder_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    workspace = opened(tmp_path)
    (tmp_path / "outside").mkdir()
    for path in sorted((workspace.root / name).iterdir()):
        path.unlink()
    (workspace.root / name).rmdir()
    (workspace.root / name).symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidInput) as caught:
        workspace.inside(name)
    assert "leads out of the workspace" in refusal(caught)


def test_settings_and_inventory_files_that_lead_out_are_refused(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    for path in (workspace.root / "inventory" / "prod.yaml", workspace.root / "interlock.yaml"):
        away = tmp_path / path.name
        path.rename(away)
        path.symlink_to(away)
    with pytest.raises(InvalidInput, match="leads out"):
        workspace.inventory()
    with pytest.raises(InvalidInput, match="leads out"):
        open_workspace(workspace.root)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    (workspace.root / "loop").symlink_to("loop")
    with pytest.raises(InvalidInput):
        open_workspace(workspace.root / "loop")


def test_what_others_may_change_is_warned_of(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    assert workspace.warnings() == ()
    (workspace.root / "interlock.yaml").chmod(0o666)
    (workspace.root / "playbooks").chmod(0o777)
    (workspace.root / "policies" / "link").symlink_to("nowhere")
    said = "\n".join(workspace.warnings())
    assert "interlock.yaml: anybody on this machine may change it" in said
    assert "playbooks: anybody" in said
    assert "link: is a link" in said


def test_one_bad_actor_stops_the_catalog_and_is_named(tmp_path: Path) -> None:
    workspace = opened(tmp_path)
    (workspace.root / "playbooks" / "web.x").mkdir()
    assert len(workspace.read_catalog().findings) == 1
    with pytest.raises(InvalidInput) as caught:
        workspace.catalog()
    assert "interlock actors check" in caught.value.next_step
    assert "M-no-manifest" in caught.value.details[0]


# --- our own content ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours() -> Workspace:
    return open_workspace(ROOT)


EXPECTED = {
    "basic-update/draft.yaml": Plan,
    "openssl-web-tier/draft.yaml": Plan,
    "foreseen-failure/draft.yaml": Plan,
    "gate-and-hold/draft.yaml": Plan,
    "question/draft.yaml": Question,
    "question/draft-after-answer.yaml": Plan,
    "refusal/draft.yaml": Refusal,
}


def test_every_example_is_expected() -> None:
    there = {path.relative_to(ROOT / "examples") for path in ROOT.glob("examples/*/draft*.yaml")}
    assert {path.as_posix() for path in there} >= set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_compiles_to_what_it_shows(ours: Workspace, name: str) -> None:
    draft = ROOT / "examples" / name
    catalog, folders = ours.catalog()
    assert folders.keys() == catalog.actors.keys()
    answer = compile_draft(
        read_draft(draft),
        ticket=ours.ticket(draft.parent / "ticket.yaml"),
        catalog=catalog,
        inventory=ours.inventory(),
        limits=ours.limits(),
    )
    assert isinstance(answer, EXPECTED[name]), answer


def test_the_rolling_patch_touches_seven_hosts_two_at_a_time(ours: Workspace) -> None:
    folder = ROOT / "examples" / "openssl-web-tier"
    plan = compile_draft(
        read_draft(folder / "draft.yaml"),
        ticket=ours.ticket(folder / "ticket.yaml"),
        catalog=ours.catalog()[0],
        inventory=ours.inventory(),
        limits=ours.limits(),
    )
    assert isinstance(plan, Plan)
    patched = [step.targets for step in plan.steps if step.actor == "linux.package_update"]
    assert [len(targets) for targets in patched] == [2, 2, 2, 1]
    assert "web-ams1-05" not in {name for targets in patched for name in targets}


def test_a_fresh_workspace_reads_like_ours(tmp_path: Path, ours: Workspace) -> None:
    assert template() == ROOT
    written = init(tmp_path / "new")
    assert tmp_path / "new" / "interlock.yaml" in written
    assert (tmp_path / "new" / ".gitignore").read_text().endswith(".interlock/\n")
    fresh = open_workspace(tmp_path / "new")
    assert fresh.catalog()[0] == ours.catalog()[0]
    assert fresh.inventory() == ours.inventory()
    assert not fresh.warnings()


def test_init_overwrites_nothing_and_begins_nothing(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text("mine")
    with pytest.raises(InvalidInput) as caught:
        init(tmp_path)
    assert "nothing was written" in refusal(caught)
    assert caught.value.details == (str(tmp_path / "interlock.yaml"),)
    assert [path.name for path in tmp_path.iterdir()] == ["interlock.yaml"]


def test_init_keeps_what_is_there_and_what_may_be_run(tmp_path: Path) -> None:
    source = laid(tmp_path)
    (source / "playbooks" / "run.sh").write_text("true\n")
    (source / "playbooks" / "run.sh").chmod(0o755)
    (source / "playbooks" / "link").symlink_to("run.sh")
    target = tmp_path / "new"
    target.mkdir()
    (target / ".gitignore").write_text("mine")
    init(target, source)
    assert os.access(target / "playbooks" / "run.sh", os.X_OK)
    assert not os.path.lexists(target / "playbooks" / "link")
    assert (target / ".gitignore").read_text() == "mine"


def test_init_without_a_template_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"holds no interlock\.yaml to begin"):
        init(tmp_path / "new", tmp_path)


def test_init_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written"):
        init(tmp_path / "file" / "new")
