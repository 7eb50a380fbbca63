"""The module that removes old files: only below its own directory, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE: Final = (
    Path(__file__).parent.parent.parent
    / "playbooks"
    / "linux.file_prune"
    / "library"
    / "prune_files.py"
)
OUTSIDE: Final = (
    "/var/../etc", "/home/../../etc/ssh", "/srv/..//root", "/var/lib/..", "/home//ann", "/var//",
    "/var", "/etc", "/etc/ssh", "/", "", "/root/x", "/home/ann/.ssh", "/var/./log", "/var/log/",
    "/data/a\n", "var/log",
)  # fmt: skip


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("prune_files", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PRUNE: Final = loaded()


@dataclass
class Asked:
    """What Ansible would hand to the module, and what it was told."""

    params: dict[str, Any]
    check_mode: bool = False
    told: dict[str, Any] = field(default_factory=dict)

    def exit_json(self, **told: Any) -> None:
        self.told = told


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("a/one.gz", "b/two.gz", "b/three.gz"):
        old(tmp_path / "top" / name)
    old(tmp_path / "outside" / "two.gz")
    old(tmp_path / "outside" / "three.gz")
    return tmp_path / "top"


def old(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"old")
    os.utime(path, (1, 1))


def pruned(top: Path, state: str = "absent") -> dict[str, Any]:
    asked = Asked({"directory": str(top), "name": "*.gz", "older_than_days": 1, "before_s": 0,
                   "at_most": 9, "state": state})  # fmt: skip
    handle = os.open(top, os.O_RDONLY)
    try:
        PRUNE._done(asked, handle)
    finally:
        os.close(handle)
    return asked.told


def before_each_removal(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    unlink = os.unlink

    def after_that(*args: Any, **kwargs: Any) -> None:
        do()
        unlink(*args, **kwargs)

    monkeypatch.setattr(os, "unlink", after_that)


@pytest.mark.parametrize("directory", OUTSIDE)
def test_the_module_itself_refuses_what_lies_outside_its_trees(directory: str) -> None:
    with pytest.raises(PRUNE.Refusal) as refused, PRUNE.held(directory):
        pass
    assert refused.value.args[0] == "not_plain"


def test_a_directory_below_a_link_is_refused() -> None:
    # /var/run is a link to /run, wherever systemd or Debian's base files are.
    if not Path("/var/run").is_symlink():
        pytest.skip("/var/run is no link here")
    with pytest.raises(PRUNE.Refusal) as refused, PRUNE.held("/var/run/nothing-there"):
        pass
    assert refused.value.args[0] == "not_plain"


def test_a_plain_directory_is_held_open() -> None:
    with PRUNE.held("/var/lib") as handle:
        assert os.path.samestat(os.fstat(handle), Path("/var/lib").stat())


def test_a_directory_that_becomes_a_link_meanwhile_is_not_followed(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        if not (top / "b").is_symlink():
            (top / "b").rename(top / "moved")
            (top / "b").symlink_to(top.parent / "outside")

    before_each_removal(monkeypatch, swap)
    pruned(top)
    assert sorted(path.name for path in (top.parent / "outside").iterdir()) == [
        "three.gz",
        "two.gz",
    ]


def test_one_whose_files_are_being_removed_stays_the_one_that_was_looked_at(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def swap_at_the_second() -> None:
        seen.append(1)
        if len(seen) == 2:
            (top / "b").rename(top / "moved")
            (top / "b").symlink_to(top.parent / "outside")

    before_each_removal(monkeypatch, swap_at_the_second)
    assert pruned(top)["files"] == 3
    assert len(seen) == 3
    assert sorted(path.name for path in (top.parent / "outside").iterdir()) == [
        "three.gz",
        "two.gz",
    ]
    assert list((top / "moved").iterdir()) == []


def test_files_that_vanish_meanwhile_are_no_trouble(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def vanish() -> None:
        for path in (top / "a" / "one.gz", top / "b" / "three.gz"):
            with contextlib.suppress(FileNotFoundError):
                unlink(path)

    before_each_removal(monkeypatch, vanish)
    assert pruned(top)["files"] == 3
    assert list(top.rglob("*.gz")) == []


def test_files_that_vanish_while_they_are_counted_are_no_trouble(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def vanishing(path: Any, **kwargs: Any) -> os.stat_result:
        if path == b"two.gz":
            raise FileNotFoundError(path)
        return stat(path, **kwargs)

    monkeypatch.setattr(os, "stat", vanishing)
    assert pruned(top, "told")["files"] == 2


def test_a_name_that_is_not_text_is_counted_removed_and_shown(top: Path) -> None:
    odd = os.fsdecode(os.fsencode(top) + b"/a/caf\xe9\n.gz")
    old(Path(odd))
    told = pruned(top)
    assert told["files"] == 4
    assert r"/a/caf\xe9\n.gz" in told["diff"]["before"]
    told["diff"]["before"].encode()
    assert list(top.rglob("*.gz")) == []


def test_a_file_that_was_written_to_again_stays(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before_each_removal(monkeypatch, (top / "b" / "two.gz").touch)
    pruned(top)
    assert [path.name for path in top.rglob("*.gz")] == ["two.gz"]
