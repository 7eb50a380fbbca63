"""A Redfish service as a client may use it: one session, one host, bounded answers, no surprises.

1. The certificate and the name in it are always checked; without that nothing is sent, least of all
   a password.
2. Every request goes to the host that the inventory names. A link or a redirection that leads
   elsewhere is refused, and so is a link that is no path below /redfish/.
3. What only reads is asked again after a 503 and after a token that has expired. An order (POST) is
   sent once: whoever gets no answer to it has to look what came of it.
4. What a service says is data: cut to a length, and never more than its printable characters.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import time
import urllib.parse
from typing import Any

ROOT = "/redfish/v1/"
ANSWER_S = 10.0
MAX_BYTES = 4_000_000
MAX_MEMBERS = 200
UNAVAILABLE_S = 20.0
"""How long a service may say that it is not available, before it is taken as silent."""


class Trouble(Exception):
    """Why it cannot go on: the name of a failure mode, and words for a person."""

    changed = False
    """Whether this came after an update had been taken."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(says)
        self.reason = reason


class Silent(Trouble):
    """The service did not answer, or not like one."""

    def __init__(self, says: str) -> None:
        super().__init__("bmc_silent", says)


class Refused(Trouble):
    """The service answered with an error."""

    def __init__(self, status: int, says: str) -> None:
        super().__init__("bmc_silent", says)
        self.status = status


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Any, body: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body if isinstance(body, dict) else {}


class Service:
    """One Redfish service, logged in to when it is first needed."""

    def __init__(self, url: str, user: str, password: str, ca_path: str | None) -> None:
        self._host, self._port = _place(url)
        self._user, self._password = user, password
        self._tls = _tls(ca_path)
        self._token: str | None = None
        self._session: str | None = None

    def get(self, path: str) -> dict[str, Any]:
        """Read a resource."""
        return self._asked("GET", path).body

    def poll(self, path: str) -> Answer:
        """Read a resource once, and see how it was answered."""
        return self._asked("GET", path)

    def order(self, path: str, body: dict[str, Any]) -> Answer:
        """Send an order, once."""
        self._log_in()
        answer = self._sent("POST", path, body)
        if answer.status == 401:  # nothing was done: the token has expired
            self._token = None
            self._log_in()
            answer = self._sent("POST", path, body)
        return answer

    def members(self, path: str) -> list[str]:
        """Name the members of a collection, the newest last."""
        found: list[str] = []
        page: str | None = path
        for _ in range(20):
            if page is None:
                break
            body = self.get(page)
            found += [link(one) for one in listed(body.get("Members"))]
            more = body.get("Members@odata.nextLink")
            page = local_path(str(more)) if more else None
        return found[-MAX_MEMBERS:]

    def log_out(self) -> None:
        """End the session; a service that does not hear it ends it by itself."""
        if self._token is not None and self._session is not None:
            with contextlib.suppress(Trouble):
                self._sent("DELETE", self._session)
        self._token = self._session = None

    def path_of(self, location: str) -> str:
        """Take the path from a Location, which must not lead elsewhere."""
        parts = urllib.parse.urlsplit(location)
        if parts.netloc and (parts.hostname, parts.port or 443) != (self._host, self._port):
            raise Silent("sends us to another host, which is refused")
        return local_path(parts.path)

    def _asked(self, method: str, path: str) -> Answer:
        """Ask what may be asked twice."""
        self._log_in()
        deadline = time.monotonic() + UNAVAILABLE_S
        renewed = False
        while True:
            answer = self._sent(method, path)
            if answer.status == 401 and not renewed:
                renewed, self._token = True, None
                self._log_in()
            elif answer.status == 503 and time.monotonic() < deadline:
                time.sleep(_retry_after(answer))
            elif answer.status == 503:
                raise Silent(f"{path}: is not available")
            elif answer.status >= 500:
                raise Silent(f"{path}: {said(answer)}")
            elif answer.status >= 300:
                raise Refused(answer.status, f"{path}: {said(answer)}")
            else:
                return answer

    def _log_in(self) -> None:
        if self._token is not None:
            return
        root = self._sent("GET", ROOT)
        if root.status != 200:
            raise Silent(f"{ROOT}: {said(root)}")
        sessions = link((root.body.get("Links") or {}).get("Sessions"))
        who = {"UserName": self._user, "Password": self._password}
        answer = self._sent("POST", sessions, who)
        if answer.status in (401, 403):
            raise Trouble("wrong_credentials", f"does not let {self._user} in: {said(answer)}")
        if answer.status == 503:
            raise Silent("takes no sessions now")
        token = answer.headers.get("X-Auth-Token")
        if answer.status not in (200, 201) or not token:
            raise Silent(f"opens no session: {said(answer)}")
        self._token = token
        self._session = self.path_of(answer.headers.get("Location") or link(answer.body))

    def _sent(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        headers = {"Accept": "application/json", "OData-Version": "4.0"}
        if self._token is not None:
            headers["X-Auth-Token"] = self._token
        if body is not None:
            headers["Content-Type"] = "application/json"
        line = http.client.HTTPSConnection(
            self._host, self._port, timeout=ANSWER_S, context=self._tls
        )
        try:
            line.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = line.getresponse()
            raw = answer.read(MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise Trouble(
                "not_trusted", f"{self._host}: its certificate is refused: {error.verify_message}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise Silent(f"{self._host}:{self._port}: {why}") from None
        finally:
            line.close()
        return Answer(answer.status, answer.headers, _json(raw, path))


def local_path(path: str) -> str:
    """Let a path through that lies below /redfish/ and is nothing but a path."""
    if not re.fullmatch(r"/redfish/[A-Za-z0-9._~!$&'()*+,;=:@%#/?-]{0,500}", path):
        raise Silent(f"names a resource that is no path of Redfish: {plain(path, 80)}")
    return path.partition("#")[0]


def link(value: Any) -> str:
    """Take the path from a reference."""
    target = value.get("@odata.id") if isinstance(value, dict) else None
    if not isinstance(target, str):
        raise Silent("leaves out a reference that Redfish demands")
    return local_path(target)


def listed(value: Any) -> list[Any]:
    """Take a list, whatever stands in its place."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def plain(text: object, length: int = 200) -> str:
    """Make what a machine said fit to be shown."""
    return re.sub(r"[^\x20-\x7e]+", " ", str(text))[:length].strip()


def message_id(messages: Any) -> str:
    """Find the message id of the last message, by which a vendor's manual explains it."""
    ids = [one.get("MessageId") for one in listed(messages)]
    named = [plain(one, 120) for one in ids if isinstance(one, str) and one]
    return named[-1] if named else ""


def said(answer: Answer) -> str:
    """Put an answer into words: its status, and the message ids of its error."""
    error = answer.body.get("error")
    error = error if isinstance(error, dict) else {}
    ident = message_id(error.get("@Message.ExtendedInfo")) or plain(error.get("code") or "", 120)
    return f"{answer.status} {ident}".strip()


def _retry_after(answer: Answer) -> float:
    text = str(answer.headers.get("Retry-After") or "")
    return min(max(float(text), 0.5), 10.0) if re.fullmatch(r"\d{1,4}", text) else 1.0


def _json(raw: bytes, path: str) -> Any:
    if len(raw) > MAX_BYTES:
        raise Silent(f"{path}: answers with more than {MAX_BYTES} bytes")
    try:
        return json.loads(raw) if raw.strip() else {}
    except ValueError:
        return {}


def _place(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme != "https" or not parts.hostname or rest:
        raise Trouble("misdescribed", "the label redfish_url must be https://HOST[:PORT]")
    return parts.hostname, parts.port or 443


def _tls(ca_path: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_path or None)
    except (OSError, ssl.SSLError) as error:
        raise Trouble("misdescribed", f"the label redfish_ca: {ca_path}: {error}") from None
