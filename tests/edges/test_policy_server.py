"""A policy server, real and treacherous: what it says counts only whole and in time."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import pytest

from edges.policy_case import document, one_rule, shipped
from opa import TOKEN, Authority, Served, authority, serving
from orchestrator.errors import InvalidInput, Unavailable
from orchestrator.policy_engines import judge, opened
from orchestrator.policy_opa import OpaServer, Place
from orchestrator.settings import PolicySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.policy_bundle import Bundle

# A deadline leaves the thread that waits for a slow server behind, with its socket.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

REVISION: Final = "sha256:abc"
SLOW_S: Final = 0.5


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Let what was left behind be found here, and not in somebody else's test."""
    yield
    gc.collect()


def server(url: str, bundle: Bundle | None = None, **fields: Any) -> OpaServer:
    revision = fields.pop("revision", bundle.digest if bundle else REVISION)
    timeout_s = fields.pop("timeout_s", 10.0)
    return OpaServer(Place(url=url, **fields), revision=revision, timeout_s=timeout_s)


def refused(engine: OpaServer, bundle: Bundle | None = None) -> str:
    """Ask, and return why there is no answer; every reason says what to do next."""
    with pytest.raises(Unavailable) as caught:
        judge(engine, bundle or one_rule("true"), document())
    assert caught.value.next_step
    return caught.value.what


# --- a real one -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def real(tls: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("opa")
    with serving(folder, shipped(), tls=tls, token=TOKEN) as served:
        yield served


def test_a_real_server_answers_over_tls_to_who_has_the_token(real: Served, tls: Authority) -> None:
    engine = server(real.url, shipped(), ca=tls.ca, token=TOKEN)
    answer = judge(engine, shipped(), document())
    assert answer.rules == shipped().rules
    assert engine.name.startswith("opa 1.") or engine.name.startswith("opa 0.")


def test_the_settings_make_such_an_engine(real: Served, tls: Authority, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    common = {"engine": "opa-server", "url": real.url, "ca": tls.ca}
    for more in ({"token_file": str(tmp_path / "token")}, {"token_variable": "OPA_TOKEN"}):
        settings = PolicySettings.model_validate({**common, **more})
        with opened(settings, shipped(), {"OPA_TOKEN": TOKEN}) as engine:
            assert judge(engine, shipped(), document()).rules == shipped().rules


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"])
def test_a_wrong_token_is_refused_and_said(real: Served, tls: Authority, token: str | None) -> None:
    engine = server(real.url, shipped(), ca=tls.ca, token=token)
    assert "it refuses our token (401)" in refused(engine, shipped())


def test_another_authority_is_not_trusted(real: Served, tmp_path: Path) -> None:
    other = authority(tmp_path / "other")
    says = refused(server(real.url, shipped(), ca=other.ca, token=TOKEN), shipped())
    assert "its certificate is not trusted" in says
    assert "not trusted" in refused(server(real.url, shipped(), token=TOKEN), shipped())


def test_the_environment_cannot_choose_whom_we_trust(
    real: Served, tls: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, tls.ca)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert "not trusted" in refused(server(real.url, shipped(), token=TOKEN), shipped())
    assert judge(server(real.url, shipped(), ca=tls.ca, token=TOKEN), shipped(), document()).rules


def test_a_server_with_other_rules_is_refused(real: Served, tls: Authority) -> None:
    engine = server(real.url, ca=tls.ca, token=TOKEN)
    assert f"not {REVISION}" in refused(engine, shipped())
    same_revision = server(real.url, shipped(), ca=tls.ca, token=TOKEN)
    assert "not made by the rules of this workspace" in refused(same_revision, one_rule("true"))


def test_a_server_that_dies_while_it_judges_decides_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, shipped()) as served:
        os.kill(served.process.pid, signal.SIGSTOP)
        killer = threading.Timer(SLOW_S, served.process.kill)
        killer.start()
        says = refused(server(served.url, shipped()), shipped())
        killer.join()
    assert "it cannot be reached" in says


def test_a_server_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    with serving(tmp_path, shipped()) as served:
        engine = server(served.url, shipped())
        assert judge(engine, shipped(), document()).rules
        served.process.kill()
        served.process.wait()
        assert "it cannot be reached" in refused(engine, shipped())
    with serving(tmp_path, shipped()) as again:
        assert judge(server(again.url, shipped()), shipped(), document()).rules


def test_a_rule_that_fails_is_an_error_with_its_place(tmp_path: Path) -> None:
    bundle = one_rule('concat(",", input.run.revision) == ""')
    with serving(tmp_path, bundle) as served:
        says = refused(server(served.url, bundle), bundle)
    assert "it answers 500" in says
    assert "sample.rego:5" in says


def test_a_server_without_our_entry_point_has_no_decision(tmp_path: Path) -> None:
    bundle = one_rule("true")
    only_rule = {"rules/sample.rego": bundle.modules["rules/sample.rego"]}
    with serving(tmp_path, bundle._replace(modules=only_rule)) as served:
        says = refused(server(served.url, bundle), bundle)
    assert "data.interlock.main.decision is undefined" in says


# --- a treacherous one ----------------------------------------------------------------------------


def good(asked: dict[str, Any], **change: Any) -> dict[str, Any]:
    """Answer as a server that allows would."""
    return {
        "result": {
            "schema": "interlock.policy.decision/v1",
            "input_digest": asked["input"]["digest"],
            "rules": ["sample"],
            "findings": [],
            "approvals": [],
            "constraints": [],
        },
        "provenance": {"version": "1.9.0", "bundles": {"b": {"revision": REVISION}}},
        **change,
    }


class Treacherous(BaseHTTPRequestHandler):
    """Answers as its server was told to."""

    server: Any
    timeout = 20

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, dict(self.headers)))
        with contextlib.suppress(OSError):
            self.server.act(self, asked)

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        say(self, json.dumps({"result": {}}))

    def log_message(self, *_: Any) -> None:
        """Say nothing on the terminal."""


def say(handler: Treacherous, text: str, code: int = 200, **headers: str) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(text.encode())))
    handler.end_headers()
    handler.wfile.write(text.encode())


@contextlib.contextmanager
def treacherous(act: Callable[[Treacherous, dict[str, Any]], None]) -> Iterator[Any]:
    httpd: Any = ThreadingHTTPServer(("127.0.0.1", 0), Treacherous)
    httpd.act, httpd.seen, httpd.daemon_threads = act, [], True
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield httpd
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def test_the_treacherous_server_can_be_honest() -> None:
    """Otherwise the refusals below would prove nothing."""
    with treacherous(lambda handler, asked: say(handler, json.dumps(good(asked)))) as httpd:
        answer = judge(server(httpd.url), one_rule("true"), document())
    assert (answer.rules, answer.findings) == (("sample",), ())
    ((path, headers),) = httpd.seen
    assert path.startswith("/v1/data/interlock/main/decision?")
    assert "strict-builtin-errors=true" in path
    assert "Authorization" not in headers


BROKEN: Final[dict[str, tuple[Callable[[dict[str, Any]], str], str]]] = {
    "html": (lambda _: "<html>Welcome to the proxy</html>", "its answer is not JSON"),
    "nothing": (lambda _: "", "its answer is not JSON"),
    "a list": (lambda _: "[]", "its answer is not an object"),
    "undefined": (lambda _: "{}", "data.interlock.main.decision is undefined"),
    "true": (lambda asked: json.dumps(good(asked, result=True)), "another shape than agreed"),
    "a warning": (
        lambda asked: json.dumps(good(asked, warning={"code": "api_usage_warning"})),
        "it warns: ",
    ),
    "no provenance": (
        lambda asked: json.dumps(good(asked, provenance=None)),
        "does not say which version",
    ),
    "no bundle": (
        lambda asked: json.dumps(good(asked, provenance={"version": "1.9.0"})),
        f"it serves the rules of no bundle, not {REVISION}",
    ),
    "other rules": (
        lambda asked: json.dumps(
            good(asked, provenance={"version": "1", "bundles": {"b": {"revision": "old"}}})
        ),
        f"it serves the rules old, not {REVISION}",
    ),
    "another input": (
        lambda asked: json.dumps(good({"input": {"digest": "6" * 64}, "was": asked})),
        "it answers to another input",
    ),
    "a key twice": (
        lambda asked: json.dumps(good(asked))[:-1] + ', "result": {}}',
        "its answer is not JSON",
    ),
    "too much": (lambda _: " " * 17_000_000, "more than 16000000 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_answer_decides_nothing(name: str) -> None:
    text, reason = BROKEN[name]
    with treacherous(lambda handler, asked: say(handler, text(asked))) as httpd:
        assert reason in refused(server(httpd.url))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (302, "it sends us elsewhere"),
        (401, "it refuses our token (401)"),
        (403, "it refuses our token (403)"),
        (404, "it answers 404"),
        (500, "it answers 500"),
        (503, "it answers 503"),
    ],
)
def test_a_status_other_than_success_decides_nothing_and_is_not_tried_again(
    code: int, reason: str
) -> None:
    def act(handler: Treacherous, asked: dict[str, Any]) -> None:
        say(handler, json.dumps(good(asked)), code, Location=f"{httpd.url}/elsewhere")

    with treacherous(act) as httpd:
        assert reason in refused(server(httpd.url))
    assert len(httpd.seen) == 1


def test_a_server_that_drips_cannot_hold_us() -> None:
    over = threading.Event()

    def act(handler: Treacherous, asked: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.end_headers()
        for byte in json.dumps(good(asked)).encode():
            handler.wfile.write(bytes([byte]))
            if over.wait(SLOW_S / 10):
                return

    with treacherous(act) as httpd:
        says = refused(server(httpd.url, timeout_s=SLOW_S))
        over.set()
    assert f"it did not answer within {SLOW_S:g} s" in says


def test_a_server_that_drips_its_headers_cannot_hold_us() -> None:
    over = threading.Event()

    def act(handler: Treacherous, _: dict[str, Any]) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(SLOW_S / 10):
            handler.wfile.write(b"X: y\r\n")

    with treacherous(act) as httpd:
        says = refused(server(httpd.url, timeout_s=SLOW_S))
        over.set()
    assert "it did not answer within" in says


def test_an_answer_that_breaks_off_decides_nothing() -> None:
    def act(handler: Treacherous, asked: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(json.dumps(good(asked)).encode())

    with treacherous(act) as httpd:
        assert httpd.url in refused(server(httpd.url))


def test_nobody_there_decides_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert "it cannot be reached: " in refused(server(url))


def test_a_socket_that_is_not_there_decides_nothing(tmp_path: Path) -> None:
    says = refused(server(f"unix:{tmp_path}/opa.sock"))
    assert "it cannot be reached: " in says


# --- secrets of ours ------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "käse", "a\x00b"])
def test_what_is_no_token_is_refused_before_anybody_is_asked(token: str) -> None:
    settings = PolicySettings.model_validate(
        {"engine": "opa-server", "url": "https://127.0.0.1:1", "token_variable": "OPA_TOKEN"}
    )
    with (
        pytest.raises(InvalidInput, match="OPA_TOKEN: holds no token"),
        opened(settings, shipped(), {"OPA_TOKEN": token}),
    ):
        raise AssertionError


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = PolicySettings.model_validate(
        {"engine": "opa-server", "url": "https://127.0.0.1:1", "ca": str(tmp_path / "ca.pem")}
    )
    with (
        pytest.raises(InvalidInput, match=r"ca\.pem: named in policy"),
        opened(settings, shipped(), {}),
    ):
        raise AssertionError


def test_a_token_is_in_no_message() -> None:
    with treacherous(lambda handler, _: say(handler, "no", 500)) as httpd:
        says = refused(server(httpd.url, token="s3cr3t-t0ken"))
    assert httpd.seen[0][1]["Authorization"] == "Bearer s3cr3t-t0ken"
    assert "s3cr3t" not in says
