"""Members of a HAProxy backend, seen from outside: what was ordered of each, after the acts."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from actors.spec import Done
from host_step import PLAYBOOKS, Step, some_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hosts import Lab

DRAIN: Final = "haproxy.member_drain"
ENABLE: Final = "haproxy.member_enable"
CONFIG: Final = """\
global
  stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend shop
  bind :80
  default_backend shop_web
backend shop_web
  server a 127.0.0.1:8081
  server b 127.0.0.1:8082
  server c 127.0.0.1:8083
  server down 127.0.0.1:8084 check inter 200ms
"""
ASK: Final = """\
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/haproxy/admin.sock")
s.sendall(sys.stdin.buffer.read())
print(b"".join(iter(lambda: s.recv(65536), b"")).decode())
"""


@dataclass
class Balancer:
    lab: Lab
    directory: Path

    def step(self, actor: str, *members: str) -> Step:
        return Step(self.lab, self.directory, actor, backend="shop_web", members=members)

    def order(self, command: str) -> str:
        return self.lab[1].must("python3", "-c", ASK, says=f"{command}\n")

    def finds_down(self) -> None:
        """Return once its checks have found the one member down that is."""
        end_s = time.monotonic() + 60
        while not re.search(r"^shop_web,down,.*,DOWN,", self.order("show stat"), re.MULTILINE):
            assert time.monotonic() < end_s, "the member is not found down"
            time.sleep(0.1)

    def states(self) -> dict[str, str]:
        """Tell the administrative bits of each member, as HAProxy has them."""
        rows = [line.split() for line in self.order("show servers state shop_web").splitlines()]
        return {row[3]: row[6] for row in rows if row[1:2] == ["shop_web"]}


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    with some_hosts(1) as lab:
        lab[1].write("/etc/haproxy/haproxy.cfg", CONFIG)
        lab[1].must("service", "haproxy", "start")
        balancer = Balancer(lab, tmp_path)
        balancer.finds_down()
        yield balancer


def test_a_member_in_maintenance_stays_there_whatever_is_done_with_the_others(
    balancer: Balancer,
) -> None:
    balancer.order("set server shop_web/a state maint")
    drain = balancer.step(DRAIN, "a", "b")
    drain.done("apply")
    assert balancer.states() == {"a": "1", "b": "8", "c": "0", "down": "0"}
    # The other one is put into maintenance by hand, before the drain is taken back.
    balancer.order("set server shop_web/b state maint")
    drain.done("undo")
    assert balancer.states() == {"a": "1", "b": "1", "c": "0", "down": "0"}


def test_a_member_that_may_take_traffic_and_is_down_is_not_enabled(balancer: Balancer) -> None:
    assert balancer.step(ENABLE, "down").state() == "partial"


def test_a_member_that_is_down_is_drained_and_given_back(balancer: Balancer) -> None:
    drain = balancer.step(DRAIN, "down")
    assert drain.ask("apply") == Done(changed=True, outputs={"sessions_left": 0})
    assert balancer.states()["down"] == "8"
    assert drain.ask("undo") == Done(changed=True)
    assert balancer.states()["down"] == "0"


def test_both_actors_have_the_same_module() -> None:
    one, other = (PLAYBOOKS / name / "library/haproxy_members.py" for name in (DRAIN, ENABLE))
    assert one.read_bytes() == other.read_bytes()
