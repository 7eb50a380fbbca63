"""SIGKILL, for real: of drivers before and after every record, of acts and of both at any moment.

Each run is then driven on by fresh processes and must come to the end that it would have had. The
judge is the rehearsal's world, held against the ledger (`rig.judge`); no driver is asked anything.
Few kills a run: a step that is interrupted again and again is, by design, left to a person.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from edges import rig
from edges.rig import Mishap, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLS: Final = int(os.environ.get("INTERLOCK_KILLS", "150"))
AT_ONCE: Final = int(os.environ.get("INTERLOCK_RIGS", "4"))

DRAFT = """\
decision: plan
max_parallel: 3
waves:
  - {id: roll, targets: ["@rolled"], size: 2}
steps:
  - {id: a, actor: lab.change, params: {targets: [h01]}}
  - {id: b, actor: lab.look, params: {targets: [h01]}, after: [a]}
  - {id: c, actor: lab.change, params: {targets: [h02], count: {output: b.size}}, after: [b]}
  - {id: d, actor: lab.change, params: {targets: [h03]}, after: [a]}
  - {id: f, actor: lab.change, params: {targets: [h05]}, after: [c, d]}
  - {id: g, actor: lab.change, wave: roll, after: [f]}
"""
"""A chain, two at once, a value that flows, and a wave of two slices."""

RULES = {
    "succeeded": ("{step: d, attempt: 1, do: fail, mode: busy}",),
    "rolled_back": ("{step: g@2, do: fail, mode: broken}",),
}
"""One run with a retry, and one that fails at its last step and goes all the way back."""


@dataclass(frozen=True, slots=True)
class Story:
    """A run that waits for its start, and how it ends when nobody disturbs it."""

    end: str
    template: Path
    run: str
    appends: int
    net: frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> list[Story]:
    return [_undisturbed(tmp_path_factory.mktemp(end), end) for end in RULES]


def _undisturbed(folder: Path, end: str) -> Story:
    template = rig.build(folder / "template", rules=RULES[end])
    run = rig.opened(template, DRAFT)
    root = rig.copied(template, folder / "undisturbed")
    driver = Process(root, run)
    driver.ends(end)
    rig.judge(root, run)
    net = frozenset(rig.net(rig.effects(root)))
    assert bool(net) == (end == "succeeded")
    return Story(end, template, run, int(driver.said.splitlines()[0]), net)


def _told(story: Story, root: Path, kills: Callable[[Path], int]) -> int:
    """Disturb a run, drive it to its end, judge it, and count the kills."""
    rig.copied(story.template, root)
    hits = kills(root)
    Process(root, story.run).ends(story.end)
    rig.judge(root, story.run)
    assert rig.net(rig.effects(root)) == story.net
    assert rig.act_processes(root) == []
    return hits


def _after(story: Story, append: int) -> Callable[[Path], int]:
    """Kill a driver after one append; acts at the same time may share one, so that few are less."""

    def kills(root: Path) -> int:
        driver = Process(root, story.run, Mishap(kill_after=append))
        code = driver.wait()
        assert code in (0, -signal.SIGKILL), driver.said
        return int(code < 0)

    return kills


def _before_each(story: Story) -> Callable[[Path], int]:
    """Kill driver after driver, each one before the append that follows its first progress."""

    def kills(root: Path) -> int:
        for hits in range(10 * story.appends):
            at = min(hits + 1, 3)
            driver = Process(root, story.run, Mishap(kill_before=at))
            code = driver.wait()
            if code == 0:
                return hits
            assert code == -signal.SIGKILL, driver.said
        raise AssertionError("the run makes no progress")

    return kills


def _at_random(story: Story, seed: int, victims: tuple[str, ...]) -> Callable[[Path], int]:
    """Kill these victims, each at a moment that the seed chooses."""
    chance = random.Random(seed)

    def kills(root: Path) -> int:
        return sum(_one(root, story, chance, victim) for victim in victims)

    return kills


def _one(root: Path, story: Story, chance: random.Random, victim: str) -> int:
    driver = Process(root, story.run)
    time.sleep(chance.uniform(0.3, 2.5))
    try:
        if victim == "driver":
            driver.send(signal.SIGKILL)
            return int(driver.wait() == -signal.SIGKILL)
        hit = 0
        while not hit and driver.process.poll() is None:
            acts = rig.act_processes(root)
            time.sleep(chance.uniform(0.0, 0.1))
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(acts), signal.SIGKILL)
                hit = 1
        if victim == "act":
            driver.ends(story.end)
            return hit
        driver.send(signal.SIGKILL)
        return hit + int(driver.wait() == -signal.SIGKILL)
    finally:
        driver.bury()


def _cases(stories: list[Story]) -> Iterator[tuple[Story, Callable[[Path], int]]]:
    """Every append first; then, as long as kills are wanted, any moment."""
    for story in stories:
        yield story, _before_each(story)
    for story in stories:
        for append in range(1, story.appends + 1):
            yield story, _after(story, append)
    victims = (("driver",) * 4, ("act",) * 2, ("both",) * 2)
    for seed in itertools.count():
        story = stories[seed % len(stories)]
        yield story, _at_random(story, seed, victims[seed % len(victims)])


@pytest.mark.usefixtures("untraced")
def test_no_kill_makes_an_effect_happen_twice_or_loses_a_record(
    stories: list[Story], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    every = len(stories) + sum(story.appends for story in stories)
    cases, begun, killed = enumerate(_cases(stories)), 0, 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told: set[Future[int]] = set()
        while told or begun < every or killed < KILLS:
            while len(told) < AT_ONCE and (begun < every or killed < KILLS):
                number, (story, kills) = next(cases)
                told.add(pool.submit(_told, story, tmp_path / str(number), kills))
                begun += 1
            done, told = wait(told, return_when=FIRST_COMPLETED)
            killed += sum(one.result() for one in done)
    record_property(
        "figure",
        f"real kills: {killed} of drivers and acts in {begun} runs, also before and after every "
        "append; 0 effects twice, 0 records lost",
    )
