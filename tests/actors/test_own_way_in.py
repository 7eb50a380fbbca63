"""Revoking the key by which we log in ourselves: refused, or taken back by the host itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.ansible.kind import Ansible
from actors.ansible.trials import cut
from actors.catalog import read_actor
from actors.spec import Brief, Done, Failed, Found
from ansible_rig import until
from hosts import Lab, NotHere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.spec import Outcome, Verb

ACTOR: Final = Path(__file__).parent.parent.parent / "playbooks" / "linux.ssh_key_revoke"
KEYS: Final = "/root/.ssh/authorized_keys"
ANOTHER: Final = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKTn4/2zE2SzBZtCvOT0QsfHSIj3p5c04+pI4qyyrunM somebody"
)
pytestmark = pytest.mark.xdist_group("hosts")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One host for all of these: each leaves it as it was."""
    try:
        with Lab(1, tmp_path_factory.mktemp("lab")) as hosts:
            yield hosts
    except NotHere as error:
        pytest.skip(f"no test hosts here: {error}")


def ask(lab: Lab, tmp_path: Path, verb: Verb, step: str, folder: Path = ACTOR) -> Outcome:
    spec = read_actor(ACTOR).spec
    assert spec is not None
    workdir = tmp_path / f"{step}-{verb}"
    workdir.mkdir()
    own = " ".join(lab.key.with_suffix(".pub").read_text().split()[:2])
    brief = Brief(
        key=f"run/{step}/{verb}/1",
        verb=verb,
        attempt=1,
        folder=str(folder),
        spec=spec,
        params={"users": ("root",), "public_keys": (own,), "prove_within_s": 5},
        targets=(lab[1].target,),
        timeout_s=120,
        workdir=str(workdir),
    )
    return Ansible().perform(brief, {"known_hosts_path": str(lab.known_hosts)})


def test_the_only_key_of_the_account_we_come_by_is_refused(lab: Lab, tmp_path: Path) -> None:
    before = lab[1].read(KEYS)
    outcome = ask(lab, tmp_path, "apply", "only")
    assert isinstance(outcome, Failed), outcome
    assert outcome.mode == "last_way_in"
    assert "no key left" in outcome.message
    assert lab[1].read(KEYS) == before
    assert lab[1].processes() == []


def test_the_key_we_come_by_is_back_when_no_new_login_succeeds(lab: Lab, tmp_path: Path) -> None:
    before = lab[1].read(KEYS)
    lab[1].write(KEYS, f"{before}{ANOTHER}\n", "600")
    try:
        outcome = ask(lab, tmp_path, "apply", "ours")
        assert isinstance(outcome, Failed), outcome
        assert outcome.mode == "last_way_in"
        assert "No new login" in outcome.message
        assert lab[1].read(KEYS) == f"{before}{ANOTHER}\n"
        assert lab.ssh(1, "true").code == 0
        assert lab[1].processes() == []
        found = ask(lab, tmp_path, "verify", "ours")
        assert isinstance(found, Found)
        assert found.state == "not_applied"
    finally:
        lab[1].write(KEYS, before, "600")


def test_the_host_alone_puts_the_keys_back_when_nobody_comes_to_prove_anything(
    lab: Lab, tmp_path: Path
) -> None:
    before = lab[1].read(KEYS)
    lab[1].write(KEYS, f"{before}{ANOTHER}\n", "600")
    copy = tmp_path / ACTOR.name
    cut(ACTOR, copy, after=3)
    outcome = ask(lab, tmp_path, "apply", "cut", copy)
    assert not isinstance(outcome, Done | Failed), outcome
    until(lambda: lab[1].read(KEYS) == f"{before}{ANOTHER}\n", "the keys are back")
    assert lab.ssh(1, "true").code == 0
