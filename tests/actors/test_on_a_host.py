"""What no case of an actor's own can show: modes of files, odd bytes, links, our own way in."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import pytest

from actors.ansible.trials import cut
from actors.spec import Done
from host_step import Step, some_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hosts import Lab

PROXY: Final = """\
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
listen stats
  bind 127.0.0.1:8404
  stats enable
  stats auth ann:secret"""
KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKTn4/2zE2SzBZtCvOT0QsfHSIj3p5c04+pI4qyyrunM"
pytestmark = pytest.mark.xdist_group("hosts")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host for all of these: each looks after what is its own."""
    with some_hosts(1) as hosts:
        yield hosts


def about(lab: Lab, path: str) -> str:
    """Say whose a file is, who may read it, and what is in it."""
    return lab[1].must("sh", "-c", f"stat -c '%a %U %G' {path}; sha256sum < {path}")


def shell(lab: Lab, text: str) -> None:
    lab[1].must("sh", "-ec", text)


def person(lab: Lab, name: str, keys: str) -> str:
    """Make an account with a file of keys, and name the file."""
    file = f"/home/{name}/.ssh/authorized_keys"
    shell(lab, f"useradd -m -p '*' {name}; install -d -o {name} -g {name} -m 700 /home/{name}/.ssh")
    shell(lab, f"printf {shlex.quote(keys)} > {file}; chown {name}: {file}; chmod 640 {file}")
    return file


# --- linux.config_file ----------------------------------------------------------------------------


def test_a_configuration_file_keeps_who_may_read_it(lab: Lab, tmp_path: Path) -> None:
    file = "/etc/haproxy/haproxy.cfg"
    shell(lab, f"chown root:haproxy {file}; chmod 640 {file}")
    before = about(lab, file)
    step = Step(lab, tmp_path, "linux.config_file", file=file, content=PROXY)
    assert step.done("apply").changed
    assert about(lab, file).startswith("640 root haproxy\n")
    assert lab[1].read(file) == f"{PROXY}\n"
    assert step.state() == "applied"
    assert not step.done("apply").changed
    step.done("undo")
    assert about(lab, file) == before


def test_a_new_configuration_file_is_roots_and_for_all_to_read(lab: Lab, tmp_path: Path) -> None:
    file = "/etc/motd"
    shell(lab, f"rm -f {file}")
    step = Step(lab, tmp_path, "linux.config_file", file=file, content="Welcome.")
    step.done("apply")
    assert about(lab, file).startswith("644 root root\n")
    assert not step.done("apply").changed
    step.done("undo")
    assert lab[1].run("test", "-e", file).code == 1


# --- linux.sysctl ---------------------------------------------------------------------------------


def test_a_setting_that_holds_now_but_not_at_boot_is_partial(lab: Lab, tmp_path: Path) -> None:
    params = {"setting": "net.ipv4.ip_default_ttl", "value": "61"}
    step = Step(lab, tmp_path, "linux.sysctl", **params)
    copy = tmp_path / "linux.sysctl"
    cut(step.folder, copy, after=4)
    assert not isinstance(step.ask("apply", copy), Done)
    assert lab[1].read("/proc/sys/net/ipv4/ip_default_ttl") == "61\n"
    assert step.state() == "partial"
    step.done("undo")
    assert lab[1].read("/proc/sys/net/ipv4/ip_default_ttl") == "64\n"
    assert step.state() == "not_applied"


def test_a_kernel_that_has_the_value_already_owes_it_to_no_step(lab: Lab, tmp_path: Path) -> None:
    params = {"setting": "net.ipv4.ip_default_ttl", "value": "64"}
    assert Step(lab, tmp_path, "linux.sysctl", **params).state() == "not_applied"


# --- linux.user_disable ---------------------------------------------------------------------------


def test_the_account_that_we_log_in_as_is_refused_whoever_we_become(
    lab: Lab, tmp_path: Path
) -> None:
    file = person(lab, "deploy", lab.key.with_suffix(".pub").read_text())
    lab[1].write("/etc/sudoers.d/deploy", "deploy ALL=(ALL) NOPASSWD: ALL\n", "440")
    before = about(lab, file), lab[1].must("getent", "shadow", "deploy")
    step = Step(lab, tmp_path, "linux.user_disable", user="deploy")
    connection = {**lab[1].connection, "user": "deploy", "become": True}
    step.bench.targets = (lab[1].target.model_copy(update={"connection": connection}),)
    assert step.refused() == "own_account"
    assert (about(lab, file), lab[1].must("getent", "shadow", "deploy")) == before
    assert step.state() == "not_applied"


def test_one_who_shares_the_home_of_our_account_is_refused(lab: Lab, tmp_path: Path) -> None:
    shell(lab, "useradd -M -d /root -p '*' guest")
    step = Step(lab, tmp_path, "linux.user_disable", user="guest")
    assert step.failed() == "own_account"


@pytest.mark.parametrize("link", ["/home/{}/.ssh", "/home/{}/.ssh/authorized_keys"])
def test_keys_behind_a_link_are_left_alone(lab: Lab, tmp_path: Path, link: str) -> None:
    name = "lynn" if link.endswith("keys") else "mallory"
    person(lab, name, f"{KEY} {name}\n")
    place = link.format(name)
    shell(lab, f"rm -r {place}; ln -s {place.replace(f'/home/{name}', '/root')} {place}")
    before = about(lab, "/root/.ssh/authorized_keys"), lab[1].must("getent", "shadow", name)
    step = Step(lab, tmp_path, "linux.user_disable", user=name)
    assert step.refused() == "not_plain"
    after = about(lab, "/root/.ssh/authorized_keys"), lab[1].must("getent", "shadow", name)
    assert after == before


def test_a_key_below_the_mark_is_seen_and_former_keys_come_back_to_the_last_byte(
    lab: Lab, tmp_path: Path
) -> None:
    file = person(lab, "zoe", f"# caf\\351\\r\\n{KEY} zo\\353\\n\\n")
    before = about(lab, file)
    step = Step(lab, tmp_path, "linux.user_disable", user="zoe")
    step.done("apply")
    assert lab[1].read(file).startswith("# disabled; the keys are kept in /var/lib/interlock/")
    shell(lab, f"echo '{KEY} again' >> {file}")
    assert step.state() == "partial"
    assert step.done("apply").changed
    assert step.state() == "applied"
    step.done("undo")
    assert about(lab, file) == before
    assert step.state() == "not_applied"


def test_a_second_step_on_a_disabled_account_takes_nothing_from_the_first(
    lab: Lab, tmp_path: Path
) -> None:
    file = person(lab, "xena", f"{KEY} xena\\n")
    before = about(lab, file)
    steps = []
    for number in ("first", "second"):
        (tmp_path / number).mkdir()
        steps.append(Step(lab, tmp_path / number, "linux.user_disable", user="xena"))
        steps[-1].done("apply")
    assert steps[0].state() == "applied"
    for step in steps:
        step.done("undo")
    assert about(lab, file) == before
