"""A chain that is completed around a certificate which is served already, and is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from actors.contract_cases import read_cases
from host_step import PLAYBOOKS, Step, some_hosts

if TYPE_CHECKING:
    from pathlib import Path

ACTOR: Final = "tls.certificate_deploy"


@pytest.mark.xdist_group("hosts")
def test_the_chain_alone_can_be_put_in_place_and_taken_back(tmp_path: Path) -> None:
    case = read_cases(PLAYBOOKS / ACTOR).cases[0]
    with some_hosts(1) as lab:
        step = Step(lab, tmp_path, ACTOR, **case.params)
        step.secrets = case.secrets
        step.done("apply", step.folder / "tests" / "serving")
        former = str(case.params["certificate"])
        lab[1].write("/etc/ssl/shop.pem", former)
        lab[1].write("/etc/ssl/private/shop.key", case.secrets["key"].get_secret_value())
        lab[1].must("service", "nginx", "reload")
        assert step.state() == "not_applied"
        assert step.done("apply").changed
        assert step.state() == "applied"
        assert lab[1].read("/etc/ssl/shop.pem") != former
        assert step.done("undo").changed
        assert step.state() == "not_applied"
        assert lab[1].read("/etc/ssl/shop.pem") == former
