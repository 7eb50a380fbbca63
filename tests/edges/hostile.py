"""A kind that misbehaves as its actor's file `how` says, installed in a folder of its own.

Its effects go to the rehearsal's world, so that the same judge can be asked. `installed` writes the
folder; whoever has it on the module path finds the kind by its entry point, as any third party's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors.effects import Effect, World
from actors.spec import Change, Done, Failed, Found, Predicted, Unexpected
from edges.teller import tell, tellings

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.spec import ActorSpec, Brief, Outcome

__all__ = ["Hostile", "installed"]

SPEAKS: Final = """
[interlock.kinds]
hostile = edges.hostile:Hostile
"""


def installed(folder: Path) -> Path:
    """Make the kind known to whoever has this folder on the module path."""
    about = folder / "hostile-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(SPEAKS)
    return folder


class Hostile:
    """Does what it should, and what it should not."""

    name = "hostile"
    inline = False

    def needs(self, spec: ActorSpec) -> tuple[str, ...]:  # noqa: ARG002 - as the protocol has it
        """Need the word that says how to misbehave."""
        return ("how",)

    def perform(self, brief: Brief, settings: Any) -> Any:
        """Verify honestly; apply as told."""
        world = World(Path(settings["world"]))
        if brief.verb == "verify":
            return Found(state=world.state_of(brief))
        how = (Path(brief.folder) / "how").read_text().strip()
        return HOW[how](brief, world)


def _raises(_brief: Brief, _world: World) -> Outcome:
    raise RuntimeError("nobody expects this")


def _acts_and_raises(brief: Brief, world: World) -> Outcome:
    world.append(Effect.of(brief))
    raise KeyError(brief.key)


def _acts_and_exits(brief: Brief, world: World) -> Outcome:
    world.append(Effect.of(brief))
    sys.exit(0)


def _chatters(brief: Brief, world: World) -> Outcome:
    os.write(1, bytes(range(256)) * 20_000)
    os.write(2, b'{"kind": "failed", "mode": "broken"}\n' * 1_000)
    world.append(Effect.of(brief))
    return Done()


def _answers_nothing(brief: Brief, world: World) -> Any:
    world.append(Effect.of(brief))
    return None


def _answers_found(_brief: Brief, _world: World) -> Outcome:
    return Found(state="applied")


def _answers_without_measure(brief: Brief, world: World) -> Outcome:
    world.append(Effect.of(brief))
    return Done(outputs={"size": "x" * 5_000_000})


def _tears_its_outcome(brief: Brief, world: World) -> Any:
    world.append(Effect.of(brief))
    (Path(brief.workdir) / "outcome.json").write_text('{"kind": "failed", "mode": "bro')
    os.kill(os.getpid(), signal.SIGKILL)


def _forks(brief: Brief, world: World) -> Outcome:
    """Leave a copy of itself that holds everything it had open."""
    if os.fork() == 0:
        _note(brief)
        time.sleep(600)
        os._exit(0)
    world.append(Effect.of(brief))
    return Done()


def _starts_another(brief: Brief, world: World) -> Outcome:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    world.append(Effect.of(brief))
    return Done()


def _ignores_all_signals_once(brief: Brief, world: World) -> Outcome:
    if brief.attempt == 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _note(brief)
        time.sleep(600)
    world.append(Effect.of(brief))
    return Done()


def _is_stubborn(brief: Brief, world: World) -> Outcome:
    """Ask to be left alone, and finish."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _note(brief)
    while not (Path(brief.workdir).parent / "go").exists():
        time.sleep(0.02)
    world.append(Effect.of(brief))
    return Done()


def _closes_everything(brief: Brief, world: World) -> Outcome:
    """Do as a daemon does, and take its time."""
    os.closerange(3, 64)
    time.sleep(1.0)
    world.append(Effect.of(brief))
    return Done()


def _looks_around(brief: Brief, world: World) -> Outcome:
    found = [f"{name}={value}" for name, value in os.environ.items()]
    found.append(f"cwd {Path.cwd()}")
    found += [f"fd {link.name} {link.readlink()}" for link in _descriptors()]
    (Path(brief.workdir) / "seen").write_text("\n".join(found))
    world.append(Effect.of(brief))
    return Done()


def _value(brief: Brief) -> str:
    value = brief.secrets["password"].get_secret_value()
    tell(value, Path(brief.workdir))
    return value


def _tells(brief: Brief, world: World) -> Outcome:
    value = _value(brief)
    words = "\n".join(tellings(value))
    if brief.verb == "check":
        change = Change(target=brief.targets[0].name, summary=f"set {value}", diff=f"+{words}\n")
        return Predicted(grade="predicted", changes=(change,), message=words)
    world.append(Effect.of(brief))
    return Done()


def _tells_and_fails(brief: Brief, _world: World) -> Outcome:
    return Failed(mode="broken", message="\n".join(tellings(_value(brief))))


def _tells_unexpectedly(brief: Brief, _world: World) -> Outcome:
    return Unexpected(message="\n".join(tellings(_value(brief))))


def _tells_and_raises(brief: Brief, world: World) -> Outcome:
    value = _value(brief)
    world.append(Effect.of(brief))
    raise RuntimeError(value, value.encode().hex())


def _tells_as_it_exits(brief: Brief, world: World) -> Outcome:
    world.append(Effect.of(brief))
    sys.exit(_value(brief))


def _tells_in_its_output(brief: Brief, world: World) -> Outcome:
    world.append(Effect.of(brief))
    return Done(outputs={"note": _value(brief)})


def _tells_and_dies(brief: Brief, world: World) -> Outcome:
    world.append(Effect.of(brief))
    value = _value(brief)
    os.write(1, value.encode())
    os.kill(os.getpid(), signal.SIGKILL)
    return Done()


def _tells_and_hangs_once(brief: Brief, world: World) -> Outcome:
    _value(brief)
    if brief.attempt > 1:
        world.append(Effect.of(brief))
        return Done()
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _note(brief)
    time.sleep(600)
    return Done()


def _descriptors() -> list[Path]:
    return [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def _note(brief: Brief) -> None:
    (Path(brief.workdir) / "noted").write_text(str(os.getpid()))


HOW: Final[dict[str, Callable[[Brief, World], Any]]] = {
    "raises": _raises,
    "acts and raises": _acts_and_raises,
    "acts and exits": _acts_and_exits,
    "chatters": _chatters,
    "answers nothing": _answers_nothing,
    "answers found": _answers_found,
    "answers without measure": _answers_without_measure,
    "tears its outcome": _tears_its_outcome,
    "forks": _forks,
    "starts another": _starts_another,
    "ignores all signals once": _ignores_all_signals_once,
    "closes everything": _closes_everything,
    "looks around": _looks_around,
    "is stubborn": _is_stubborn,
    "tells": _tells,
    "tells and fails": _tells_and_fails,
    "tells unexpectedly": _tells_unexpectedly,
    "tells and raises": _tells_and_raises,
    "tells as it exits": _tells_as_it_exits,
    "tells in its output": _tells_in_its_output,
    "tells and dies": _tells_and_dies,
    "tells and hangs once": _tells_and_hangs_once,
}
