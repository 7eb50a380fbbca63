"""A server of Open Policy Agent, asked through opa-python-client and trusted with nothing else.

1. One question, one answer: no retries, no redirects, no proxies, nothing taken from the
   environment, and one deadline for all of it.
2. An answer counts only whole: JSON, with a result, without a warning, made by the revision of the
   rules that was asked for.
3. The client's own ways to write rules are never used: it would rewrite them silently.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import requests
from opa_client.opa import OpaClient  # type: ignore[import-untyped]  # it has no types
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from actors.strict import UnreadableError, read_json
from orchestrator.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OpaServer", "Place"]

PATH: Final = "interlock/main"
RULE: Final = "decision"
ASKED: Final = {"provenance": "true", "strict-builtin-errors": "true"}
MAX_BODY_BYTES: Final = 16_000_000
CHUNK: Final = 1 << 16
OK: Final = 200
AGAIN: Final = "nothing was decided; check the server, and try again"


class Place(NamedTuple):
    """Where a server is, and how it is trusted."""

    url: str
    """`https://HOST[:PORT][/PREFIX]`, plain http on this machine only, or `unix:/PATH`."""
    ca: str | None = None
    client_cert: tuple[str, str] | None = None
    token: str | None = None

    @property
    def socket(self) -> str | None:
        """The path of the socket, where it is one."""
        return self.url.removeprefix("unix:") if self.url.startswith("unix:") else None


class _UnixConnection(HTTPConnection):
    path = ""

    def _new_conn(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        timeout = self.timeout
        connection.settimeout(timeout if isinstance(timeout, (int, float)) else None)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        return connection


class _UnixAdapter(HTTPAdapter):
    """Speaks HTTP over a socket of this machine."""

    def __init__(self, path: str) -> None:
        kind = type("_Connection", (_UnixConnection,), {"path": path})
        self._pool = HTTPConnectionPool("opa")
        self._pool.ConnectionCls = kind
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """Return the one pool, whatever was asked for."""
        return self._pool

    def close(self) -> None:
        """Close the socket."""
        self._pool.close()


class _Client(OpaClient):  # type: ignore[misc]  # it has no types
    """The library's client with one session, made here."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self._place = place
        super().__init__(token=place.token, retries=0, timeout=timeout_s)
        base = "http://opa" if place.socket else place.url.rstrip("/")
        self.root_url = f"{base}/v1"

    def _init_session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.max_redirects = 0
        session.verify = self._place.ca or True
        session.cert = self._place.client_cert
        session.headers.update({**(self.headers or {}), "Accept-Encoding": "identity"})
        session.hooks["response"].append(_bounded)
        adapter = _UnixAdapter(self._place.socket) if self._place.socket else HTTPAdapter()
        session.adapters.clear()
        for scheme in ("http://",) if self._place.socket else ("http://", "https://"):
            session.mount(scheme, adapter)
        return session


class OpaServer:
    """A server that judges."""

    def __init__(self, place: Place, *, revision: str | None, timeout_s: float) -> None:
        self._place = place
        self._revision = revision
        self._timeout_s = timeout_s
        self._version = ""

    @property
    def name(self) -> str:
        """Say which engine decided; its version is known when it has answered."""
        return f"opa {self._version}".strip()

    def answer(self, document: Mapping[str, Any]) -> Any:
        """Return what the entry point says of an input."""
        body = self._asked(document)
        if not isinstance(body, dict):
            raise self._bad("its answer is not an object")
        if "warning" in body:
            raise self._bad(f"it warns: {json.dumps(body['warning'])[:300]}")
        if "result" not in body:
            raise self._bad(
                "it has no decision: data.interlock.main.decision is undefined",
                "load policies/ into the server (decision.rego is the entry point)",
            )
        self._check_provenance(body.get("provenance"))
        return body["result"]

    def close(self) -> None:
        """Do nothing: each question had a session of its own."""

    def _check_provenance(self, provenance: Any) -> None:
        told = provenance if isinstance(provenance, dict) else {}
        self._version = str(told.get("version", ""))[:40]
        if not self._version:
            raise self._bad("it does not say which version it is")
        if self._revision is None:
            return
        bundles = told.get("bundles")
        served = [
            str(bundle.get("revision"))
            for bundle in (bundles if isinstance(bundles, dict) else {}).values()
            if isinstance(bundle, dict)
        ]
        if self._revision not in served:
            raise self._bad(
                f"it serves the rules {', '.join(served) or 'of no bundle'}, not {self._revision}",
                f"serve the bundle: opa build -b policies --revision {self._revision}",
            )

    def _asked(self, document: Mapping[str, Any]) -> Any:
        """Ask in a thread of its own, so that a server that drips cannot hold us."""
        answers: list[Any] = []

        def ask() -> None:
            try:
                with contextlib.closing(_Session(self._place, self._timeout_s)) as session:
                    answers.append(session.ask(document))
            except Exception as error:  # noqa: BLE001 - carried over to the thread that waits
                answers.append(error)

        thread = threading.Thread(target=ask, daemon=True, name="policy")
        thread.start()
        thread.join(self._timeout_s)
        if not answers:
            raise self._bad(f"it did not answer within {self._timeout_s:g} s")
        if isinstance(answers[0], Exception):
            raise self._explained(answers[0]) from None
        return answers[0]

    def _explained(self, error: Exception) -> Unavailable:
        match error:
            case requests.HTTPError(response=requests.Response(status_code=401 | 403 as code)):
                return self._bad(f"it refuses our token ({code})", "renew the token, and try again")
            case requests.HTTPError(response=requests.Response() as response):
                return self._bad(f"it answers {response.status_code}: {_said(response)}")
            case requests.TooManyRedirects():
                return self._bad("it sends us elsewhere, and redirects are not followed")
            case requests.exceptions.SSLError():
                return self._bad(
                    f"its certificate is not trusted: {_inner(error)}", "check policy: ca"
                )
            case requests.exceptions.JSONDecodeError() | ValueError():
                return self._bad(f"its answer is not JSON: {str(error)[:200]}")
            case requests.Timeout():
                return self._bad(f"it did not answer within {self._timeout_s:g} s")
            case requests.ConnectionError():
                return self._bad(f"it cannot be reached: {_inner(error)}")
            case _:
                return self._bad(f"asking it failed: {type(error).__name__}: {str(error)[:200]}")

    def _bad(self, what: str, next_step: str = AGAIN) -> Unavailable:
        return Unavailable(f"the policy server {self._place.url}: {what}", next_step=next_step)


class _Session:
    """One question's client."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self._client = _Client(place, timeout_s)

    def ask(self, document: Mapping[str, Any]) -> Any:
        """Ask the entry point."""
        return self._client.query_rule(dict(document), PATH, RULE, ASKED)

    def close(self) -> None:
        """Close its connections."""
        self._client.close_connection()


def _bounded(response: requests.Response, **_: Any) -> requests.Response:
    """Read no more than an answer can be; what two readers could read differently is refused."""
    body = bytearray()
    for part in response.iter_content(CHUNK):
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise UnreadableError(f"it has more than {MAX_BODY_BYTES} bytes")
    response._content = bytes(body)  # noqa: SLF001 - the library has no other way to hand it over
    if response.status_code == OK:
        read_json(bytes(body), max_bytes=MAX_BODY_BYTES)
    return response


def _said(response: requests.Response) -> str:
    """Return OPA's own words about an error, with the file and the line where it has them."""
    try:
        told = json.loads(response.content)
        first = (told.get("errors") or [{}])[0]
        place = first.get("location", {})
        where = f" ({place['file']}:{place['row']})" if "row" in place else ""
        return f"{first.get('message') or told.get('message')}{where}"[:300]
    except (ValueError, AttributeError, TypeError, LookupError):
        return response.text[:100].partition("\n")[0]


def _inner(error: BaseException) -> str:
    """Return what the system said, without the wrappings of three libraries."""
    inner: Any = error
    while isinstance(inner, BaseException):
        words, inner = str(inner), getattr(inner, "reason", None) or next(iter(inner.args), None)
    return words.rpartition(": ")[2][:200]
