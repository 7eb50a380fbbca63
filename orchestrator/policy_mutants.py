"""Breaks the gate on purpose, in every way that we know, and sees that each time nothing passes.

1. The unbroken gate must first let the base pass: where everything is denied, nothing is shown.
2. A broken gate may refuse, deny or fail; that it allows is the only wrong answer.
3. Files are broken as an author, a merge or an attacker would; answers as a proxy, another version
   or a stranger's server would; processes as a machine does.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec

from orchestrator.errors import InterlockError, InvalidInput
from orchestrator.policy_bundle import Bundle, bundle_of, read_bundle
from orchestrator.policy_embedded import Embedded, refuse_unportable
from orchestrator.policy_engines import input_schema, judge
from orchestrator.policy_files import read_base, read_cases, read_weights
from orchestrator.policy_opa import OpaServer, Place
from orchestrator.policy_proof import refuse_unproved
from orchestrator.pure.cases import case_data, document_of
from orchestrator.pure.levels import weigh
from orchestrator.pure.model import Obligations
from orchestrator.pure.policy_answer import Floor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.policy_engines import Engine
    from orchestrator.pure.levels import Weights
    from orchestrator.pure.policy_answer import Answer
    from orchestrator.pure.policy_input import PolicyInput

__all__ = ["Mutant", "mutated"]

P = ParamSpec("P")

TIMEOUT_S: Final = 30.0
HASTE_S: Final = 0.5
LONG_S: Final = 20.0
FLOOR: Final = Floor((), (), Obligations())
HEADS: Final = ("deny", "require_approval", "constrain")
ENTRY: Final = "decision.rego"
KEYS: Final = ("schema", "input_digest", "rules", "findings", "approvals", "constraints")
ENDLESS: Final = """

deny contains {"id": "x", "subject": "plan", "msg": "never"} if {
	some i in numbers.range(1, 4000)
	some j in numbers.range(1, 4000)
	i * j == 0 - 1
}
"""
PAGE: Final = b"<html><body>Sign in to go on</body></html>"


class Mutant(NamedTuple):
    """One way to break the gate, and what became of it."""

    name: str
    denied: bool
    how: str


class _Gate(NamedTuple):
    """A whole gate that lets its base pass."""

    folder: Path
    environments: tuple[str, ...]
    bundle: Bundle
    weights: Weights
    document: PolicyInput


def mutated(folder: Path, environments: tuple[str, ...]) -> Iterator[Mutant]:
    """Break the gate in each way, one after another."""
    bundle = read_bundle(folder)
    weights = read_weights(folder, bundle.modules, environments)
    bundle = bundle_of(bundle.modules, case_data(read_cases(folder, bundle.rules)))
    gate = _Gate(folder, environments, bundle, weights, document_of(read_base(folder), {}))
    with contextlib.closing(Embedded(bundle, TIMEOUT_S)) as engine:
        whole = judge(engine, bundle, gate.document)
    _refuse_broken("policies", _asked(gate, _Says(json.loads(_json(whole))), bundle))
    yield from _broken_rules(gate)
    yield from _broken_entry(gate)
    yield from _emptied_data(gate)
    said = json.loads(_json(whole))
    yield from _strange_answers(gate, said)
    yield from _strange_servers(gate, said)
    yield from _failing_processes(gate)


def _json(answer: Answer) -> str:
    return answer.model_dump_json(by_alias=True)


def _refuse_broken(what: str, said: str | None) -> None:
    if said is not None:
        raise InvalidInput(
            f"{what}: the unbroken gate denies its own base: {said}",
            next_step="make the cases pass first: interlock policy test",
        )


# --- files ----------------------------------------------------------------------------------------


def _broken_rules(gate: _Gate) -> Iterator[Mutant]:
    for rule in gate.bundle.rules:
        path = f"rules/{rule}.rego"
        text = gate.bundle.modules[path]
        _refuse_broken(f"{path}, alone", _files(gate, rule, {}))
        broken = {
            "its package is renamed": text.replace(f"rules.{rule}\n", f"rules.{rule}_old\n"),
            "its ids are misspelt": text.replace(f'"id": "{rule}', f'"id": "{rule}x'),
            "a field of the input is misspelt": text.replace("input.", "input.the_", 1),
            "it loses its last line": text.rstrip().rpartition("\n")[0],
            "it loses its metadata": text.partition("package ")[1] + text.partition("package ")[2],
        }
        for head in HEADS:
            if f"{head} contains" in text:
                broken[f"{head} is misspelt"] = text.replace(
                    f"{head} contains", f"{head}_ contains"
                )
        for how, mutant in broken.items():
            yield _tried(f"rule {rule}: {how}", _files, gate, rule, {path: mutant})
        yield _tried(f"rule {rule}: it is not loaded", _unloaded, gate, path)
        cases = f"rules/{rule}_cases.yaml"
        yield _tried(f"rule {rule}: its cases are gone", _files, gate, rule, {cases: None})


def _broken_entry(gate: _Gate) -> Iterator[Mutant]:
    text = gate.bundle.modules[ENTRY]
    rule = gate.bundle.rules[0]
    broken = {f"{key} is misspelt": text.replace(f'"{key}"', f'"{key}_"') for key in KEYS}
    broken["its package is renamed"] = text.replace("interlock.main", "interlock.mine")
    broken["decision is renamed"] = text.replace("decision :=", "verdict :=")
    broken["it reads another package"] = text.replace("interlock.rules", "interlock.rule")
    broken["it answers to any input"] = text.replace("input.digest", f'"{"0" * 64}"')
    for how, mutant in broken.items():
        yield _tried(f"{ENTRY}: {how}", _files, gate, rule, {ENTRY: mutant})
    yield _tried(f"{ENTRY}: it is gone", _files, gate, rule, {ENTRY: None})
    for head in HEADS:
        mutant = text.replace(f".{head}[", f".{head}s[")
        for speaks in gate.bundle.rules:
            if f"{head} contains" in gate.bundle.modules[f"rules/{speaks}.rego"]:
                how = f"{ENTRY}: it forgets {head}, of {speaks}"
                yield _tried(how, _files, gate, speaks, {ENTRY: mutant})
                break


def _emptied_data(gate: _Gate) -> Iterator[Mutant]:
    params = gate.bundle.data["params"]
    for rule in params:
        for how, value in (("emptied", {}), ("a text", "all"), ("a list", []), ("null", None)):
            data = {"params": {**params, rule: value}}
            bundle = bundle_of(gate.bundle.modules, data)
            yield _tried(f"data.yaml: {rule} is {how}", _judged, gate, bundle)
    yield _tried(
        "data.yaml: all of it is gone",
        _judged,
        gate,
        bundle_of(gate.bundle.modules, {"params": {}}),
    )


def _files(gate: _Gate, rule: str, changed: Mapping[str, str | None]) -> str | None:
    """Go the whole way with a folder that holds one rule, some of its files changed."""
    with tempfile.TemporaryDirectory(prefix="interlock-mutant-") as scratch:
        folder = Path(scratch) / "policies"
        (folder / "rules").mkdir(parents=True)
        for name in ("base.yaml", ENTRY, f"rules/{rule}.rego", f"rules/{rule}_cases.yaml"):
            if name not in changed:
                shutil.copyfile(gate.folder / name, folder / name)
        for name, text in changed.items():
            if text is not None:
                (folder / name).write_text(text, encoding="utf-8")
        bundle = read_bundle(folder)
        refuse_unportable(bundle, input_schema())
        weights = read_weights(folder, bundle.modules, gate.environments)
        refuse_unproved(folder, bundle, weights.cards, Path(scratch))
        bundle = bundle_of(bundle.modules, gate.bundle.data)
        return _judged(gate._replace(weights=weights), bundle)


def _unloaded(gate: _Gate, path: str) -> str | None:
    left = {name: text for name, text in gate.bundle.modules.items() if name != path}
    with contextlib.closing(Embedded(bundle_of(left, gate.bundle.data), TIMEOUT_S)) as engine:
        return _asked(gate, engine, gate.bundle)


def _judged(gate: _Gate, bundle: Bundle) -> str | None:
    with contextlib.closing(Embedded(bundle, TIMEOUT_S)) as engine:
        return _asked(gate, engine, bundle)


def _asked(gate: _Gate, engine: Engine, bundle: Bundle) -> str | None:
    answer = judge(engine, bundle, gate.document)
    verdict = weigh(answer, gate.document, FLOOR, gate.weights)
    return verdict.denials[0].message if verdict.denials else None


def _tried(
    name: str, attempt: Callable[P, str | None], *args: P.args, **kwargs: P.kwargs
) -> Mutant:
    """Say what a broken gate did; only our own refusals count as refusing."""
    try:
        said = attempt(*args, **kwargs)
    except InterlockError as error:
        return Mutant(name, denied=True, how=f"refused: {error.what}")
    if said is None:
        return Mutant(name, denied=False, how="ALLOWED")
    return Mutant(name, denied=True, how=f"denied: {said}")


# --- answers --------------------------------------------------------------------------------------


class _Says(NamedTuple):
    """An engine that says one thing, whatever it is asked."""

    value: Any
    name: str = "a strange engine"

    def answer(self, document: Mapping[str, Any]) -> Any:  # noqa: ARG002 - it listens to nobody
        """Say it."""
        return self.value

    def close(self) -> None:
        """Do nothing."""


def _strange_answers(gate: _Gate, whole: dict[str, Any]) -> Iterator[Mutant]:
    finding = {"rule": gate.bundle.rules[0], "id": f"{gate.bundle.rules[0]}.never_declared"}
    entry = {**finding, "subject": "plan", "msg": "x"}
    strange: dict[str, Any] = {
        "nothing": None,
        "an empty object": {},
        "a list": [],
        "yes": True,
        "a text": "allow",
        "allow: true": {"allow": True},
        "a web page": PAGE.decode(),
        "one more field": {**whole, "allow": True},
        "another schema": {**whole, "schema": "interlock.policy.decision/v2"},
        "another input's digest": {**whole, "input_digest": "0" * 64},
        "a rule less": {**whole, "rules": whole["rules"][1:]},
        "a rule more": {**whole, "rules": [*whole["rules"], "stranger"]},
        "no rules": {**whole, "rules": []},
        "a finding that nobody declared": {**whole, "findings": [entry]},
        "a finding of another rule": {**whole, "findings": [{**entry, "id": "stranger.x"}]},
        "an obligation that nobody can keep": {
            **whole,
            "constraints": [{**entry, "kind": "be_careful", "value": 1}],
        },
        "an obligation of nothing": {
            **whole,
            "constraints": [{**entry, "kind": "max_parallel", "value": 0}],
        },
        "consent by a fraction": {
            **whole,
            "approvals": [{**entry, "role": "operator", "count": 0.5}],
        },
        "a finding without end": {**whole, "findings": [{**entry, "msg": "x" * 10_000}]},
    }
    for key in KEYS:
        strange[f"no {key}"] = {name: value for name, value in whole.items() if name != key}
        strange[f"{key} is null"] = {**whole, key: None}
        strange[f"{key} is a number"] = {**whole, key: 1}
    for name, value in strange.items():
        yield _tried(f"the engine says {name}", _asked, gate, _Says(value), gate.bundle)


# --- servers --------------------------------------------------------------------------------------


def _strange_servers(gate: _Gate, whole: dict[str, Any]) -> Iterator[Mutant]:
    told = {"result": whole, "provenance": {"version": "1.9.0"}}
    revision = {"bundles": {"policies": {"revision": gate.bundle.digest}}}
    ours = {"result": whole, "provenance": {"version": "1.9.0", **revision}}
    replies: dict[str, tuple[int, bytes, str | None]] = {
        "a sign-in page": (200, PAGE, None),
        "an error page": (502, PAGE, None),
        "sends us elsewhere": (302, b"", "/elsewhere"),
        "knows no decision": (200, b"{}", None),
        "says null": (200, b'{"result": null}', None),
        "serves rules of no revision": (200, json.dumps(told).encode(), None),
        "warns": (200, json.dumps({**ours, "warning": {"code": "x"}}).encode(), None),
        "stops half-way": (200, json.dumps(ours).encode()[:-9], None),
        "says a key twice": (200, b'{"result": {}, "result": {}}', None),
        "is not authorised": (401, b"{}", None),
        "never answers": (0, b"", None),
    }
    for name, (status, body, target) in replies.items():
        with _server(status, body, target) as url:
            server = OpaServer(Place(url), revision=gate.bundle.digest, timeout_s=HASTE_S)
            yield _tried(f"the server {name}", _asked, gate, server, gate.bundle)
    gone = OpaServer(Place("http://127.0.0.1:9"), revision=None, timeout_s=HASTE_S)
    yield _tried("the server is not there", _asked, gate, gone, gate.bundle)


@contextlib.contextmanager
def _server(status: int, body: bytes, target: str | None) -> Iterator[str]:
    """Serve one reply to everybody, on this machine only; status 0 never replies."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if not status:
                over.wait(LONG_S)
                return
            self.send_response(status)
            if target is not None:
                self.send_header("Location", target)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST  # noqa: N815 - the library's own names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


# --- processes ------------------------------------------------------------------------------------


def _failing_processes(gate: _Gate) -> Iterator[Mutant]:
    path = f"rules/{gate.bundle.rules[0]}.rego"
    modules = {**gate.bundle.modules, path: gate.bundle.modules[path] + ENDLESS}
    endless = bundle_of(modules, gate.bundle.data)
    yield _tried("the engine takes too long", _hurried, gate, endless)
    yield _tried("the engine is killed while it judges", _killed, gate, endless)
    yield _tried("the engine takes too much memory", _bloated, gate)


def _hurried(gate: _Gate, endless: Bundle) -> str | None:
    with contextlib.closing(Embedded(endless, HASTE_S)) as engine:
        return _asked(gate, engine, endless)


def _killed(gate: _Gate, endless: Bundle) -> str | None:
    with contextlib.closing(Embedded(endless, TIMEOUT_S)) as engine:
        shot = threading.Timer(HASTE_S, lambda: _kill(engine))
        shot.start()
        try:
            return _asked(gate, engine, endless)
        finally:
            shot.cancel()


def _kill(engine: Embedded) -> None:
    child = engine.child_pid
    if child is not None:
        os.kill(child, signal.SIGKILL)


def _bloated(gate: _Gate) -> str | None:
    with contextlib.closing(Embedded(gate.bundle, TIMEOUT_S, max_rss_bytes=1)) as engine:
        return _asked(gate, engine, gate.bundle)
