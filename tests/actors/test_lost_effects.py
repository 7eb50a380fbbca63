"""What was killed, or failed, between two halves of a change is not taken for the whole of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.ansible.kind import Ansible
from actors.catalog import read_actor
from actors.spec import Brief, Done, Failed, Found
from hosts import Lab, NotHere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.spec import Outcome, Verb

PLAYBOOKS: Final = Path(__file__).parent.parent.parent / "playbooks"
TASK: Final = re.compile(r"^ +- name: (.*)\n(?! +block:)", re.MULTILINE)
NAMED: Final = re.compile(r"^.,.,([^,]+),", re.MULTILINE)
FORMER_SITE: Final = 'server { listen 8080; server_name shop.example.org; return 200 "former"; }\n'
FORMER_TIME: Final = "server 10.203.0.12 iburst\nallow 192.0.2.0/24\nkeyfile /etc/chrony/keys\n"
pytestmark = pytest.mark.xdist_group("hosts")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two hosts for all of these; the actors act on the first."""
    try:
        with Lab(2, tmp_path_factory.mktemp("lab")) as hosts:
            yield hosts
    except NotHere as error:
        pytest.skip(f"no test hosts here: {error}")


@dataclass
class Step:
    """One step of an actor on the first host."""

    actor: str
    lab: Lab
    directory: Path
    params: dict[str, Any]
    attempts: int = 0

    def ask(self, verb: Verb, folder: Path | None = None) -> Outcome:
        self.attempts += 1
        spec = read_actor(PLAYBOOKS / self.actor).spec
        assert spec is not None
        workdir = self.directory / str(self.attempts)
        workdir.mkdir()
        brief = Brief(
            key=f"run/step/{verb}/{self.attempts}",
            verb=verb,
            attempt=self.attempts,
            folder=str(folder or PLAYBOOKS / self.actor),
            spec=spec if folder is None else spec.model_copy(update={"outputs": {}}),
            params=self.params,
            targets=(self.lab[1].target,),
            timeout_s=120,
            workdir=str(workdir),
        )
        return Ansible().perform(brief, {"known_hosts_path": str(self.lab.known_hosts)})

    def killed_behind(self, task: str, verb: Verb) -> None:
        """Have a verb that ends behind this task, and see that verify takes it for no end."""
        folder = PLAYBOOKS / self.actor
        tasks = TASK.findall((folder / f"{verb}.yml").read_text())
        copy = self.directory / f"cut-{verb}"
        Ansible().cut(folder, copy, tasks.index(task) + 1, verb)
        assert not isinstance(self.ask(verb, copy), Done)
        assert self.found() == "partial"

    def done(self, verb: Verb) -> None:
        outcome = self.ask(verb)
        assert isinstance(outcome, Done), outcome

    def found(self) -> str:
        found = self.ask("verify")
        assert isinstance(found, Found), found
        return found.state


def test_nginx_is_told_of_a_site_whatever_was_killed_before_its_reload(
    lab: Lab, tmp_path: Path
) -> None:
    params = {"site": "shop", "server_name": "shop.example.org", "port": 8080,
              "upstreams": ("localhost:80",)}  # fmt: skip
    step = Step("nginx.site_deploy", lab, tmp_path, params)
    lab[1].write("/etc/nginx/conf.d/shop.conf", FORMER_SITE)
    lab[1].must("service", "nginx", "start")

    def page() -> str:
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').read())"
        return lab[1].must("python3", "-c", ask)

    step.killed_behind("Write the site", "apply")
    assert "former" in page()
    step.done("apply")
    assert "nginx" in page()
    assert step.found() == "applied"
    step.killed_behind("Put back what was there", "undo")
    assert "nginx" in page()
    step.done("undo")
    assert "former" in page()
    assert step.found() == "not_applied"


def test_chrony_is_told_of_its_sources_whatever_was_killed_before_its_restart(
    lab: Lab, tmp_path: Path
) -> None:
    for host in lab:
        # The clock is left alone: all test hosts share it.
        host.write("/etc/default/chrony", 'DAEMON_OPTS="-F 0 -x"\n')
    lab[1].write("/etc/chrony/chrony.conf", FORMER_TIME)
    lab[2].write("/etc/chrony/chrony.conf", "local stratum 8\nallow 10.203.0.0/24\n")
    for host in lab:
        host.must("service", "chrony", "restart")
    step = Step("chrony.sources", lab, tmp_path, {"sources": ("h2",)})

    def sources() -> list[str]:
        return NAMED.findall(lab[1].must("chronyc", "-N", "-c", "sources", "-a"))

    step.killed_behind("Write it, if chrony can read it", "apply")
    assert sources() == ["10.203.0.12"]
    step.done("apply")
    assert sources() == ["h2"]
    assert step.found() == "applied"
    kept = FORMER_TIME.partition("\n")[2]
    assert lab[1].read("/etc/chrony/chrony.conf") == f"server h2 iburst\n{kept}"
    step.killed_behind("Put back what was there", "undo")
    assert sources() == ["h2"]
    step.done("undo")
    assert sources() == ["10.203.0.12"]
    assert lab[1].read("/etc/chrony/chrony.conf") == FORMER_TIME
    assert step.found() == "not_applied"


def test_a_package_that_is_unpacked_and_not_configured_is_no_update(
    lab: Lab, tmp_path: Path
) -> None:
    params = {"package": "interlock-demo", "version": "1.2-1"}
    step = Step("debian.package_update", lab, tmp_path, params)
    prepared = step.ask("apply", PLAYBOOKS / step.actor / "tests" / "repository")
    assert isinstance(prepared, Done), prepared
    failed = step.ask("apply")
    assert isinstance(failed, Failed), failed
    assert failed.mode == "half_installed"
    assert "1.2-1" in lab[1].must("dpkg-query", "--show", "interlock-demo")
    assert step.found() == "partial"
    step.done("undo")
    assert step.found() == "not_applied"
