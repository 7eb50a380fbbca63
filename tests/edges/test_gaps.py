"""What seeded bugs showed that no other test of the edges would notice (see tests/mutants.py)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import apsw
import pytest

from actors.spec import InDoubt
from edges import rig
from edges.crashvfs import Fault, Tape, TapeVfs
from edges.ledger_samples import acting, opened, running, step_events
from orchestrator.errors import Unavailable
from orchestrator.ledger import Ledger, Machine
from orchestrator.local import Local
from orchestrator.policy import vet
from orchestrator.pure.commands import Act
from orchestrator.pure.events import ActStarted, StartRequested
from orchestrator.pure.model import Approval, Decision, Denial, MissingApproval, Window
from orchestrator.session import Session
from orchestrator.settings import EnvironmentRules, PolicySettings, Settings
from pure.plans import NOON, actor, plan_of, step
from world import FakeDriver, FakeWorld

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.ledger_values import Recorded
    from orchestrator.ledger_writer import Writer
    from orchestrator.pure.events import Event
    from orchestrator.pure.model import Plan
    from orchestrator.pure.state import Run


# --- the driver records, then acts ----------------------------------------------------------------


class _NoClaims:
    """A ledger that cannot take any claim of an act."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.epoch = writer.epoch
        self.refused = 0

    def append(self, events: Sequence[Event], *args: Any, **kwargs: Any) -> list[Recorded]:
        if any(isinstance(event, ActStarted) for event in events):
            self.refused += 1
            raise Unavailable("the disk is full", next_step="free some space")
        return self._writer.append(events, *args, **kwargs)

    def asks(self) -> list[Any]:
        return self._writer.asks()


def test_no_act_begins_whose_claim_could_not_be_recorded(tmp_path: Path) -> None:
    root = rig.build(tmp_path / "ws")
    run = rig.opened(root, rig.chain("a"))
    with (
        Session.open(root) as session,
        session.driver(run, lambda _run, _events: None) as driver,
    ):
        full = _NoClaims(driver.writer)
        driver.writer = full  # type: ignore[assignment]  # it stands in for a writer
        at_ms = max(driver.clock_ms(), driver.run.at_ms)
        start = StartRequested(at_ms=at_ms, by="op", plan_digest=driver.run.plan_digest)
        driver.record([start])
        with pytest.raises(Unavailable, match="the disk is full"):
            driver.drive()
    assert full.refused == 1, "what could not be recorded is not tried again"
    assert list((root / ".interlock").glob("acts/*/*")) == []


def test_a_directory_that_is_there_already_is_not_acted_in(tmp_path: Path) -> None:
    root = rig.build(tmp_path / "ws")
    name = rig.opened(root, rig.chain("a"))
    (root / ".interlock" / "acts" / name / "a.apply.1").mkdir(parents=True)
    with Session.open(root) as session:
        run = session.load(name)
        acts = Local(session.workspace, lambda: run, os.environ, None, run.id).acts
        acts.begin(Act("a", "apply", 1))
        reports = acts.reports(0.0)
        while acts.under_way:
            reports += acts.reports(1.0)
    assert [type(report.outcome) for report in reports] == [InDoubt]
    assert rig.effects(root) == []


# --- a failed commit is told, not tried again -----------------------------------------------------


def _append_on(folder: Path, fault: Fault | None) -> int:
    """Append once while the disk has one moment of weakness; count the operations."""
    tape = Tape(recording=True)
    vfs = TapeVfs("weak", tape)
    machine = Machine(vfs="weak", filesystem=lambda _: None)
    try:
        with Ledger.open(folder / "ledger.db", create=True, machine=machine) as ledger:
            run = ledger.open_run(opened(), acting)
            with ledger.writer(run, "driver") as writer:
                tape.fault, tape.count = fault, 0
                writer.append(step_events(1), running(1))
                return tape.count
    finally:
        vfs.unregister()


def test_no_moment_of_weakness_of_the_disk_is_passed_over_in_silence(tmp_path: Path) -> None:
    operations = _append_on(tmp_path / "sound", None)
    assert operations > 1, "at least one write and one sync"
    for at in range(1, operations + 1):
        fault = Fault(at, apsw.SQLITE_IOERR_FSYNC, persistent=False)
        with pytest.raises(Unavailable, match="cannot be read or written"):
            _append_on(tmp_path / str(at), fault)


# --- the built-in policy --------------------------------------------------------------------------

OWNER: Final = MissingApproval(role="owner", count=1)
MANAGER: Final = MissingApproval(role="manager", count=1)


def settings(*roles: MissingApproval, environment: str = "staging", **rules: Any) -> Settings:
    demands = {"max_targets": 9, "allow_undo_none": True, **rules}
    return Settings(
        format=1,
        environments={environment: EnvironmentRules(approvals=roles, **demands)},
        policy=PolicySettings(engine="builtin"),
        roles={"owner": ("paula", "pete", "rita", "olga"), "manager": ("paula", "mona")},
        allowed_signers="signers",
    )


def planned(plan: Plan | None = None, *approvals: Approval) -> Run:
    drive = FakeDriver(FakeWorld(plan or plan_of(step("a"))))
    drive.open()
    drive.do(drive.due()[0])
    run: Run = drive.run._replace(approvals=approvals)
    return run


def approval(principal: str, role: str = "owner", **changes: Any) -> Approval:
    fields: dict[str, Any] = {
        "principal": principal,
        "role": role,
        "run": "run-1",
        "environment": "staging",
        "plan_digest": "0" * 64,
        "nonce": principal.encode().hex().ljust(32, "0")[:32],
        "issued_ms": NOON,
        "expires_ms": NOON + 60_000,
        "method": "claimed",
    }
    return Approval(**{**fields, **changes})


def missing(run: Run, *roles: MissingApproval, now_ms: int = NOON, **rules: Any) -> list[str]:
    decision = vet(run, "plan", now_ms, settings(*roles, **rules))
    return [wanted.role for wanted in decision.missing]


def denials(decision: Decision) -> list[Denial]:
    assert decision.outcome == ("deny" if decision.denials else "allow")
    return list(decision.denials)


def test_consent_counts_only_from_those_who_hold_the_role() -> None:
    assert missing(planned(None, approval("paula")), OWNER) == []
    assert missing(planned(None, approval("mona")), OWNER) == ["owner"]
    assert missing(planned(None, approval("mona", "manager")), OWNER) == ["owner"]
    assert missing(planned(), OWNER) == ["owner"]


def test_one_person_fills_one_role() -> None:
    both = (approval("paula"), approval("paula", "manager", nonce="1" * 32))
    assert missing(planned(None, *both), OWNER, MANAGER) == ["manager"]
    two = (approval("paula"), approval("mona", "manager"))
    assert missing(planned(None, *two), OWNER, MANAGER) == []


def test_one_person_is_not_two_owners() -> None:
    twice = (approval("paula"), approval("paula", nonce="1" * 32))
    demanded = MissingApproval(role="owner", count=2)
    assert missing(planned(None, *twice), demanded) == ["owner"]
    assert missing(planned(None, *twice, approval("pete")), demanded) == []


@pytest.mark.parametrize("principal", ["rita", "olga"], ids=["requester", "opener"])
def test_the_requester_and_the_opener_never_count(principal: str) -> None:
    assert missing(planned(None, approval(principal)), OWNER) == ["owner"]


def test_an_approval_stops_counting_when_it_expires() -> None:
    run = planned(None, approval("paula"))
    assert missing(run, OWNER, now_ms=NOON + 59_999) == []
    assert missing(run, OWNER, now_ms=NOON + 60_000) == ["owner"]


def test_where_signatures_are_demanded_a_claim_does_not_count() -> None:
    claimed = planned(None, approval("paula"))
    assert missing(claimed, OWNER, require_signatures=True) == ["owner"]
    signed = planned(None, approval("paula", method="sshsig", signature="-----"))
    assert missing(signed, OWNER, require_signatures=True) == []


def test_an_environment_without_rules_is_denied() -> None:
    decision = vet(planned(), "plan", NOON, settings(environment="production"))
    assert [denial.rule for denial in denials(decision)] == ["environment"]
    assert [wanted.role for wanted in decision.missing] == ["nobody"]


def test_one_target_too_many_is_denied() -> None:
    two = plan_of(step("a"), step("b"))
    steps = tuple(s.model_copy(update={"targets": (f"{s.id}1",)}) for s in two.steps)
    run = planned(two.model_copy(update={"steps": steps}))
    one = denials(vet(run, "plan", NOON, settings(max_targets=1)))
    assert [denial.rule for denial in one] == ["max_targets"]
    assert denials(vet(run, "plan", NOON, settings(max_targets=2))) == []


def test_what_cannot_be_undone_is_denied_unless_the_environment_allows_it() -> None:
    run = planned(plan_of(step("a"), step("b", actor=actor(undo="none"))))
    refused = denials(vet(run, "plan", NOON, settings(allow_undo_none=False)))
    assert [(denial.rule, denial.step) for denial in refused] == [("undo", "b")]
    assert denials(vet(run, "plan", NOON, settings())) == []


def test_a_start_that_leaves_no_time_to_go_back_is_denied() -> None:
    plan = plan_of(step("a"), window=(NOON, NOON + 10**6))
    timing = plan.timing.model_copy(update={"forward_s": 60, "rollback_s": 40})
    run = planned(plan.model_copy(update={"timing": timing}))
    assert run.planned.window == Window(start_ms=NOON, end_ms=NOON + 10**6)
    last_ms = NOON + 10**6 - 100_000
    assert denials(vet(run, "start", last_ms, settings())) == []
    late = denials(vet(run, "start", last_ms + 1, settings()))
    assert [denial.rule for denial in late] == ["window"]


def test_a_window_that_is_demanded_and_not_there_is_a_denial() -> None:
    decision = vet(planned(), "plan", NOON, settings(require_window=True))
    assert [denial.rule for denial in denials(decision)] == ["window"]
