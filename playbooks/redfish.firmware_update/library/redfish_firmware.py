"""Ansible module: brings the firmware of one unit, or of a pair of them, to one exact version.

1. Which unit is active and which passive, whether both are well, and what belongs to the pair is
   what Redfish reports (`Status`, `Redundancy`, `RelatedItem`); no name is ever looked at.
2. Before a unit is ordered to update, all of them are well and no other update is under way. The
   passive one goes first, and one call orders at most one update.
3. What is ordered is written down before it is ordered (`order.json` in the keep). A call that
   finds an order waits for what came of it, and orders nothing again while that may be at work.
4. A unit is done when its inventory names the version and the whole pair is well again. What the
   task says decides nothing.
5. How it went stands in `did`, never in a failure: the task has a secret, and its words are hidden.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.redfish_pair import (
    AT_WORK,
    PASSIVE,
    UPDATING,
    Component,
    Picture,
    Unit,
)
from ansible.module_utils.redfish_service import (
    Refused,
    Service,
    Silent,
    Trouble,
    link,
    local_path,
    message_id,
    plain,
    said,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "do": {"choices": ["look", "update", "go_back", "verify"], "required": True},
    "url": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "ca": {"type": "str"},
    "component": {"type": "str", "required": True},
    "units": {"type": "int", "default": 2},
    "with_version": {"type": "int", "default": 2},
    "turn": {"type": "int", "default": 1},
    "image": {"type": "str"},
    "version": {"type": "str"},
    "keep": {"type": "str"},
    "update_within_s": {"type": "int", "default": 1200},
    "back_within_s": {"type": "int", "default": 600},
}


def main() -> None:
    """Do what is asked."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = module.params
    service = None
    try:
        service = Service(asked["url"], asked["user"], asked["password"], asked["ca"])
        did = Firmware(service, asked, check=module.check_mode).done()
    except Trouble as trouble:
        says = plain(trouble, 400)
        did = {"reason": trouble.reason, "says": says, "changed": trouble.changed}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What is no Redfish at all: nobody foresaw it, and an order may be under way.
        did = {"reason": "no_redfish", "says": f"answers in no known shape: {plain(error)}"}
        did["changed"] = asked["do"] in ("update", "go_back")
    finally:
        if service is not None:
            service.log_out()
    module.exit_json(changed=False, did=did)


class Firmware:
    """What is asked of one service."""

    def __init__(self, service: Service, asked: dict[str, Any], *, check: bool) -> None:
        self._at = service
        self._on = Component(service, asked["component"], asked["units"])
        self._asked = asked
        self._check = check
        self._note = Note(asked["keep"])

    def done(self) -> dict[str, Any]:
        """Do it, and say what came of it."""
        if self._asked["do"] == "verify":
            return self._verified()
        if self._asked["image"] and not self._asked["image"].startswith("https://"):
            raise Trouble("misdescribed", "the label firmware_url must be https://HOST/FOLDER")
        looks = self._asked["do"] == "look"
        if looks and self._note.order is not None:
            return self._said(self._on.look(self._asked["back_within_s"]))
        if not looks and not self._check:
            waited = self._waited_for_an_order()
            if waited:
                return waited
        picture = self._on.look()
        if self._asked["do"] == "go_back":
            return self._went_back(picture)
        self._refuse_unless_well(picture)
        return self._said(picture) if looks else self._updated(picture)

    def _refuse_unless_well(self, picture: Picture) -> None:
        busy = self._on.busy(picture)
        if busy:
            raise Trouble("busy", busy)
        problem = picture.problem()
        if problem:
            raise Trouble("path_degraded", problem)

    def _verified(self) -> dict[str, Any]:
        """Read whether it holds, once no update is under way."""
        deadline = time.monotonic() + self._asked["update_within_s"]
        silent_by = time.monotonic() + self._asked["back_within_s"]
        while True:
            try:
                picture = self._on.look()
                busy = self._on.busy(picture)
            except Silent:  # it may be resetting, after an update that we know nothing of
                if time.monotonic() > silent_by:
                    raise
            else:
                silent_by = time.monotonic() + self._asked["back_within_s"]
                if not busy or time.monotonic() > deadline:
                    break
            time.sleep(1.0)
        count = picture.at(self._asked["version"])
        enough = count >= self._wanted()
        state = "partial" if count else "not_applied"
        if enough and picture.problem() is None:
            state = "applied"
        return self._said(picture, state="unknown" if busy else state)

    def _wanted(self) -> int:
        return min(self._asked["with_version"], self._asked["units"])

    def _said(self, picture: Picture, **more: Any) -> dict[str, Any]:
        return {
            "reason": "",
            "changed": False,
            "paths": picture.paths,
            "updated": picture.at(self._asked["version"] or ""),
            "passive": next((u.name for u in picture.units if u.state == PASSIVE), ""),
            "units": {unit.name: unit.version for unit in picture.units},
            **more,
        }

    # --- what is done -----------------------------------------------------------------------------

    def _updated(self, picture: Picture) -> dict[str, Any]:
        version = self._asked["version"]
        behind = [unit for unit in picture.units if unit.version != version]
        missing = self._wanted() - picture.at(version)
        turn = self._asked["turn"] - 1 if self._check else 0
        if turn >= missing:
            return self._said(picture)
        return self._ordered(behind[turn], version, picture)

    def _went_back(self, picture: Picture) -> dict[str, Any]:
        """Give back the version that a unit had before this step ordered anything for it."""
        former = self._note.former
        behind = [u for u in picture.units if former.get(u.inventory, u.version) != u.version]
        if not behind:
            return self._said(picture)
        if not self._asked["image"]:
            raise Trouble("no_former_image", f"{behind[0].name} has {behind[0].version}")
        self._refuse_unless_well(picture)
        return self._ordered(behind[0], former[behind[0].inventory], picture)

    def _ordered(self, unit: Unit, version: str, picture: Picture) -> dict[str, Any]:
        before, after = (f"{unit.name}: {one}\n" for one in (unit.version, version))
        if not unit.updateable or not self._on.action:
            raise Trouble("no_such_component", f"{unit.name} cannot be updated by this service")
        if self._check:
            return self._said(picture, changed=True, before=before, after=after)
        order = {"unit": unit.inventory, "image": self._asked["image"], "version": version}
        order |= {"was": unit.version, "task": None}
        self._note.write_order(order)
        self._send(order)
        return {**self._came_of(order), "before": before, "after": after}

    def _send(self, order: dict[str, Any]) -> None:
        """Order one update, and write down what takes care of it."""
        words = {"ImageURI": order["image"], "TransferProtocol": "HTTPS"}
        words["Targets"] = [order["unit"]]
        try:
            answer = self._at.order(local_path(self._on.action), words)
        except Silent as error:
            answer, status, why = None, 0, str(error)
        else:
            status, why = answer.status, said(answer)
        if answer is not None and status in (200, 201, 202, 204):
            self._note.write_order({**order, "task": self._task_in(answer)})
            if self._note.order["task"] is None:
                self._found_again(order, 2.0)
        elif 300 <= status < 500:
            self._note.write_order(None)
            raise Trouble("image_refused", why)
        elif not self._found_again(order, 2.0 if status == 503 else self._asked["back_within_s"]):
            if status == 503:
                self._note.write_order(None)
                raise Trouble("busy", f"takes no update now: {why}")
            raise changed(Trouble("no_answer", f"whether the update was taken is not known: {why}"))
        order.update(self._note.order or {})

    def _task_in(self, answer: Any) -> str | None:
        """Find who takes care of an order; a reference that leads elsewhere is none."""
        location = answer.headers.get("Location")
        try:
            if "TaskState" in answer.body and "@odata.id" in answer.body:
                return link(answer.body)
            return self._at.path_of(location) if location else None
        except Silent:
            return None

    def _found_again(self, order: dict[str, Any], within_s: float) -> bool:
        """Look whether an order that was not answered is at work for all that."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                for path, body in self._on.at_work():
                    if _is_of(body, order):
                        self._note.write_order({**order, "task": path})
                        return True
                unit = self._on.look().unit(order["unit"])
                if unit.state == UPDATING or unit.version == order["version"]:
                    return True
            except Trouble as trouble:
                _only_for_now(trouble)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)

    def _waited_for_an_order(self) -> dict[str, Any] | None:
        """Wait for what came of an order of an earlier call, if there is one."""
        order = self._note.order
        if order is None:
            return None
        self._on.look(self._asked["back_within_s"])  # of a silent service nothing can be told
        if order["task"] is None and not self._found_again(order, 0.0):
            self._note.write_order(None)  # it was never taken: nothing of it is there
            return None
        back = self._asked["do"] == "go_back"
        try:
            came = self._came_of(self._note.order or order)
        except Trouble as trouble:
            if back and trouble.reason in ("update_failed", "version_differs"):
                return None
            raise
        return None if back else came

    def _came_of(self, order: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of an order, and for all units to be well again."""
        try:
            if order["task"] is not None:
                self._watch(order["task"])
        except Trouble as trouble:
            if trouble.reason == "update_failed":
                self._note.write_order(None)
                raise self._left_by(order, trouble) from None
            raise changed(trouble) from None
        picture = self._well_again(order, order["version"])
        self._note.write_order(None)
        return self._said(picture, changed=True)

    def _left_by(self, order: dict[str, Any], trouble: Trouble) -> Trouble:
        """Judge what an update that failed has left: the former version, and a healthy pair."""
        try:
            self._well_again(order, order["was"])
        except Trouble as left:
            return changed(Trouble(left.reason, f"{trouble}; {left}"))
        return trouble

    def _watch(self, task: str) -> None:
        """Follow a task to its end; how long a service may be silent meanwhile is bounded too."""
        now = heard = time.monotonic()
        deadline, pause_s, silence = now + self._asked["update_within_s"], 0.5, ""
        while now < deadline and now - heard <= self._asked["back_within_s"]:
            try:
                if self._has_ended(task):
                    return
            except Silent as silent:
                silence = str(silent)
            else:
                heard, silence = time.monotonic(), ""
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 5.0)
            now = time.monotonic()
        if silence:
            raise Trouble("did_not_come_back", silence)
        raise Trouble("task_timed_out", f"{task} has not ended")

    def _has_ended(self, task: str) -> bool:
        try:
            answer = self._at.poll(task)
        except Refused as refused:
            if refused.status in (404, 410):
                return True  # forgotten, as tasks are by a reset: the inventory decides
            raise Trouble("update_failed", str(refused)) from None
        return _has_ended(answer)

    def _well_again(self, order: dict[str, Any], version: str) -> Picture:
        deadline = time.monotonic() + self._asked["back_within_s"]
        trouble = Trouble("did_not_come_back", "it does not answer")
        while True:
            try:
                picture = self._on.look()
                unit, problem = picture.unit(order["unit"]), picture.problem()
                if unit.version != version:
                    words = f"{unit.name} has {unit.version}, not {version}"
                    trouble = Trouble("version_differs", words)
                elif problem:
                    trouble = Trouble("path_lost", problem)
                else:
                    return picture
            except Trouble as error:
                reason = "did_not_come_back" if _only_for_now(error) else "path_lost"
                trouble = Trouble(reason, str(error))
            if time.monotonic() > deadline:
                raise changed(trouble)
            time.sleep(0.5)


class Note:
    """What a step has ordered: written whole and synced before anything is ordered."""

    def __init__(self, keep: str | None) -> None:
        self._path = Path(keep or "/nonexistent") / "order.json"
        try:
            kept = json.loads(self._path.read_text())
        except FileNotFoundError:
            kept = {"former": {}, "order": None}
        self.former: dict[str, str] = kept["former"]
        self.order: dict[str, Any] | None = kept["order"]

    def write_order(self, order: dict[str, Any] | None) -> None:
        """Write down an order, or that there is none any more."""
        if order is not None:
            self.former.setdefault(order["unit"], order["was"])
        self.order = order
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = self._path.with_suffix(".new")
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"former": self.former, "order": order}, file)
            file.flush()
            os.fsync(file.fileno())
        whole.rename(self._path)


def changed(trouble: Trouble) -> Trouble:
    """Mark a trouble that began after an update was taken."""
    trouble.changed = True
    return trouble


def _only_for_now(trouble: Trouble) -> bool:
    """Say whether a service is only silent; what waiting cannot mend is raised."""
    if trouble.reason in ("wrong_credentials", "not_trusted", "misdescribed"):
        raise changed(trouble)
    return isinstance(trouble, Silent)


def _has_ended(answer: Any) -> bool:
    state = answer.body.get("TaskState")
    if state is None:
        return bool(answer.status != 202)
    if state in AT_WORK:
        return False
    if state == "Completed" and answer.body.get("TaskStatus", "OK") in ("OK", "Warning", None):
        return True
    ident = message_id(answer.body.get("Messages")) or "no message id"
    raise Trouble("update_failed", f"its task ended as {plain(state, 40)}: {ident}")


def _is_of(task: dict[str, Any], order: dict[str, Any]) -> bool:
    payload = task.get("Payload")
    try:
        body = json.loads(payload["JsonBody"]) if isinstance(payload, dict) else {}
    except (KeyError, TypeError, ValueError):
        return False
    if not isinstance(body, dict):
        return False
    return body.get("ImageURI") == order["image"] and body.get("Targets") == [order["unit"]]


if __name__ == "__main__":
    main()
