"""The kind `ansible`: does the verbs of an actor by playing its playbooks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.ansible import trials
from actors.ansible.lukewarm import home_of
from actors.ansible.plays import play
from actors.ansible.predict import predicted
from actors.ansible.reach import read_options
from actors.ansible.results import read_play
from actors.ansible.sheet import read_sheet
from actors.ansible.stage import EVENTS, LOG, stage
from actors.ansible.verdict import judge, judge_verify

if TYPE_CHECKING:
    from actors.ansible.results import Played
    from actors.kinds import Settings
    from actors.spec import ActorSpec, Brief, Outcome, Target, Verb

__all__ = ["Ansible"]

HOSTS: Final = "hosts.json"


class Ansible:
    """Plays an actor's playbooks."""

    name = "ansible"
    inline = False

    def needs(self, spec: ActorSpec) -> tuple[str, ...]:
        """Need a playbook for each verb that the manifest promises."""
        needed = ["apply.yml"]
        if spec.effect != "read":
            needed.append("verify.yml")
        if spec.undo != "none":
            needed.append("undo.yml")
        return tuple(needed)

    def complaints(
        self, folder: Path, files: tuple[str, ...], spec: ActorSpec
    ) -> tuple[tuple[str, str, str, int], ...]:
        """Say what is wrong with an actor's folder."""
        from actors.ansible.lint import complaints  # noqa: PLC0415 - acts do not need it

        return tuple(complaints(folder, files, spec))

    def cuts(self, folder: Path, acted: Path, verb: Verb = "apply") -> tuple[int, ...]:
        """List after how many tasks a test can cut an act off with effect."""
        return trials.cuts(folder, acted, verb)

    def cut(self, folder: Path, copy: Path, after: int, verb: Verb = "apply") -> None:
        """Copy an actor, so that a verb of it is cut off after so many tasks."""
        trials.cut(folder, copy, after, verb)

    def surprises(self, checked: Path, applied: Path) -> tuple[str, ...]:
        """List where a check and the apply after it disagree."""
        return trials.surprises(checked, applied)

    def look(self, targets: tuple[Target, ...], settings: Settings) -> dict[str, str]:
        """Describe what can be seen of hosts, for a test."""
        from actors.ansible.looks import look  # noqa: PLC0415 - acts do not need it

        return look(targets, settings)

    def perform(self, brief: Brief, settings: Settings) -> Outcome:
        """Do one verb on all targets, and judge it by what happened on each."""
        options = read_options(settings)
        sheet = read_sheet(Path(brief.folder))
        staged = stage(brief, options, os.environ)
        home = home_of(Path(brief.workdir), options.warm_path) if options.warm == "auto" else None
        ended = play(staged, home)
        events, log = staged.directory / EVENTS, staged.directory / LOG
        played = read_play(events)
        _keep_published(staged.directory, played)
        match brief.verb:
            case "check":
                return predicted(brief, played, ended, events, log)
            case "verify":
                return judge_verify(brief, sheet, played, ended, log)
            case "apply" | "undo":
                return judge(brief, sheet, played, ended, log)


def _keep_published(directory: Path, played: Played) -> None:
    published = {name: host.published for name, host in played.hosts.items()}
    handle = os.open(directory / HOSTS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(published, file)
