"""One host of a small site: serves what `current` names, and says how it is.

    python examples/site_host.py ROOT PORT [--cannot VERSION]

`/` answers with the release's page; `/healthz` with 200 or 503 and a line of JSON.
`--cannot` names a release that this host cannot serve, as if something that it needs were missing.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class Site(BaseHTTPRequestHandler):
    """Answers for one root."""

    root: ClassVar[Path]
    cannot: ClassVar[str]

    def do_GET(self) -> None:
        """Answer one request."""
        current = self.root / "current"
        version = current.readlink().name if current.is_symlink() else ""
        well = bool(version) and version != self.cannot
        if self.path == "/healthz":
            body = json.dumps({"version": version, "well": well}).encode()
            self._answer(200 if well else 503, "application/json", body)
        elif well:
            self._answer(200, "text/plain", (current / "index.txt").read_bytes())
        else:
            self._answer(503, "text/plain", b"out of order\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def main() -> None:
    """Serve until somebody ends this process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--cannot", default="")
    asked = parser.parse_args()
    Site.root, Site.cannot = asked.root, asked.cannot
    with ThreadingHTTPServer(("127.0.0.1", asked.port), Site) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
