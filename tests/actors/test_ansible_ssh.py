"""Over ssh, on real hosts: what a lost host means depends on whether it was ever reached."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from actors.spec import Done, Failed, InDoubt, Outcome, Target, Unexpected
from ansible_rig import Actor, in_a_process, until

if TYPE_CHECKING:
    from hosts import Lab

pytestmark = pytest.mark.xdist_group("hosts")

OUTCOMES: TypeAdapter[Outcome] = TypeAdapter(Outcome)
MARK = "sleep 67.421"


@pytest.fixture
def actor(lab: Lab, tmp_path: Path) -> Actor:
    host = lab[1]
    connection = {**host.connection, "host_key_alias": host.name}
    actor = Actor(tmp_path / "actor", targets=(Target(name=host.name, connection=connection),))
    actor.settings["known_hosts_path"] = str(lab.known_hosts)
    return actor


def asleep(actor: Actor, lab: Lab) -> tuple[Any, Any]:
    """Begin an act whose first task sleeps on the host, and wait until it does."""
    actor.write(f"- {{name: Sleep, ansible.builtin.command: {MARK}}}")
    brief = actor.brief("apply")
    process = in_a_process(actor, brief)
    until(lambda: sleeps(lab), "the host sleeps")
    return process, brief


def sleeps(lab: Lab) -> bool:
    return any(MARK in str(process) for process in lab[1].processes())


def outcome_of(brief: Any) -> Outcome:
    return OUTCOMES.validate_json(Path(brief.workdir, "outcome.json").read_bytes())


def test_a_host_that_is_down_is_a_clean_failure(actor: Actor, lab: Lab) -> None:
    lab[1].power_cut()
    outcome = actor.write("- {ansible.builtin.command: {argv: ['true']}}").ask("apply")
    assert isinstance(outcome, Failed), outcome
    assert outcome.mode == "unreachable"


def test_a_host_that_went_down_in_its_first_task_leaves_doubt(actor: Actor, lab: Lab) -> None:
    process, brief = asleep(actor, lab)
    lab[1].power_cut()
    assert process.wait(100) == 0
    outcome = outcome_of(brief)
    assert isinstance(outcome, InDoubt), "Ansible's words are those of its clearing up"
    assert "could not be reached" in outcome.message


def test_a_stop_ends_what_runs_on_the_host(actor: Actor, lab: Lab) -> None:
    process, brief = asleep(actor, lab)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert isinstance(outcome_of(brief), InDoubt)
    until(lambda: not sleeps(lab), "the terminal was hung up, and the sleep with it")


@pytest.mark.parametrize("becomes", [True, False])
def test_who_may_becomes_root_where_the_inventory_says_so(
    actor: Actor, lab: Lab, *, becomes: bool
) -> None:
    host = lab[1]
    host.must("useradd", "--password", "*", "--create-home", "--shell", "/bin/sh", "ops")
    keys = host.read("/root/.ssh/authorized_keys")
    host.write("/home/ops/.ssh/authorized_keys", keys)
    host.must("chown", "-R", "ops", "/home/ops/.ssh")
    host.write("/etc/sudoers.d/ops", "ops ALL=(ALL) NOPASSWD: ALL\n", "440")
    (target,) = actor.targets
    connection = {**target.connection, "user": "ops", "become": becomes}
    actor.targets = (target.model_copy(update={"connection": connection}),)
    outcome = actor.write(
        "- ansible.builtin.copy: {content: 'by hand', dest: /etc/mark, mode: '0640'}"
    ).ask("apply")
    if becomes:
        assert isinstance(outcome, Done), outcome
        assert host.must("stat", "-c", "%U %a", "/etc/mark") == "root 640\n"
    else:
        assert isinstance(outcome, Unexpected), outcome
        assert host.run("test", "-e", "/etc/mark").code != 0


def test_a_host_whose_key_is_another_is_not_reached(actor: Actor, lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "known_hosts"
    other.write_text(lab.known_hosts.read_text().replace(f"{lab[1].name} ", "elsewhere "))
    actor.settings["known_hosts_path"] = str(other)
    outcome = actor.write("- {ansible.builtin.command: {argv: ['true']}}").ask("apply")
    assert isinstance(outcome, Failed), outcome
    assert "Host key verification failed" in outcome.message


def test_whoever_a_task_becomes_is_who_acts_on_the_host(actor: Actor, lab: Lab) -> None:
    touched = "ansible.builtin.command: {argv: [touch, /tmp/mine]}"
    outcome = actor.write(f"- {{{touched}, become: true, become_user: postgres}}").ask("apply")
    assert isinstance(outcome, Done), outcome
    assert lab[1].must("stat", "-c", "%U", "/tmp/mine").strip() == "postgres"
