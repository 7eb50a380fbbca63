"""Nothing of a play lives on: however it ends, and whoever is killed."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from actors.spec import Failed, InDoubt, Outcome, Unexpected
from ansible_rig import Actor, in_a_process, marked, until

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTCOMES: TypeAdapter[Outcome] = TypeAdapter(Outcome)


@pytest.fixture(params=["auto", "off"])
def actor(tmp_path: Path, request: pytest.FixtureRequest) -> Actor:
    """Make an actor whose plays are forked by the warm server, or started by themselves."""
    actor = Actor(tmp_path)
    actor.settings["warm"] = request.param
    return actor


def sleeping(actor: Actor, *, timeout_s: int = 60) -> str:
    """Write a play that sleeps, and return the mark that its processes bear."""
    mark = f"61.{os.getpid()}{time.monotonic_ns() % 10**9}"
    actor.write(
        "- {name: Touch, ansible.builtin.command: {argv: ['true']}}\n"
        f"- {{name: Sleep, ansible.builtin.shell: 'setsid sleep {mark} & sleep {mark}'}}",
        timeout_s=timeout_s,
    )
    return mark


def lineage(act: int, mark: str) -> list[int]:
    """Name the keeper, Ansible, and the worker that has the sleep, from the top.

    Above the keeper is the warm server, or a guard that the act started.
    """
    chain = [marked(f"sleep\0{mark}")[0]]
    while chain[-1] > 1:
        chain.append(parent_of(chain[-1]))
    warm = [place for place, pid in enumerate(chain) if is_warm(pid)]
    top = warm[-1] if warm else chain.index(act) - 1
    return chain[top - 3 : top][::-1]


def parent_of(pid: int) -> int:
    return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])


def is_warm(pid: int) -> bool:
    return b"actors.ansible.warm" in Path("/proc", str(pid), "cmdline").read_bytes()


def outcome_of(brief: Any) -> Outcome | None:
    file = Path(brief.workdir) / "outcome.json"
    return OUTCOMES.validate_json(file.read_bytes()) if file.exists() else None


@pytest.fixture
def asleep(actor: Actor) -> Iterator[tuple[Any, Any, str]]:
    """Begin an act in a process of its own and wait until its play sleeps."""
    mark = sleeping(actor)
    brief = actor.brief("apply")
    process = in_a_process(actor, brief)
    until(lambda: len(marked(f"sleep\0{mark}")) >= 2, "the play sleeps")
    yield process, brief, mark
    process.kill()
    process.wait()


def assert_gone(mark: str, pids: list[int]) -> None:
    until(lambda: not marked(mark), "all that the play started is gone")
    for pid in pids:
        until(partial(_is_dead, pid), f"{pid} is gone")


def _is_dead(pid: int) -> bool:
    try:
        text = Path("/proc", str(pid), "stat").read_text()
        return text.rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_an_act_that_is_asked_to_stop_leaves_nothing(asleep: tuple[Any, Any, str]) -> None:
    process, brief, mark = asleep
    below = lineage(process.pid, mark)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    assert_gone(mark, below)
    outcome = outcome_of(brief)
    assert outcome == InDoubt(message="was asked to stop, and stopped in the middle")


def test_an_act_that_takes_too_long_leaves_nothing(actor: Actor) -> None:
    mark = sleeping(actor, timeout_s=4)
    assert actor.ask("apply") == InDoubt(message="did not end within 4 s")
    assert_gone(mark, [])


@pytest.mark.parametrize("who", ["the act", "the keeper", "ansible", "a worker"])
def test_whoever_is_killed_nothing_is_left(asleep: tuple[Any, Any, str], who: str) -> None:
    process, brief, mark = asleep
    below = lineage(process.pid, mark)
    keeper, ansible, worker = below
    victim = {"the act": process.pid, "the keeper": keeper, "ansible": ansible, "a worker": worker}
    os.kill(victim[who], signal.SIGKILL)
    process.wait(30)
    assert_gone(mark, below)
    outcome = outcome_of(brief)
    match who:
        case "the act":
            assert outcome is None, "its driver closes it, in doubt"
        case "a worker":
            assert isinstance(outcome, (InDoubt, Unexpected)), outcome
        case _:
            assert isinstance(outcome, InDoubt), outcome


@pytest.mark.parametrize("actor", ["off"], indirect=True)
def test_a_guard_that_is_killed_leaves_nothing(asleep: tuple[Any, Any, str]) -> None:
    process, brief, mark = asleep
    below = lineage(process.pid, mark)
    os.kill(parent_of(below[0]), signal.SIGKILL)
    process.wait(30)
    assert_gone(mark, below)
    assert isinstance(outcome_of(brief), InDoubt)


def test_an_act_and_its_keeper_killed_together_leave_nothing(
    asleep: tuple[Any, Any, str],
) -> None:
    process, _, mark = asleep
    keeper, *others = lineage(process.pid, mark)
    for pid in (process.pid, keeper):
        os.kill(pid, signal.SIGSTOP)  # neither of them sees the other die
    for pid in (process.pid, keeper):
        os.kill(pid, signal.SIGKILL)
    process.wait(30)
    assert_gone(mark, [keeper, *others])


def test_the_end_of_a_play_ends_what_it_left_behind(actor: Actor) -> None:
    mark = f"62.{os.getpid()}"
    actor.write(f"- ansible.builtin.shell: 'setsid sleep {mark} >/dev/null 2>&1 & true'")
    actor.ask("apply")
    assert_gone(mark, [])


def test_a_stop_before_anything_began_is_clean(actor: Actor) -> None:
    actor.write("- ansible.builtin.command: {argv: ['true']}")
    brief = actor.brief("apply")
    process = in_a_process(actor, brief)
    until(Path(brief.workdir, "pulse").exists, "it has begun")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    outcome = outcome_of(brief)
    assert outcome is None or isinstance(outcome, (Failed, InDoubt))
    if isinstance(outcome, Failed):
        assert outcome.mode == "stopped"


# --- target fidelity ------------------------------------------------------------------------------

FOREIGN = {
    "a delegation": "- {name: Reach, ansible.builtin.command: 'touch TOUCHED', delegate_to: other}",
    "a delegation to the controller": (
        "- {name: Reach, ansible.builtin.command: 'touch TOUCHED', delegate_to: localhost}"
    ),
    "a delegation by template": (
        "- name: Reach\n  ansible.builtin.command: touch TOUCHED\n"
        "  delegate_to: \"{{ 'oth' + 'er' }}\""
    ),
    "a delegation in a loop": (
        "- name: Reach\n  ansible.builtin.command: touch TOUCHED\n"
        '  delegate_to: "{{ item }}"\n  loop: [other]'
    ),
    "a page that is posted and written": (
        "- name: Reach\n  delegate_to: localhost\n"
        "  ansible.builtin.uri: {url: 'http://127.0.0.1:9/', method: POST, dest: TOUCHED}"
    ),
    "a page by a method of a template": (
        "- name: Reach\n  delegate_to: localhost\n"
        "  ansible.builtin.uri: {url: 'http://127.0.0.1:9/', method: \"{{ 'PO' ~ 'ST' }}\"}"
    ),
    "a page by arguments of a template": (
        "- name: Reach\n  delegate_to: localhost\n  ansible.builtin.uri:\n"
        "  args: \"{{ {'url': 'http://127.0.0.1:9/', 'method': 'POST'} }}\""
    ),
    "a page through a socket": (
        "- name: Reach\n  delegate_to: localhost\n"
        "  ansible.builtin.uri: {url: 'http://127.0.0.1/', unix_socket: TOUCHED}"
    ),
    "a page by defaults": (
        "- name: Reach\n  delegate_to: localhost\n"
        "  module_defaults: {ansible.builtin.uri: {method: POST, dest: TOUCHED}}\n"
        "  ansible.builtin.uri: {url: 'http://127.0.0.1:9/'}"
    ),
    "a file instead of a page": (
        "- name: Reach\n  delegate_to: localhost\n"
        "  ansible.builtin.uri: {url: 'file:///etc/hostname'}"
    ),
    "a host that is added": "- {name: Reach, ansible.builtin.add_host: {name: other}}",
}


@pytest.mark.parametrize("how", FOREIGN)
def test_what_reaches_for_another_host_is_stopped_before_it_gets_there(
    actor: Actor, tmp_path: Path, how: str
) -> None:
    touched = tmp_path / "touched"
    tasks = FOREIGN[how].replace("TOUCHED", str(touched))
    after = f"- {{name: After, ansible.builtin.command: 'touch {touched}'}}"
    outcome = actor.write(f"{tasks}\n{after}").ask("apply")
    assert isinstance(outcome, Unexpected)
    assert "'Reach' reached for" in outcome.message
    assert not touched.exists()


def test_the_controller_may_look_at_a_target(actor: Actor, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    tasks = f"- {{ansible.builtin.wait_for: {{path: '{there}'}}, delegate_to: localhost}}"
    assert actor.write(tasks).ask("apply").kind == "done"
