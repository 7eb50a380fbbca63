"""The same plan and facts give the same bytes, in every process and under every hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent.parent
TOLD: Final = """
import sys
from hashlib import sha256
from random import Random
from orchestrator.pure.canonical import canonical
from orchestrator.pure.run import due
from pure.plans import NOON, actor, plan_of, step
from pure.test_run import Life, lived

sketches = [
    step(
        f"s{n}",
        after=tuple(f"s{m}" for m in range(n) if (n * m) % 3 == 1),
        actor=actor(retries=1),
    )
    for n in range(8)
] + [step(f"w{n}@{k}", slot=(f"wave{n}", k)) for n in range(2) for k in (1, 2)]
plan = plan_of(*sketches, stop_after={"wave0": 2}, window=(NOON, NOON + 90_000), max_parallel=4)
hashed = sha256(plan.digest().encode())
for seed in range(12):
    def tell(_before, event, after):
        hashed.update(canonical(after.as_json()))
        hashed.update(repr(due(after, event.at_ms)).encode())
    lived(Life(plan, seed, bool(seed % 2), 20), each=tell)
print(hashed.hexdigest())
"""


def _told(hash_seed: str) -> str:
    paths = os.pathsep.join((str(TESTS.parent), str(TESTS)))
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", TOLD], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_processes_with_different_hash_seeds_agree_byte_for_byte() -> None:
    first = _told("0")
    assert len(first) == 64
    assert {first, _told("1"), _told("4242")} == {first}
