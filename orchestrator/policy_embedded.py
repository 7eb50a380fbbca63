"""The embedded engine: Rego without a server or a binary, in a process that may die.

1. The child is killed when its time is over or its memory too large; the next question gets a new
   one. Died, hung and grown too large are errors: nothing is decided.
2. It is asked only what every engine understands (`pure/rego.py`), by rules that were seen to fire
   (`policy_proof`).
3. Its memory is watched from outside: the engine reserves address space without end, so that a
   limit on that would kill it at once.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.pure.rego import troubles, undefined_paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.policy_bundle import Bundle

__all__ = ["Embedded", "refuse_unportable"]

MEASURED: Final = "1.5.2"
MAX_RSS_BYTES: Final = 800_000_000
MAX_CLASSES: Final = 5_000
MAX_ANSWER_BYTES: Final = 16_000_000
POLL_S: Final = 0.05
CHUNK: Final = 1 << 16
INSTEAD: Final = "mend the rule, or let Open Policy Agent judge: policy: engine: opa"


@dataclass(slots=True)
class Embedded:
    """A child process that judges, started when it is first asked."""

    bundle: Bundle
    timeout_s: float
    max_rss_bytes: int = MAX_RSS_BYTES
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _loaded: Bundle | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Say which engine decides."""
        return self.version_name()

    @staticmethod
    def version_name() -> str:
        """Say which engine this would be."""
        return f"embedded regopy {version('regopy')}"

    def answer(self, document: Mapping[str, Any]) -> Any:
        """Return what the entry point says of an input."""
        classes = len(document["plan"]["classes"])
        if classes > MAX_CLASSES:
            raise Unavailable(
                f"the plan has {classes} different steps; the embedded engine judges {MAX_CLASSES}",
                next_step="split the ticket, or let Open Policy Agent judge: policy: engine: opa",
            )
        until_s = time.monotonic() + self.timeout_s
        if self._child is None:
            self._start()
        if self._loaded is not self.bundle:
            self._load(until_s)
        text = json.dumps(document, separators=(",", ":"))
        told = self._told({"input": text}, until_s)
        if "answer" not in told:
            raise Unavailable(
                f"the embedded engine could not judge: {told.get('error', told)}",
                next_step=INSTEAD,
            )
        return told["answer"]

    @property
    def child_pid(self) -> int | None:
        """Name the child's process, while there is one."""
        return self._child.pid if self._child else None

    def close(self) -> None:
        """End the child."""
        child, self._child, self._loaded = self._child, None, None
        if child is not None:
            child.kill()
            child.communicate()

    def _start(self) -> None:
        if version("regopy") != MEASURED:
            raise Unavailable(
                f"regopy {version('regopy')} is installed; only {MEASURED} was measured",
                next_step=f"install regopy=={MEASURED}, or set policy: engine: opa",
            )
        self._child = subprocess.Popen(  # noqa: S603 - our own module, fixed arguments
            [sys.executable, "-P", "-m", "orchestrator.policy_child", str(os.getpid()), "rego"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_python_environ(),
            bufsize=0,
        )
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)

    def _load(self, until_s: float) -> None:
        modules, rules = self.bundle.modules, self.bundle.rules
        told = self._told(
            {"modules": modules, "rules": rules, "data": self.bundle.data_json()}, until_s
        )
        if not told.get("loaded"):
            self.close()
            raise InvalidInput(
                f"policies: {str(told.get('error')).removeprefix('ValueError: ')}",
                next_step="mend the rule; `interlock policy test` tries all of them",
            )
        self._loaded = self.bundle

    def _told(self, question: dict[str, Any], until_s: float) -> dict[str, Any]:
        try:
            told = json.loads(self._exchanged(json.dumps(question).encode() + b"\n", until_s))
        except ValueError:
            self.close()
            raise Unavailable(
                "the embedded engine wrote what is no answer", next_step=INSTEAD
            ) from None
        return told if isinstance(told, dict) else {"error": "it wrote what is no answer"}

    def _exchanged(self, question: bytes, until_s: float) -> bytes:
        """Write a line and read one, watching time and memory."""
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise Unavailable("the embedded engine is not running", next_step="try again")
        left, reply = memoryview(question), bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdin, selectors.EVENT_WRITE)
            selector.register(child.stdout, selectors.EVENT_READ)
            while not reply.endswith(b"\n"):
                for key, events in selector.select(POLL_S):
                    if events & selectors.EVENT_WRITE:
                        left = self._written(child, key.fd, left)
                        if not left:
                            selector.unregister(child.stdin)
                    else:
                        reply += self._read(child, key.fd)
                self._watch(child, until_s, len(reply))
        return bytes(reply)

    def _written(self, child: subprocess.Popen[bytes], handle: int, left: memoryview) -> memoryview:
        try:
            return left[os.write(handle, left[:CHUNK]) :]
        except BlockingIOError:
            return left
        except BrokenPipeError:
            raise self._died(child) from None

    def _read(self, child: subprocess.Popen[bytes], handle: int) -> bytes:
        part = os.read(handle, CHUNK)
        if not part:
            raise self._died(child)
        return part

    def _watch(self, child: subprocess.Popen[bytes], until_s: float, size: int) -> None:
        rss = _rss_bytes(child.pid)
        if time.monotonic() > until_s:
            self.close()
            raise Unavailable(
                f"the embedded engine did not answer within {self.timeout_s:g} s and was stopped",
                next_step=f"look for a rule that never ends; {INSTEAD}",
            )
        if rss > self.max_rss_bytes or size > MAX_ANSWER_BYTES:
            self.close()
            raise Unavailable(
                f"the embedded engine grew to {rss // 1_000_000} MB and was stopped",
                next_step=f"look for a rule that joins everything with everything; {INSTEAD}",
            )

    def _died(self, child: subprocess.Popen[bytes]) -> Unavailable:
        self.close()
        code = child.returncode
        how = f"of {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
        return Unavailable(
            f"the embedded engine died {how} while it judged; nothing was decided",
            next_step=INSTEAD,
        )


def refuse_unportable(bundle: Bundle, schema: dict[str, Any]) -> None:
    """Refuse rules on which engines could disagree, or that look at what the input has not."""
    found = [
        f"policies/{path}:{line}: {says}"
        for path, text in bundle.modules.items()
        for line, says in (*troubles(text), *undefined_paths(text, schema))
    ]
    if found:
        raise InvalidInput(
            found[0],
            next_step="write it in the part of Rego that all engines share, or let Open Policy "
            "Agent judge: policy: engine: opa",
            details=tuple(found),
        )


def _python_environ() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def _rss_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123 - read twenty times a second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
