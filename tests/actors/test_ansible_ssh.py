"""Over ssh, on real hosts: what a lost host means depends on whether it was ever reached."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from actors.spec import Done, Failed, InDoubt, Outcome, Target, Unexpected
from ansible_rig import Actor, in_a_process, marked, until

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


def asleep(actor: Actor, lab: Lab, more: str = "") -> tuple[Any, Any]:
    """Begin an act whose first task sleeps on the host, and wait until it does."""
    actor.write(f"- {{name: Sleep, ansible.builtin.command: {MARK}, {more}}}")
    brief = actor.brief("apply")
    process = in_a_process(actor, brief)
    until(lambda: sleeps(lab), "the host sleeps")
    return process, brief


def come_as_ops(actor: Actor, lab: Lab, *, becomes: bool) -> None:
    """Log in as somebody who may become root."""
    host = lab[1]
    host.must("useradd", "--password", "*", "--create-home", "--shell", "/bin/sh", "ops")
    keys = host.read("/root/.ssh/authorized_keys")
    host.write("/home/ops/.ssh/authorized_keys", keys)
    host.must("chown", "-R", "ops", "/home/ops/.ssh")
    host.write("/etc/sudoers.d/ops", "ops ALL=(ALL) NOPASSWD: ALL\n", "440")
    (target,) = actor.targets
    connection = {**target.connection, "user": "ops", "become": becomes}
    actor.targets = (target.model_copy(update={"connection": connection}),)


def logins(lab: Lab, what: str = "Accepted publickey") -> int:
    """Count what the host's sshd wrote of logins."""
    return lab[1].read("/var/log/sshd.log").count(what)


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


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("becomes", ["nobody else", "root", "postgres"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_stop_ends_what_runs_on_the_host(
    actor: Actor, lab: Lab, becomes: str, how: signal.Signals, *, pipelining: bool
) -> None:
    actor.settings["pipelining"] = pipelining
    if becomes == "root":
        come_as_ops(actor, lab, becomes=True)
    whom = "become: true, become_user: postgres" if becomes == "postgres" else ""
    process, brief = asleep(actor, lab, whom)
    process.send_signal(how)
    process.wait(60)
    until(lambda: lab[1].processes() == [], "all that the act began there is gone")
    until(lambda: not marked(str(lab.key)), "and here")
    if how == signal.SIGTERM:
        assert isinstance(outcome_of(brief), InDoubt)


@pytest.mark.parametrize("becomes", [True, False])
def test_who_may_becomes_root_where_the_inventory_says_so(
    actor: Actor, lab: Lab, *, becomes: bool
) -> None:
    host = lab[1]
    come_as_ops(actor, lab, becomes=becomes)
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


def test_a_module_and_what_it_is_told_lie_in_no_file_of_the_host(actor: Actor, lab: Lab) -> None:
    canary, word = "canary-of-a-value", "'{{ interlock.params.word }}'"
    actor.write(
        f"- ansible.builtin.command: {{argv: [sh, -c, '{MARK}', {word}]}}",
        params="word: {type: text, summary: W., pattern: '^[a-z-]*$'}",
    )
    process = in_a_process(actor, actor.brief("apply", word=canary))
    until(lambda: sleeps(lab), "the host sleeps")
    found = lab[1].run("grep", "-rl", canary, "/root", "/home", "/tmp", "/var", "/etc", "/dev/shm")
    process.kill()
    process.wait()
    assert found.out == ""


def test_each_target_of_each_act_has_one_connection_of_its_own(actor: Actor, lab: Lab) -> None:
    (one,) = actor.targets
    actor.targets = (one, one.model_copy(update={"name": "the-same-host"}))
    two_tasks = "- {ansible.builtin.command: {argv: ['true']}}\n" * 2
    actor.write(two_tasks + "- {ansible.builtin.copy: {content: x, dest: /tmp/x}}")
    for acts in (1, 2):
        assert isinstance(actor.ask("apply"), Done)
        assert logins(lab) == 2 * acts
        assert not marked(str(lab.key))


def test_a_key_that_was_revoked_since_the_last_act_opens_nothing(actor: Actor, lab: Lab) -> None:
    actor.write("- {ansible.builtin.command: {argv: ['true']}}")
    assert isinstance(actor.ask("apply"), Done)
    keys = lab[1].read("/root/.ssh/authorized_keys")
    lab[1].write("/root/.ssh/authorized_keys", "", "600")
    outcome = actor.ask("apply")
    assert isinstance(outcome, Failed), outcome
    assert outcome.mode == "unreachable"
    assert "Permission denied" in outcome.message
    assert logins(lab, "Connection closed by authenticating user") == 1, "it was tried once"
    lab[1].write("/root/.ssh/authorized_keys", keys, "600")
    assert isinstance(actor.ask("apply"), Done)


def test_a_host_that_takes_a_connection_and_says_nothing_is_not_waited_for(
    actor: Actor, lab: Lab
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (target,) = actor.targets
        connection = {**target.connection, "port": silent.getsockname()[1]}
        actor.targets = (target.model_copy(update={"connection": connection}),)
        actor.settings["connect_timeout_s"] = 2
        outcome = actor.write("- {ansible.builtin.command: {argv: ['true']}}").ask("apply")
    assert isinstance(outcome, Failed), outcome
    assert outcome.mode == "unreachable"
    assert "timed out" in outcome.message.lower()


def test_a_connection_that_is_lost_between_tasks_is_made_anew(actor: Actor, lab: Lab) -> None:
    actor.write(
        "- {ansible.builtin.command: {argv: ['true']}}\n"
        "- {ansible.builtin.pause: {seconds: 5}}\n"
        "- {ansible.builtin.command: {argv: [touch, /tmp/again]}}"
    )
    brief = actor.brief("apply")
    process = in_a_process(actor, brief)
    events = Path(brief.workdir, "ansible-apply", "events.jsonl")
    until(lambda: events.exists() and "builtin.pause" in events.read_text(), "it pauses")
    for pid in marked(str(lab.key)):
        os.kill(pid, signal.SIGKILL)
    assert process.wait(60) == 0
    assert isinstance(outcome_of(brief), Done)
    assert lab[1].run("test", "-e", "/tmp/again").code == 0
    assert logins(lab) == 2


@pytest.mark.parametrize("warm", ["auto", "off"])
def test_a_connection_goes_with_its_keeper(actor: Actor, lab: Lab, warm: str) -> None:
    actor.settings["warm"] = warm
    process, brief = asleep(actor, lab)
    (master,) = (pid for pid in marked(str(lab.key)) if b"-N" in words_of(pid) and is_ssh(pid))
    os.kill(parent_of(parent_of(master)), signal.SIGKILL)
    assert process.wait(60) == 0
    assert outcome_of(brief) == InDoubt(message="who kept the play was killed")
    until(lambda: not marked(str(lab.key)), "nobody is connected any more")
    until(lambda: lab[1].processes() == [], "and nothing runs there")


def words_of(pid: int) -> list[bytes]:
    return Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")


def is_ssh(pid: int) -> bool:
    return words_of(pid)[0] == b"ssh"


def parent_of(pid: int) -> int:
    return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("wants", ["requiretty", "log_output", "log_output,!use_pty"])
def test_a_sudo_that_would_keep_a_module_from_its_guard_does_nothing_without_a_terminal(
    actor: Actor, lab: Lab, wants: str, *, pipelining: bool
) -> None:
    come_as_ops(actor, lab, becomes=True)
    lab[1].write("/etc/sudoers.d/ops", f"Defaults {wants}\nops ALL=(ALL) NOPASSWD: ALL\n", "440")
    actor.settings["pipelining"] = pipelining
    outcome = actor.write("- {ansible.builtin.command: {argv: [touch, /tmp/x]}}").ask("apply")
    assert (lab[1].run("test", "-e", "/tmp/x").code != 0) is pipelining
    if pipelining:
        assert isinstance(outcome, Unexpected), outcome
        assert "pipelining: false" in outcome.message
    else:
        assert isinstance(outcome, Done), outcome
