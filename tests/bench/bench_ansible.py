"""What a step costs beside plain `ansible-playbook`, in the same minutes.

warm      the kind ansible, its plays forked by the warm server
terminal  the same without pipelining, where the targets are reached by ssh
cold      the kind ansible, each play started anew
plain     `ansible-playbook` as anybody starts it, with connections kept open from run to run
fresh     the same with connections of its own, as ours has: an act shares none with another

one       one task on one host           eight   eight of those steps at once, steps per second
ten       ten tasks on five hosts        ssh     one task on one real host; ssh-ten: ten on five

CPU is what the play and all below it used, taken from the kernel's own books; so is memory. Ours
includes judging; it includes neither the process of the act, which is the same for all kinds, nor
the verify after it, which plain has none of: for both see `bench_step.py`.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from actors.ansible.shim import below, below_one  # noqa: E402 - after the path is set
from actors.spec import Done, Target  # noqa: E402 - as above
from ansible_rig import Actor  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHON: Final = shutil.which("python3", path="/usr/bin") or sys.executable
TICK: Final = os.sysconf("SC_CLK_TCK")
PLAYBOOK: Final = Path(sys.executable).with_name("ansible-playbook")
ONE: Final = "- {name: Do it, ansible.builtin.command: {argv: ['true']}}"
TEN: Final = "\n".join(
    f"- {{name: Do {n}, ansible.builtin.command: {{argv: ['true']}}}}" for n in range(10)
)
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """What a measurement came to."""

    wall_s: float
    cpu_s: float


def main() -> int:
    """Interleave the rounds, then print medians and ratios."""
    parser = argparse.ArgumentParser(description="Measure a step beside plain ansible-playbook.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "shapes",
        nargs="*",
        default=["one", "ten", "eight"],
        metavar="shape",
        help="any of: one, ten, eight, ssh, ssh-ten (which need test hosts)",
    )
    arguments = parser.parse_args()
    costs: dict[str, dict[str, list[Cost]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        local = {"transport": "local", "python": PYTHON}
        here = tuple(Target(name=f"h{n}", connection={**local}) for n in range(1, 6))
        base = Path(folder)
        if "one" in arguments.shapes:
            _round("one", base / "one", ONE, here[:1], {}, arguments.rounds, costs)
            _print_memory(base / "memory", here[:1])
        if "ten" in arguments.shapes:
            _round("ten", base / "ten", TEN, here, {"forks": 5}, arguments.rounds, costs)
        if "eight" in arguments.shapes:
            _at_once(base / "eight", here[:1], arguments.rounds, costs)
        for shape in ("ssh", "ssh-ten"):
            if shape in arguments.shapes:
                _over_ssh(shape, base / shape, arguments.rounds, costs)
    _print(costs)
    return 0


# --- measuring ------------------------------------------------------------------------------------


def _round(
    shape: str,
    base: Path,
    tasks: str,
    targets: tuple[Target, ...],
    settings: dict[str, Any],
    rounds: int,
    costs: dict[str, dict[str, list[Cost]]],
    *,
    by_ssh: bool = False,
) -> None:
    actor = _actor(base, tasks, targets, settings)
    ways: dict[str, Callable[[], None]] = {
        "warm": lambda: _ours(actor, warm="auto", pipelining=True),
        "cold": lambda: _ours(actor, warm="off", pipelining=True),
        "plain": lambda: _plain(actor),
    }
    if by_ssh:
        ways["terminal"] = lambda: _ours(actor, warm="auto", pipelining=False)
        ways["fresh"] = lambda: _plain(actor, fresh=True)
    for way in (*ways.values(), *ways.values(), *ways.values()):
        way()  # the first of each are not counted: caches, the server, open connections
    while any(below_one(server) for server in _servers()):
        time.sleep(0.1)  # it builds what it will lend
    for _ in range(rounds):
        for name, way in ways.items():
            costs[shape][name].append(_measured(way))


def _at_once(
    base: Path,
    targets: tuple[Target, ...],
    rounds: int,
    costs: dict[str, dict[str, list[Cost]]],
) -> None:
    actors = [
        _actor(base / str(n), ONE, targets, {"warm_path": str(base / "warm")})
        for n in range(AT_ONCE)
    ]
    _ours(actors[0], warm="auto")
    for _ in range(rounds):
        for name, do in (("warm", lambda a: _ours(a, warm="auto")), ("plain", _plain)):
            costs["eight"][name].append(_measured(lambda do=do: _all(do, actors)))  # type: ignore[misc]  # a lambda of its own round


def _all(do: Callable[[Actor], None], actors: list[Actor]) -> None:
    threads = [threading.Thread(target=do, args=(actor,)) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _actor(base: Path, tasks: str, targets: tuple[Target, ...], settings: dict[str, Any]) -> Actor:
    base.mkdir(parents=True, exist_ok=True)
    actor = Actor(base, targets=targets)
    actor.settings = dict(settings)
    return actor.write(tasks, head="gather_facts: false")


def _ours(actor: Actor, **settings: Any) -> None:
    actor.settings |= settings
    outcome = actor.ask("apply")
    if not isinstance(outcome, Done):
        raise SystemExit(f"the bench's own step failed: {outcome}")


def _plain(actor: Actor, *, fresh: bool = False) -> None:
    """Play the same with the inventory of our last play, which lies in its directory."""
    inventory = next((actor.root / "state").glob("acts/*/*/ansible-apply/inventory.json"))
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as own:
        _plain_of(actor, inventory, own if fresh else f"/tmp/bench-{os.getpid()}")


def _plain_of(actor: Actor, inventory: Path, sockets: str) -> None:
    text = inventory.read_text().replace('"ansible_pipelining": true', '"x": true')
    beside = actor.root / "plain.json"
    beside.write_text(_with_sockets(text, sockets))
    plain_play("-i", beside, "-f", "5", actor.folder / "apply.yml")


def plain_play(*arguments: str | Path) -> None:
    """Play as anybody plays, with our environment's Ansible."""
    done = subprocess.run(
        [PLAYBOOK, *arguments],
        env={
            "PATH": f"{PLAYBOOK.parent}:/usr/bin:/bin",
            "HOME": os.environ["HOME"],
            "LC_ALL": "C.UTF-8",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"plain ansible-playbook failed: {done.stdout[-500:]!r}")


def _with_sockets(text: str, sockets: str) -> str:
    """Say where plain keeps the sockets of its connections."""
    import json  # noqa: PLC0415 - only here

    value = json.loads(text)
    for host in value["targets"]["hosts"].values():
        if host["ansible_connection"] == "local":
            continue
        host["ansible_connection"] = "ssh"
        del host["ansible_ssh_pipelining"], host["ansible_control_path"]
        common = host.get("ansible_ssh_common_args", "")
        host["ansible_ssh_common_args"] = common.partition(" -o 'PermitLocalCommand")[0]
        host["ansible_control_path_dir"] = sockets
    return json.dumps(value)


def _measured(way: Callable[[], None]) -> Cost:
    cpu, began = _cpu_s(), time.monotonic()
    way()
    wall = time.monotonic() - began
    while any(below_one(server) for server in _servers()):
        time.sleep(0.01)  # what a keeper used is booked when it is buried
    return Cost(wall, _cpu_s() - cpu)


def _cpu_s() -> float:
    own = sum(
        getattr(resource.getrusage(who), field)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        for field in ("ru_utime", "ru_stime")
    )
    return float(own) + sum(map(_cpu_of, _servers()))


def _servers() -> list[int]:
    """Find our warm servers; what test hosts use is not ours, nor plain's."""
    return [
        pid
        for pid in below_one(os.getpid())
        if b"actors.ansible.warm" in Path("/proc", str(pid), "cmdline").read_bytes()
    ]


def _cpu_of(pid: int) -> float:
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / TICK


def _over_ssh(shape: str, base: Path, rounds: int, costs: dict[str, dict[str, list[Cost]]]) -> None:
    from hosts import Lab  # noqa: PLC0415 - only when asked for

    base.mkdir(parents=True)
    hosts, tasks = (1, ONE) if shape == "ssh" else (5, TEN)
    with Lab(hosts, base) as lab:
        targets = tuple(
            Target(
                name=lab[n].name, connection={**lab[n].connection, "host_key_alias": lab[n].name}
            )
            for n in range(1, hosts + 1)
        )
        known = {"known_hosts_path": str(lab.known_hosts), "forks": 5}
        _round(shape, base / "actor", tasks, targets, known, rounds, costs, by_ssh=True)


def _print_memory(base: Path, targets: tuple[Target, ...]) -> None:
    """Take the largest anonymous memory of the server, and of what one act adds to it."""
    actor = _actor(
        base, "- {ansible.builtin.command: {argv: [sleep, '2']}}", targets, {"warm": "auto"}
    )
    _ours(actor)
    server = _anonymous(below(os.getpid()))
    thread = threading.Thread(target=_ours, args=(actor,))
    thread.start()
    peak = 0
    while thread.is_alive():
        peak = max(peak, _anonymous(below(os.getpid())))
        time.sleep(0.02)
    print(f"memory: the server {server:.0f} MB, an act on one host {peak - server:.0f} MB more")


def _anonymous(pids: list[int]) -> int:
    """Add up what is theirs alone: pages that a fork shares are counted once, where they are."""
    total = 0
    for pid in pids:
        try:
            lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
    return total // 1024


# --- showing --------------------------------------------------------------------------------------


def _print(costs: dict[str, dict[str, list[Cost]]]) -> None:
    print(f"\n{'':<10}{'':<8}{'wall s':>9}{'of plain':>10}{'CPU s':>9}{'of plain':>10}")
    for shape, ways in costs.items():
        if not ways:
            continue
        plain = ways["plain"]
        wall, cpu = _middle(plain, "wall_s"), _middle(plain, "cpu_s")
        for name, measured in ways.items():
            our_wall, our_cpu = _middle(measured, "wall_s"), _middle(measured, "cpu_s")
            line = f"{shape:<10}{name:<8}{our_wall:>9.2f}{our_wall / wall:>10.2f}"
            print(f"{line}{our_cpu:>9.2f}{our_cpu / cpu:>10.2f}")
    eight = costs["eight"]
    if not eight:
        return
    rate = {name: AT_ONCE / _middle(measured, "wall_s") for name, measured in eight.items()}
    print(f"\neight at once: {rate['warm']:.2f} steps/s, plain {rate['plain']:.2f}:", end=" ")
    print(f"{rate['warm'] / rate['plain']:.2f} times")


def _middle(measured: list[Cost], field: str) -> float:
    return float(statistics.median(getattr(cost, field) for cost in measured))


if __name__ == "__main__":
    sys.exit(main())
