"""A BMC for tests: a small Redfish service over TLS, two controllers, and updates that go wrong.

1. What an update does says the first word of its image's name (`BEHAVIOURS`); the version is in it.
2. What the service does says whoever posts to /emulator, which needs no session (`KNOBS`).
3. Every request is remembered, with the state of both controllers as it came in: GET /emulator.
4. Time passes here as on a BMC: tasks go on, and resets end, whether anybody asks or not.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

V1 = "/redfish/v1"
TASKS = f"{V1}/TaskService/Tasks"
CONTROLLERS = f"{V1}/Systems/array/Storage/1/Controllers"
INVENTORY = f"{V1}/UpdateService/FirmwareInventory"
ACTION = f"{V1}/UpdateService/Actions/UpdateService.SimpleUpdate"
BEHAVIOURS = {
    "good": "is installed; the BMC resets and comes back",
    "refused": "is refused at once",
    "busy": "is not taken now: 503",
    "silent": "is taken, and the answer is lost",
    "unheard": "is not taken, and the answer is lost",
    "exception": "fails in its task",
    "hangs": "stays at 40 %",
    "wrong": "installs another version",
    "same": "ends well and installs nothing",
    "lost": "is installed, and its controller is not well afterwards",
    "late": "is installed, and the BMC takes longer to come back",
    "dead": "is installed, and the BMC never comes back",
    "forgotten": "is installed, and after the reset nobody knows its task",
    "monitored": "is installed; its task shows only in a monitor",
}
KNOBS = ("health", "active", "missing", "unavailable", "token_uses", "foreign_task",
         "elsewhere", "release", "forget")  # fmt: skip


@dataclass
class Unit:
    """One controller."""

    version: str
    state: str
    health: str = "OK"
    back_at: float | None = None


@dataclass
class Task:
    """One update."""

    number: int
    unit: str
    image: str
    body: dict[str, Any]
    ends_at: float
    state: str = "Running"
    status: str = "OK"
    messages: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Emulator:
    """The array, its BMC, and what was asked of it."""

    password: str
    task_s: float
    reset_s: float
    units: dict[str, Unit] = field(
        default_factory=lambda: {"A": Unit("9.4.2", "Enabled"), "B": Unit("9.4.2", "StandbySpare"),
                                 "bmc": Unit("1.0.0", "Enabled")}
    )  # fmt: skip
    tasks: list[Task] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    knobs: dict[str, Any] = field(default_factory=dict)
    down_until: float = 0.0
    sessions: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    # --- time -------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let happen what should have happened by now."""
        now = time.monotonic()
        for task in self.tasks:
            kind = task.image.partition("-")[0]
            held = kind == "hangs" and not self.knobs.get("release")
            if task.state == "Running" and now >= task.ends_at and not held:
                self._ended(task, kind, now)
        for name, unit in self.units.items():
            if unit.back_at is not None and now >= unit.back_at:
                others = [one.state for key, one in self.units.items() if key not in (name, "bmc")]
                serves = name == "bmc" or "Enabled" not in others
                unit.state, unit.back_at = "Enabled" if serves else "StandbySpare", None

    def _ended(self, task: Task, kind: str, now: float) -> None:
        unit = self.units[task.unit]
        unit.back_at = now
        if kind == "exception":
            task.state, task.status = "Exception", "Critical"
            task.messages = [{"MessageId": "Update.1.0.ApplyFailed", "Message": "It failed."}]
            return
        task.state = "Completed"
        if kind == "same":
            return
        unit.version = "9.9.9" if kind == "wrong" else version_in(task.image)
        unit.health = "Critical" if kind == "lost" else unit.health
        reset_s = {"late": 4 * self.reset_s, "dead": 1e9}.get(kind, self.reset_s)
        self.down_until = now + reset_s
        unit.back_at = self.down_until + self.reset_s
        if kind == "forgotten":
            self.tasks.clear()

    # --- orders -----------------------------------------------------------------------------------

    def update(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Take an order, or do not."""
        image = str(body.get("ImageURI", "")).rpartition("/")[2]
        kind = image.partition("-")[0]
        targets = body.get("Targets")
        wanted = targets[0].rpartition("/")[2].removeprefix("fw-") if targets else ""
        if kind == "refused" or kind not in BEHAVIOURS or wanted not in self.units:
            return 400, error("Update.1.0.TransferFailed"), {}
        if kind == "busy":
            return 503, error("Base.1.8.ServiceTemporarilyUnavailable"), {"Retry-After": "1"}
        if kind == "unheard":
            return 0, {}, {}
        task = Task(len(self.tasks) + 1, wanted, image, body, time.monotonic() + self.task_s)
        self.tasks.append(task)
        self.units[wanted].state = "Updating"
        for name, other in self.units.items():
            if wanted != "bmc" and name not in (wanted, "bmc") and other.state == "StandbySpare":
                other.state = "Enabled"  # it takes over
        if kind == "silent":
            return 0, {}, {}
        where = "https://elsewhere.example" if self.knobs.get("elsewhere") else ""
        headers = {"Location": f"{where}{TASKS}/{task.number}/Monitor"}
        monitored = kind == "monitored" or where
        return 202, {} if monitored else self.task(task.number), headers

    def turn(self, knobs: dict[str, Any]) -> None:
        """Turn knobs."""
        for name, value in knobs.items():
            if name not in KNOBS:
                raise KeyError(name)
            self.knobs[name] = value
        for unit, health in knobs.get("health", {}).items():
            self.units[unit].health = health
        if "active" in knobs:
            for unit in "AB":
                self.units[unit].state = "Enabled" if unit in knobs["active"] else "StandbySpare"
        if "foreign_task" in knobs:
            self.tasks.append(Task(len(self.tasks) + 1, "A", "hangs-0.0.0", {}, 0.0))
        if "forget" in knobs:
            self.log.clear()

    # --- resources --------------------------------------------------------------------------------

    def resource(self, path: str) -> dict[str, Any] | None:
        """Find a resource."""
        if path.startswith(f"{TASKS}/"):
            number = path[len(TASKS) + 1 :].partition("/")[0]
            return self.task(int(number)) if number.isdecimal() else None
        if path.startswith(f"{INVENTORY}/fw-"):
            return self.firmware(path[len(INVENTORY) + 4 :])
        if path.startswith(f"{CONTROLLERS}/"):
            return self.controller(path[len(CONTROLLERS) + 1 :])
        return self.fixed().get(path)

    def fixed(self) -> dict[str, dict[str, Any]]:
        """List the resources that have a place of their own."""
        present = [name for name in self.units if name != self.knobs.get("missing")]
        return {
            f"{V1}/": {
                "Links": {"Sessions": ref(f"{V1}/SessionService/Sessions")},
                "Systems": ref(f"{V1}/Systems"),
                "UpdateService": ref(f"{V1}/UpdateService"),
                "Tasks": ref(f"{V1}/TaskService"),
            },
            f"{V1}/Systems": members([f"{V1}/Systems/array"]),
            f"{V1}/Systems/array": {"Storage": ref(f"{V1}/Systems/array/Storage")},
            f"{V1}/Systems/array/Storage": members([f"{V1}/Systems/array/Storage/1"]),
            f"{V1}/Systems/array/Storage/1": {"Redundancy": [self.redundancy()]},
            f"{V1}/Managers/1": {"Status": {"State": self.units["bmc"].state, "Health": "OK"}},
            f"{V1}/TaskService": {"Tasks": ref(TASKS)},
            TASKS: members([f"{TASKS}/{task.number}" for task in self.tasks]),
            f"{V1}/UpdateService": {
                "FirmwareInventory": ref(INVENTORY),
                "Actions": {"#UpdateService.SimpleUpdate": {"target": ACTION}},
            },
            # Sorted so that neither the order nor the name says who is passive.
            INVENTORY: members([f"{INVENTORY}/fw-{name}" for name in present]),
        }

    def firmware(self, name: str) -> dict[str, Any] | None:
        """Describe what a unit runs."""
        if name not in self.units:
            return None
        device = f"{V1}/Managers/1" if name == "bmc" else f"{CONTROLLERS}/{name}"
        return {
            "Id": f"fw-{name}",
            "SoftwareId": "bmc-fw" if name == "bmc" else "ctrl-fw",
            "Version": self.units[name].version,
            "Updateable": True,
            "RelatedItem": [ref(device)],
        }

    def controller(self, name: str) -> dict[str, Any] | None:
        """Describe a controller."""
        unit = self.units.get(name)
        return unit and {"Id": name, "Status": {"State": unit.state, "Health": unit.health}}

    def redundancy(self) -> dict[str, Any]:
        """Describe the pair."""
        pair = [self.units["A"], self.units["B"]]
        well = all(one.health == "OK" and one.state != "Updating" for one in pair)
        return {
            "Mode": "Failover",
            "MinNumNeeded": 1,
            "Status": {"Health": "OK" if well else "Warning"},
            "RedundancySet": [ref(f"{CONTROLLERS}/{name}") for name in "AB"],
        }

    def task(self, number: int) -> dict[str, Any] | None:
        """Describe a task."""
        task = next((one for one in self.tasks if one.number == number), None)
        if task is None:
            return None
        told = {
            "@odata.id": f"{TASKS}/{number}",
            "Id": str(number),
            "TaskState": task.state,
            "TaskStatus": task.status,
            "PercentComplete": 100 if task.state == "Completed" else 40,
            "Messages": task.messages,
        }
        if task.body:
            told["Payload"] = {"TargetUri": ACTION, "JsonBody": json.dumps(task.body)}
        return told

    # --- answers ----------------------------------------------------------------------------------

    def answer(
        self, method: str, path: str, token: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Answer a request; 0 is no answer at all."""
        if path == "/emulator":
            return self.told(method, body)
        if time.monotonic() < self.down_until:
            return 0, {}, {}
        if (method, path) == ("GET", f"{V1}/"):
            return 200, self.fixed()[path], {}
        if (method, path) == ("POST", f"{V1}/SessionService/Sessions"):
            return self.log_in(body)
        if self.tokens.get(token, 0) <= 0:
            return 401, error("Base.1.8.NoValidSession"), {}
        self.tokens[token] -= 1
        return self.answer_known(method, path, token, body)

    def answer_known(
        self, method: str, path: str, token: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Answer who has a session."""
        if method == "DELETE":
            del self.tokens[token]
            return 204, {}, {}
        if self.knobs.get("unavailable", 0) > 0:
            self.knobs["unavailable"] -= 1
            return 503, error("Base.1.8.ServiceTemporarilyUnavailable"), {"Retry-After": "1"}
        if (method, path) == ("POST", ACTION):
            return self.update(body)
        found = self.resource(path) if method == "GET" else None
        if found is None:
            return 404, error("Base.1.8.ResourceMissingAtURI"), {}
        if path.endswith("/Monitor"):
            return (202, {}, {}) if found["TaskState"] == "Running" else (204, {}, {})
        return 200, found, {}

    def log_in(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Open a session."""
        if body != {"UserName": "operator", "Password": self.password}:
            return 401, error("Base.1.8.InsufficientPrivilege"), {}
        self.sessions += 1
        token = f"token-{self.sessions}"
        self.tokens[token] = self.knobs.get("token_uses", 1_000_000)
        where = f"{V1}/SessionService/Sessions/{self.sessions}"
        return 201, ref(where), {"X-Auth-Token": token, "Location": where}

    def told(self, method: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Say what was asked so far, and turn knobs."""
        if method == "POST":
            self.turn(body)
        units = self.seen()
        return 200, {"log": self.log, "units": units, "open_sessions": len(self.tokens)}, {}

    def seen(self) -> dict[str, list[str]]:
        """Say how the units are."""
        return {name: [one.version, one.state, one.health] for name, one in self.units.items()}


def ref(path: str) -> dict[str, Any]:
    """Refer to a resource."""
    return {"@odata.id": path}


def members(paths: list[str]) -> dict[str, Any]:
    """Make a collection."""
    return {"Members": [ref(path) for path in paths], "Members@odata.count": len(paths)}


def error(message_id: str) -> dict[str, Any]:
    """Make the body of an error."""
    return {"error": {"code": message_id, "@Message.ExtendedInfo": [{"MessageId": message_id}]}}


def version_in(image: str) -> str:
    """Find the version in the name of an image."""
    found = re.search(r"\d+\.\d+\.\d+", image)
    return found.group() if found else "0.0.0"


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request and hands it on."""

    emulator: Emulator

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    do_POST = do_DELETE = do_GET  # noqa: N815 - the names are the library's

    def log_message(self, *args: object) -> None:
        """Say nothing: what was asked is remembered."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        path, at = urlsplit(self.path).path, self.emulator
        token = self.headers.get("X-Auth-Token") or ""
        with at.lock:
            at.tick()
            units = at.seen()
            status, answer, headers = at.answer(self.command, path, token, body)
            if path != "/emulator":
                told = {key: value for key, value in body.items() if key != "Password"}
                line = {"method": self.command, "path": path, "body": told}
                at.log.append({**line, "status": status, "units": units})
            said = json.dumps(answer).encode() if status != 204 else b""
        self.close_connection = True
        if status == 0:
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)


class Server(http.server.ThreadingHTTPServer):
    """Serves each request by a thread of its own."""

    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Take no notice of a client that hangs up."""


def main() -> None:
    """Serve until the input ends, or for ever."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("certificate", help="a file with the certificate and its key")
    words.add_argument("--listen", default="127.0.0.1")
    words.add_argument("--port", type=int, default=0)
    words.add_argument("--password", default="not-a-secret")
    words.add_argument("--task-s", type=float, default=0.3)
    words.add_argument("--reset-s", type=float, default=0.3)
    words.add_argument("--until-eof", action="store_true")
    asked = words.parse_args()
    Handler.emulator = Emulator(asked.password, asked.task_s, asked.reset_s)
    server = Server((asked.listen, asked.port), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(asked.certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    if asked.until_eof:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
