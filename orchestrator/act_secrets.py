"""Finds the values of an act's secrets, inside the act's own process and for this act alone.

1. What a step may pick is the closed list in `interlock.yaml`; an unknown name is refused here too.
2. A file must be ours, plain, no link, and closed to everybody else; a command gets no shell, no
   input, an environment from a list, a total time and a measure of output.
3. Of what goes wrong, only the secret's name and its source are said: never a value, and never what
   a command wrote.
4. Nothing has been touched when a secret cannot be had: that is a declared, clean failure.
"""

from __future__ import annotations

import json
import os
import selectors
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from actors.redaction import SHORTEST
from actors.spec import SECRET_UNAVAILABLE, Failed, SecretRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.pure.model import PlanStep
    from orchestrator.settings import SecretSource

__all__ = ["SecretError", "handed_over", "names_in", "resolved", "unavailable", "variables_in"]

MAX_BYTES: Final = 65_536
MAX_HANDED_BYTES: Final = 4_000_000
FOR_COMMANDS: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")


class SecretError(Exception):
    """A secret cannot be had; the message holds nothing of it."""


def names_in(step: PlanStep) -> dict[str, str]:
    """Say which param of a step is which secret."""
    return {p.name: p.value.secret for p in step.params if isinstance(p.value, SecretRef)}


def variables_in(names: Iterable[str], sources: Mapping[str, SecretSource]) -> tuple[str, ...]:
    """Name the variables that the act's process needs for these secrets, and no others."""
    wanted: set[str] = set()
    for source in (sources[name] for name in names if name in sources):
        wanted.update(source.passes if source.env is None else (source.env,))
    return tuple(sorted(wanted))


def handed_over(descriptor: int) -> dict[str, str]:
    """Read the variables that the driver hands over, where no other process can see them."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        raw = file.read(MAX_HANDED_BYTES + 1)
    try:
        value = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}


def resolved(
    names: Iterable[str],
    sources: Mapping[str, SecretSource],
    environment: str,
    environ: Mapping[str, str],
) -> dict[str, SecretStr]:
    """Find the value of each of these secrets."""
    return {
        name: SecretStr(_checked(name, _source(name, sources, environment), environ))
        for name in sorted({*names})
    }


def unavailable(error: SecretError) -> Failed:
    """Report that nothing was begun."""
    return Failed(mode=SECRET_UNAVAILABLE.name, message=f"{error}; nothing was begun")


def _source(name: str, sources: Mapping[str, SecretSource], environment: str) -> SecretSource:
    source = sources.get(name)
    if source is None:
        raise SecretError(f"interlock.yaml no longer names the secret {name}")
    if source.environments and environment not in source.environments:
        raise SecretError(f"the secret {name} may not be used in {environment}")
    return source


def _checked(name: str, source: SecretSource, environ: Mapping[str, str]) -> str:
    def refuse(why: str) -> SecretError:
        return SecretError(f"the secret {name} cannot be had from {source}: {why}")

    try:
        raw = _raw(source, environ)
    except SecretError as error:
        raise refuse(str(error)) from None
    except OSError as error:
        raise refuse(error.strerror or "it cannot be read") from None
    if len(raw) > MAX_BYTES:
        raise refuse(f"it has more than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse("it is not text in UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if len(text.strip()) < SHORTEST:
        raise refuse(f"it has fewer than {SHORTEST} characters, so no log could be kept free of it")
    if "\0" in text:
        raise refuse("it holds a NUL")
    return text


def _raw(source: SecretSource, environ: Mapping[str, str]) -> bytes:
    if source.file is not None:
        return _from_file(source.file)
    if source.command is not None:
        return _from_command(source.command, source.timeout_s, _allowed(source, environ))
    value = environ.get(source.env or "")
    if value is None:
        raise SecretError("it is not set where Interlock runs")
    return value.encode("utf-8", "surrogateescape")


def _from_file(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise SecretError("it is not a plain file")
        if status.st_uid != os.geteuid():
            raise SecretError(f"it belongs to another user (uid {status.st_uid})")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretError("others than its owner may open it; chmod 600 it")
        return file.read(MAX_BYTES + 1)


def _allowed(source: SecretSource, environ: Mapping[str, str]) -> dict[str, str]:
    given = {name: os.environ[name] for name in FOR_COMMANDS if name in os.environ}
    return given | {name: environ[name] for name in source.passes if name in environ}


def _from_command(argv: tuple[str, ...], timeout_s: int, environ: dict[str, str]) -> bytes:
    deadline_s = time.monotonic() + timeout_s
    # It stays in the act's process group, so that nothing of it outlives the act.
    process = subprocess.Popen(  # noqa: S603 - the operator's own list, and no shell
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environ,
        cwd="/",
    )
    with process:
        try:
            raw = _read_all(process, deadline_s)
            code = process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise SecretError(f"it did not end within {timeout_s} s") from None
        finally:
            process.kill()
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise SecretError(f"it {how}; run it yourself to see why")
    return raw


def _read_all(process: subprocess.Popen[bytes], deadline_s: float) -> bytes:
    """Read until the end, the measure, or the deadline."""
    raw = b""
    with selectors.DefaultSelector() as selector:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(raw) <= MAX_BYTES:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not selector.select(left_s):
                raise subprocess.TimeoutExpired(process.args, 0)
            piece = os.read(process.stdout.fileno(), MAX_BYTES)
            if not piece:
                return raw
            raw += piece
    raise SecretError(f"it printed more than {MAX_BYTES} bytes")
