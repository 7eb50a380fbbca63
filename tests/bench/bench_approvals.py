"""What consent costs: to sign, to verify, and to digest a change; beside what a process costs.

floor       start `ssh-keygen` for nothing: what a process costs here
verify      verify one approval, as everybody does who counts it
refuse      find out why a tampered approval does not count (it asks again, leaving conditions out)
sign        sign one statement with a key file
lint        read 1,000 allowed signers
equal N     the digest of a change of N steps, beside the digest of the plan
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from edges.keys import NOW, PLAN, approval, key, line, signed  # noqa: E402 - the path is set first
from orchestrator.approvals import Trust, problem_with  # noqa: E402 - the path is set first
from orchestrator.approvals_signers import read_signers  # noqa: E402 - the path is set first
from orchestrator.pure.consent import Purpose  # noqa: E402 - the path is set first
from orchestrator.pure.equivalence import equivalence_digest  # noqa: E402 - the path is set first
from pure.plans import plan_of, step  # noqa: E402 - the path is set first

ROUNDS: Final = 30
FLOOR: Final = ("/usr/bin/ssh-keygen", "-?")


def main() -> int:
    """Print the table; ratios are to the floor, which is measured in the same rounds."""
    with tempfile.TemporaryDirectory() as folder:
        ann = key(Path(folder), "ann")
        text = line("ann", ann)
        trust = Trust(read_signers(text.encode())[0], "d" * 64, None, "signers")
        good = signed(approval(), ann)
        bad = good.model_copy(update={"nonce": "1" * 32})
        purpose = Purpose("CHG-1.1", PLAN, "prod", "d" * 64, NOW)
        assert problem_with(good, trust, purpose) is None
        assert problem_with(bad, trust, purpose) is not None
        thousand = "".join(text.replace("ann", f"a{n}") for n in range(1000)).encode()
        subjects: dict[str, Callable[[], object]] = {
            "floor": lambda: subprocess.run(FLOOR, capture_output=True, check=False),
            "verify": lambda: problem_with(good, trust, purpose),
            "refuse": lambda: problem_with(bad, trust, purpose),
            "sign": lambda: signed(approval(), ann),
            "lint": lambda: read_signers(thousand),
        }
        times: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(ROUNDS):
            for name, subject in subjects.items():
                times[name].append(_timed(subject))
    floor = statistics.median(times["floor"])
    for name, seen in times.items():
        middle = statistics.median(seen)
        print(f"{name:10} {middle * 1000:9.1f} ms  {middle / floor:6.2f} x floor")
    _print_equal()
    return 0


def _print_equal() -> None:
    for count in (100, 1_000, 10_000, 100_000):
        names = [f"s{number}" for number in range(count)]
        steps = [step(n, after=(names[i // 2],) if i else ()) for i, n in enumerate(names)]
        plan = plan_of(*steps)
        ours, plain = _timed(partial(equivalence_digest, plan)), _timed(plan.digest)
        print(f"equal {count:7,} {ours:9.2f} s   {ours / plain:6.2f} x the plan's digest")


def _timed(subject: Callable[[], object]) -> float:
    begun = time.perf_counter()
    subject()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
