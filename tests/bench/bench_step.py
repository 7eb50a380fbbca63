"""What a whole step of a run costs beside plain `ansible-playbook`, in the same minutes.

A step is the process of its act, its play, the play of its verify, and what the ledger records. It
has one task on one host of this machine, and so has the playbook; plain is measured once for that
playbook alone, and once for it and the one of the verify after it, which is what a step does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.bench_ansible import PYTHON, plain_play  # noqa: E402 - after the path is set
from edges import rig  # noqa: E402 - after the path is set
from orchestrator.pure.events import ActFinished, ActStarted, StartRequested  # noqa: E402 - as above
from orchestrator.session import Session  # noqa: E402 - as above

STEPS: Final = 8
SKIPPED: Final = 3
"""The first steps are not counted: the warm server begins, and builds what it lends."""
SETTINGS: Final = """\
format: 1
environments:
  lab: {approvals: [], max_targets: 100, require_evidence: false, allow_undo_none: true}
policy: {engine: builtin}
"""
MANIFEST: Final = """\
name: lab.touch
version: 1.0.0
kind: ansible
summary: Do nothing, and say so.
when_to_use: In benchmarks.
when_not_to_use: Elsewhere.
effect: change
params:
  targets: {type: targets, summary: Where.}
writes: [thing]
idempotent: true
undo: none
dry_run: none
timeouts: {apply_s: 60, verify_s: 60, check_s: 30, expected_s: 1}
"""
APPLY: Final = """\
- hosts: targets
  gather_facts: false
  tasks:
    - name: Do it
      ansible.builtin.command: {argv: ['true']}
"""
VERIFY: Final = """\
- hosts: targets
  gather_facts: false
  tasks:
    - name: Look
      ansible.builtin.command: {argv: ['true']}
      changed_when: false
    - name: Say what was found
      ansible.builtin.set_stats: {aggregate: false, data: {interlock_state: applied}}
"""


def main() -> int:
    """Interleave the rounds, then print medians and ratios."""
    parser = argparse.ArgumentParser(description="Measure a step of a run beside plain Ansible.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ours, alone, both = [], [], []
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        for number in range(rounds):
            root = Path(folder) / str(number)
            ours += _steps(root)
            apply_s = _plain(root, "apply.yml")
            alone.append(apply_s)
            both.append(apply_s + _plain(root, "verify.yml"))
    step_s, alone_s, both_s = (statistics.median(found) for found in (ours, alone, both))
    print(f"a step of a run, from claim to report: {step_s:.2f} s, {len(ours)} measured")
    print(f"  plain plays the same task in {alone_s:.2f} s: {step_s / alone_s:.2f} of it")
    print(f"  plain plays it and its verify in {both_s:.2f} s: {step_s / both_s:.2f} of it")
    return 0


def _steps(root: Path) -> list[float]:
    """Run a chain of steps, and return what each of the later ones took."""
    folder = root / "playbooks" / "lab.touch"
    for made in (folder, root / "policies", root / "inventory"):
        made.mkdir(parents=True)
    for name, text in (("actor.yaml", MANIFEST), ("apply.yml", APPLY), ("verify.yml", VERIFY)):
        (folder / name).write_text(text)
    (root / "interlock.yaml").write_text(SETTINGS)
    (root / "inventory" / "lab.yaml").write_text(
        "format: 1\nenvironment: lab\nobjects:\n"
        f"  - {{name: here, connection: {{transport: local, python: {PYTHON}}}}}\n"
    )
    steps = [
        f"  - {{id: s{n}, actor: lab.touch, params: {{targets: [here]}}, accept_no_undo: true, "
        f"after: [{f's{n - 1}' if n else ''}]}}\n"
        for n in range(STEPS)
    ]
    run = rig.opened(root, f"decision: plan\nsteps:\n{''.join(steps)}")
    with Session.open(root) as session, session.driver(run, lambda *_: None) as driver:
        digest = driver.run.plan_digest
        driver.record([StartRequested(at_ms=driver.run.at_ms, by="ann", plan_digest=digest)])
        ended = driver.drive()
        if ended.phase != "succeeded":
            raise SystemExit(f"the bench's own run ended otherwise: {ended.phase}, {ended.reason}")
        events = list(session.ledger.events(run))
    began = {e.step: e.at_ms for e in events if isinstance(e, ActStarted)}
    took = [(e.at_ms - began[e.step]) / 1000 for e in events if isinstance(e, ActFinished)]
    return took[SKIPPED:]


def _plain(root: Path, playbook: str) -> float:
    hosts = root / "plain.ini"
    hosts.write_text(
        f"[targets]\nhere ansible_connection=local ansible_python_interpreter={PYTHON}\n"
    )
    began = time.monotonic()
    plain_play("-i", hosts, root / "playbooks" / "lab.touch" / playbook)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
