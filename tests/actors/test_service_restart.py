"""A service that was restarted or reloaded: whether it is well, and how long that is waited for."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from actors.catalog import read_actor
from host_step import PLAYBOOKS, Step, some_hosts

if TYPE_CHECKING:
    from pathlib import Path

FOLDER: Final = PLAYBOOKS / "linux.service_restart"
SITE: Final = "events {{}}\nhttp {{ server {{ listen 80; location / {{ return {code}; }} }} }}\n"


def _module() -> Any:
    found = importlib.util.spec_from_file_location(
        "service_well", FOLDER / "library/service_well.py"
    )
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@dataclass
class Clock:
    """Time that passes only while somebody waits."""

    now_s: float = 1000.0
    looks_s: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, some_s: float) -> None:
        self.now_s += some_s

    def hang(self, port: int, path: str | None, limit_s: float) -> str:
        del port, path
        self.looks_s.append(limit_s)
        self.now_s += limit_s
        return "it hangs"


@pytest.mark.parametrize(
    ("within_s", "began_s_ago", "took_s"), [(600, 0, 600), (3, 0, 3), (60, 50, 10), (60, 500, 5)]
)
def test_a_service_that_hangs_is_waited_for_as_long_as_was_said_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, within_s: int, began_s_ago: int, took_s: int
) -> None:
    module, clock = _module(), Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "look", clock.hang)
    assert module.waited(80, "/", 1000.0 - began_s_ago, within_s) == "it hangs"
    assert took_s - 1 < clock.now_s - 1000.0 <= took_s
    assert all(limit_s > 0 for limit_s in clock.looks_s)


def test_a_step_has_time_for_all_the_waiting_that_its_params_allow() -> None:
    spec = read_actor(FOLDER).spec
    assert spec is not None
    most = spec.params["well_within_s"]
    assert most.type == "integer"
    assert most.maximum * 2 <= spec.timeouts.apply_s


def test_a_service_whose_page_fails_is_not_found_applied(tmp_path: Path) -> None:
    with some_hosts(1) as lab:
        step = Step(lab, tmp_path, FOLDER.name, service="nginx", port=80, path="/")
        lab[1].write("/etc/nginx/nginx.conf", SITE.format(code=200))
        lab[1].must("service", "nginx", "start")
        step.done("apply")
        assert step.state() == "applied"
        lab[1].write("/etc/nginx/nginx.conf", SITE.format(code=500))
        lab[1].must("service", "nginx", "restart")
        assert step.state() == "partial"
        lab[1].must("service", "nginx", "stop")
        assert step.state() == "partial"
