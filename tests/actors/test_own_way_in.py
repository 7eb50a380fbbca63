"""Revoking the key by which we log in ourselves: refused, or taken back by the host itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from actors.ansible.trials import cut
from actors.spec import Done, Failed
from ansible_rig import until
from host_step import Step, some_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hosts import Lab

KEYS: Final = "/root/.ssh/authorized_keys"
ANOTHER: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKTn4/2zE2SzBZtCvOT0QsfHSIj3p5c04+pI4qyyrunM somebody"
)
pytestmark = pytest.mark.xdist_group("hosts")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host for all of these: each leaves it as it was."""
    with some_hosts(1) as hosts:
        yield hosts


def revoking(lab: Lab, place: Path) -> Step:
    """Revoke the key by which we come."""
    own = " ".join(lab.key.with_suffix(".pub").read_text().split()[:2])
    return Step(
        lab,
        place,
        "linux.ssh_key_revoke",
        users=("root",),
        public_keys=(own,),
        prove_within_s=5,
    )


def test_the_only_key_of_the_account_we_come_by_is_refused(lab: Lab, tmp_path: Path) -> None:
    before = lab[1].read(KEYS)
    outcome = revoking(lab, tmp_path).ask("apply")
    assert isinstance(outcome, Failed), outcome
    assert outcome.mode == "last_way_in"
    assert "no key left" in outcome.message
    assert lab[1].read(KEYS) == before
    assert lab[1].processes() == []


def test_the_key_we_come_by_is_back_when_no_new_login_succeeds(lab: Lab, tmp_path: Path) -> None:
    before = lab[1].read(KEYS)
    lab[1].write(KEYS, f"{before}{ANOTHER}\n", "600")
    step = revoking(lab, tmp_path)
    try:
        outcome = step.ask("apply")
        assert isinstance(outcome, Failed), outcome
        assert outcome.mode == "last_way_in"
        assert "No new login" in outcome.message
        assert lab[1].read(KEYS) == f"{before}{ANOTHER}\n"
        assert lab.ssh(1, "true").code == 0
        assert lab[1].processes() == []
        assert step.state() == "not_applied"
    finally:
        lab[1].write(KEYS, before, "600")


def test_the_host_alone_puts_the_keys_back_when_nobody_comes_to_prove_anything(
    lab: Lab, tmp_path: Path
) -> None:
    before = lab[1].read(KEYS)
    lab[1].write(KEYS, f"{before}{ANOTHER}\n", "600")
    step = revoking(lab, tmp_path)
    copy = tmp_path / "copy"
    cut(step.folder, copy, after=3)
    outcome = step.ask("apply", copy)
    assert not isinstance(outcome, Done | Failed), outcome
    until(lambda: lab[1].read(KEYS) == f"{before}{ANOTHER}\n", "the keys are back")
    assert lab.ssh(1, "true").code == 0
