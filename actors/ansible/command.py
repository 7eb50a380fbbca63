"""Asks ansible-runner for the command of a play; the one place that knows it.

What else it offers is not used, and `docs/adr/0006` says why.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ansible_runner.config.runner import RunnerConfig  # type: ignore[import-untyped]  # has no types

if TYPE_CHECKING:
    from actors.ansible.shim import Job

__all__ = ["command_of"]


def command_of(job: Job) -> list[str]:
    """Make the command; there is nothing secret in it, for every user can read it."""
    words = ["--extra-vars", f"@{job.values_fifo}"]
    if job.check:
        words += ["--check", "--diff"]
    config = RunnerConfig(
        private_data_dir=job.directory,
        artifact_dir=job.scratch[0],
        ident="runner",
        playbook=job.playbook,
        inventory=job.inventory,
        cmdline=shlex.join(words),
        forks=job.forks,
    )
    config.prepare_inventory()
    config.prepare_command()
    return list(config.command)
