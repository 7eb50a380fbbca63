"""One step of an actor of the catalog on test hosts: one verb after another, each a new act.

What is asked of actors in general is their contract (actors/contract_hosts.py); this is for what no
case of an actor can say.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.ansible.kind import Ansible
from actors.catalog import read_actor
from actors.contract_bench import Bench
from actors.contract_cases import Case
from actors.spec import Done, Failed, Found, Predicted
from hosts import Lab, NotHere

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from actors.spec import Outcome, Value, Verb

__all__ = ["PLAYBOOKS", "Step", "some_hosts"]

PLAYBOOKS: Final = Path(__file__).parent.parent / "playbooks"
TASK: Final = re.compile(r"^ +- name: (.*)\n(?! +block:)", re.MULTILINE)


@contextlib.contextmanager
def some_hosts(count: int) -> Iterator[Lab]:
    """Have test hosts, or skip the test with the reason.

    Their folder has a short path, for the socket of the warm server lies there too.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="lab-") as folder, Lab(count, Path(folder)) as lab:
            yield lab
    except NotHere as error:
        pytest.skip(f"no test hosts here: {error}")


class Step:
    """One step on the first host, in a directory of its own."""

    def __init__(self, lab: Lab, place: Path, actor: str, **params: Value) -> None:
        self.folder = PLAYBOOKS / actor
        self.params = params
        self.secrets: dict[str, SecretStr] = {}
        spec = read_actor(self.folder).spec
        assert spec is not None
        settings = {
            "known_hosts_path": str(lab.known_hosts),
            "warm_path": str(lab.known_hosts.with_name("warm")),
        }
        self.bench = Bench(Ansible(), settings, self.folder, place, spec, (lab[1].target,))

    def ask(self, verb: Verb, folder: Path | None = None, **params: Value) -> Outcome:
        """Have a verb done; with a folder, by what stands there and puts out nothing."""
        bench = self.bench
        case = Case(name=verb, params={**self.params, **params}, secrets=self.secrets)
        if folder is not None:
            spec = bench.spec.model_copy(update={"outputs": {}})
            bench = replace(bench, folder=folder, spec=spec)
        return bench.ask(verb, case, f"{bench.workdir.name}-{bench.spec.name}")

    def done(self, verb: Verb, folder: Path | None = None) -> Done:
        """Have a verb done that has to be."""
        outcome = self.ask(verb, folder)
        assert isinstance(outcome, Done), outcome
        return outcome

    def state(self) -> str:
        """Say what verify finds."""
        found = self.ask("verify")
        assert isinstance(found, Found), found
        return found.state

    def refused(self) -> str:
        """Have an apply fail as its check foretells, and name the failure."""
        predicted = self.ask("check")
        assert isinstance(predicted, Predicted)
        assert "would fail" in predicted.message
        return self.failed()

    def failed(self) -> str:
        """Have an apply fail in a declared way, and name it."""
        outcome = self.ask("apply")
        assert isinstance(outcome, Failed), outcome
        return outcome.mode

    def cut_off(self, task: str, verb: Verb = "apply") -> Outcome:
        """Have a verb that ends behind this task, as if it was killed there."""
        tasks = TASK.findall((self.folder / f"{verb}.yml").read_text())
        copy = self.bench.workdir / f"cut-{verb}-{tasks.index(task)}"
        Ansible().cut(self.folder, copy, tasks.index(task) + 1, verb)
        outcome = self.ask(verb, copy)
        assert not isinstance(outcome, Done)
        return outcome
