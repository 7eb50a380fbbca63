"""What was killed, or failed, between two halves of a change is not taken for the whole of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from host_step import Step, some_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.spec import Verb
    from hosts import Lab

NAMED: Final = re.compile(r"^.,.,([^,]+),", re.MULTILINE)
FORMER_SITE: Final = 'server { listen 8080; server_name shop.example.org; return 200 "former"; }\n'
FORMER_TIME: Final = "server 10.203.0.12 iburst\nallow 192.0.2.0/24\nkeyfile /etc/chrony/keys\n"
pytestmark = pytest.mark.xdist_group("hosts")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts for all of these; the actors act on the first."""
    with some_hosts(2) as hosts:
        yield hosts


def killed_behind(step: Step, task: str, verb: Verb) -> None:
    """Have a verb that ends behind this task, and see that verify takes it for no end."""
    step.cut_off(task, verb)
    assert step.state() == "partial"


def test_nginx_is_told_of_a_site_whatever_was_killed_before_its_reload(
    lab: Lab, tmp_path: Path
) -> None:
    step = Step(
        lab,
        tmp_path,
        "nginx.site_deploy",
        site="shop",
        server_name="shop.example.org",
        port=8080,
        upstreams=("localhost:80",),
    )
    lab[1].write("/etc/nginx/conf.d/shop.conf", FORMER_SITE)
    lab[1].must("service", "nginx", "start")

    def page() -> str:
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').read())"
        return lab[1].must("python3", "-c", ask)

    killed_behind(step, "Write the site", "apply")
    assert "former" in page()
    step.done("apply")
    assert "nginx" in page()
    assert step.state() == "applied"
    killed_behind(step, "Put back what was there", "undo")
    assert "nginx" in page()
    step.done("undo")
    assert "former" in page()
    assert step.state() == "not_applied"


def test_chrony_is_told_of_its_sources_whatever_was_killed_before_its_restart(
    lab: Lab, tmp_path: Path
) -> None:
    take_the_time(lab, FORMER_TIME)
    step = Step(lab, tmp_path, "chrony.sources", sources=("h2",))

    def sources() -> list[str]:
        return NAMED.findall(lab[1].must("chronyc", "-N", "-c", "sources", "-a"))

    killed_behind(step, "Write it, if chrony can read it", "apply")
    assert sources() == ["10.203.0.12"]
    step.done("apply")
    assert sources() == ["h2"]
    assert step.state() == "applied"
    kept = FORMER_TIME.partition("\n")[2]
    assert lab[1].read("/etc/chrony/chrony.conf") == f"server h2 iburst\n{kept}"
    killed_behind(step, "Put back what was there", "undo")
    assert sources() == ["h2"]
    step.done("undo")
    assert sources() == ["10.203.0.12"]
    assert lab[1].read("/etc/chrony/chrony.conf") == FORMER_TIME
    assert step.state() == "not_applied"


def test_chrony_begins_with_its_file_also_where_the_former_one_named_the_same_servers(
    lab: Lab, tmp_path: Path
) -> None:
    take_the_time(lab, "server h2 maxpoll 6\n")
    step = Step(lab, tmp_path, "chrony.sources", sources=("h2",))
    began = lab[1].read("/run/chrony/chronyd.pid")
    killed_behind(step, "Write it, if chrony can read it", "apply")
    assert lab[1].read("/run/chrony/chronyd.pid") == began
    step.done("apply")
    assert lab[1].read("/run/chrony/chronyd.pid") != began
    assert step.state() == "applied"


def take_the_time(lab: Lab, text: str) -> None:
    """Have chrony run on the first host with this file, and be a server of time on the second."""
    for host in lab:
        # The clock is left alone: all test hosts share it.
        host.write("/etc/default/chrony", 'DAEMON_OPTS="-F 0 -x"\n')
    lab[1].write("/etc/chrony/chrony.conf", text)
    lab[2].write("/etc/chrony/chrony.conf", "local stratum 8\nallow 10.203.0.0/24\n")
    for host in lab:
        host.must("service", "chrony", "restart")


def test_a_package_that_is_unpacked_and_not_configured_is_no_update(
    lab: Lab, tmp_path: Path
) -> None:
    step = Step(lab, tmp_path, "debian.package_update", package="interlock-demo", version="1.2-1")
    step.done("apply", step.folder / "tests" / "repository")
    assert step.failed() == "half_installed"
    assert "1.2-1" in lab[1].must("dpkg-query", "--show", "interlock-demo")
    assert step.state() == "partial"
    step.done("undo")
    assert step.state() == "not_applied"
