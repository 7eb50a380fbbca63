"""Runs to look at, made by folding events: a rolling update, plans of any size, hostile words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.spec import ActorSpec, Change, Done, Failed, Found, InDoubt, Predicted, Unexpected
from orchestrator.ledger_values import Recorded
from orchestrator.pure import events as facts
from orchestrator.pure.model import (
    Approval,
    Condition,
    Confirm,
    Decision,
    Denial,
    Hold,
    Lock,
    MissingApproval,
    Obligations,
    Param,
    PinnedActor,
    Plan,
    PlanStep,
    Slot,
    Ticket,
    Timing,
    Wave,
    Window,
)
from orchestrator.pure.run import due, evolve, opened
from orchestrator.pure.window import worst_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.spec import Outcome, Value
    from orchestrator.pure.commands import Act
    from orchestrator.pure.events import Event
    from orchestrator.pure.state import Run

NOW_MS: Final = 1_795_572_000_000  # 2026-11-25 02:00 UTC
HOUR_MS: Final = 3_600_000
HOSTILE: Final = (
    "all [bold red]good[/] \x1b[2J\x1b]0;owned\x07\u202eevil\u202c \u200bhid\u200dden\ufeff "
    "z\u0301\u0301\u0301\u0301\u0301 \U000e0041 line\r\nbreak \x9b31m 漢字 ok"
)
DIFF: Final = (
    "--- /etc/nginx/nginx.conf\n+++ /etc/nginx/nginx.conf\n@@ -1,3 +1,3 @@\n"
    " worker_processes auto;\n-ssl_protocols TLSv1.1 TLSv1.2;\n+ssl_protocols TLSv1.2 TLSv1.3;\n"
)


def spec(name: str, **more: Any) -> ActorSpec:
    """Make an actor that is harmless unless it is told otherwise."""
    return ActorSpec.model_validate(
        {
            "name": name,
            "version": "1.4.0",
            "kind": "rehearsal",
            "summary": "Does one thing.",
            "when_to_use": "In a test.",
            "when_not_to_use": "Elsewhere.",
            "effect": "change",
            "idempotent": True,
            "undo": "full",
            "dry_run": "predicted",
            **more,
        }
    )


SNAPSHOT: Final = spec(
    "vm.snapshot",
    outputs={
        "size_gib": {"type": "integer", "summary": "How much.", "minimum": 0, "maximum": 9999}
    },
)
DRAIN: Final = spec("loadbalancer.drain", disturbs=True)
UPGRADE: Final = spec(
    "apt.upgrade",
    undo="partial",
    retries={"maximum": 2, "backoff_s": 20, "factor": 2},
    failure_modes=({"name": "mirror_down", "summary": "The mirror is down.", "retry": True},),
    timeouts={"apply_s": 600, "expected_s": 120},
)
CHECK: Final = spec("http.probe", effect="read", undo="none", dry_run="none")
DROP: Final = spec(
    "storage.drop_volume", effect="destroy", undo="none", point_of_no_return=True, idempotent=False
)


def pinned(*specs: ActorSpec) -> dict[str, PinnedActor]:
    """Pin actors by made-up digests."""
    return {
        one.name: PinnedActor(spec=one, digest=f"{n:x}" * 64) for n, one in enumerate(specs, 10)
    }


def plan_of(steps: Iterable[PlanStep], **more: Any) -> Plan:
    """Make a plan; unless they are given, its times are those that it comes to."""
    fields: dict[str, Any] = {
        "ticket_digest": "1" * 64,
        "environment": "production",
        "catalog_digest": "2" * 64,
        "inventory_digest": "3" * 64,
        "actors": pinned(SNAPSHOT, DRAIN, UPGRADE, CHECK, DROP),
        "steps": tuple(steps),
        "window": Window(start_ms=NOW_MS, end_ms=NOW_MS + 6 * HOUR_MS),
        "on_window_close": "go_back",
        "max_parallel": 4,
        "timing": Timing(forward_s=0, rollback_s=0),
        **more,
    }
    plan = Plan(**fields)
    if "timing" in more:
        return plan
    return plan.model_copy(update={"timing": worst_case(plan, plan.max_parallel)})


def web_tier() -> Plan:
    """Make a rolling update with a question, a hold, and a point of no return at its end."""
    steps = [
        PlanStep(
            id="snapshot",
            actor="vm.snapshot",
            params=(Param(name="keep_days", value=7, source="default"),),
            targets=("db-01",),
        )
    ]
    for number in (1, 2, 3):
        slot, targets = (
            Slot(wave="web", slice=number),
            (f"web-{2 * number - 1:02}", f"web-{2 * number:02}"),
        )
        steps += [
            PlanStep(
                id=f"drain@{number}",
                actor="loadbalancer.drain",
                targets=targets,
                after=("snapshot",),
                slot=slot,
            ),
            PlanStep(
                id=f"upgrade@{number}",
                actor="apt.upgrade",
                params=(
                    Param(name="package", value="openssl", source="ticket"),
                    Param(name="version", value="3.0.17-1~deb12u3", source="draft"),
                ),
                targets=targets,
                after=(f"drain@{number}",),
                slot=slot,
            ),
            PlanStep(
                id=f"probe@{number}",
                actor="http.probe",
                targets=targets,
                after=(f"upgrade@{number}",),
                slot=slot,
            ),
        ]
    last = tuple(f"probe@{number}" for number in (1, 2, 3))
    steps += [
        PlanStep(
            id="sure",
            actor="interlock.confirm",
            after=last,
            gate=Confirm(
                question="How many web servers answer with the new version?", expected="6"
            ),
        ),
        PlanStep(
            id="quiet",
            actor="interlock.hold",
            after=("sure",),
            gate=Hold(until_ms=NOW_MS + 2 * HOUR_MS),
        ),
        PlanStep(
            id="drop-old",
            actor="storage.drop_volume",
            params=(Param(name="size_gib", output="snapshot.size_gib", source="output"),),
            targets=("db-01",),
            after=("quiet",),
            when=Condition(output="snapshot.size_gib", op=">", value=100),
        ),
    ]
    locks = (
        Lock(resource="host:db-01", mode="exclusive"),
        Lock(resource="host:lb-01/pool", mode="shared"),
    )
    return plan_of(steps, waves=(Wave(id="web", slices=3, stop_after=2),), locks=locks)


def wide(number: int) -> Plan:
    """Make as many equal steps as are asked for, between a first and a last one."""
    actors = pinned(SNAPSHOT, UPGRADE, CHECK)
    middle = [
        PlanStep(
            id=f"upgrade-{n}",
            actor="apt.upgrade",
            params=(Param(name="package", value=f"package-{n % 7}", source="draft"),),
            targets=(f"node-{n:06}",),
            after=("snapshot",),
        )
        for n in range(number - 2)
    ]
    first = PlanStep(id="snapshot", actor="vm.snapshot", targets=("db-01",))
    last = PlanStep(id="probe", actor="http.probe", after=tuple(step.id for step in middle))
    timing = Timing(forward_s=39 * number, rollback_s=8 * number)
    steps = [first, *middle, last]
    return plan_of(steps, actors=actors, max_parallel=50, window=None, timing=timing)


def rolling(slices: int) -> Plan:
    """Make a wave of many slices with two steps each."""
    steps = []
    for number in range(1, slices + 1):
        slot, targets = Slot(wave="fleet", slice=number), (f"node-{number:05}",)
        steps += [
            PlanStep(id=f"drain@{number}", actor="loadbalancer.drain", targets=targets, slot=slot),
            PlanStep(
                id=f"upgrade@{number}",
                actor="apt.upgrade",
                targets=targets,
                after=(f"drain@{number}",),
                slot=slot,
            ),
        ]
    return plan_of(
        steps,
        actors=pinned(DRAIN, UPGRADE),
        waves=(Wave(id="fleet", slices=slices, stop_after=3),),
        window=None,
        timing=Timing(forward_s=2_300 * slices, rollback_s=720 * slices),
    )


def crossing() -> Plan:
    """Make steps whose order is not a chain: forks, joins, and two that nobody waits for."""
    order = {"a": "", "b": "a", "c": "a", "d": "b c", "e": "", "f": "e c", "g": "a", "h": "d f"}
    steps = [
        PlanStep(id=name, actor="vm.snapshot", targets=(f"{name}-1",), after=tuple(after.split()))
        for name, after in order.items()
    ]
    return plan_of(steps, actors=pinned(SNAPSHOT))


def ticket(
    title: str = "Upgrade openssl on the web tier", request: str = "Please upgrade openssl."
) -> Ticket:
    """Make a ticket."""
    return Ticket(
        id="CHG-1042",
        title=title,
        request=request,
        environment="production",
        requester="ada",
        ticket_class="normal",
        risk="high",
        targets=("@web", "db-01"),
    )


class Story:
    """A run, the events that made it, and a clock that the test turns."""

    def __init__(self, about: Ticket | None = None, *, agent: bool = False) -> None:
        self.now_ms = NOW_MS - HOUR_MS
        first = facts.Opened(
            at_ms=self.now_ms,
            ticket=about or ticket(),
            ticket_digest="1" * 64,
            by="ada",
            agent=agent,
        )
        self.run = opened("CHG-1042-1", first)
        self.recorded = [self._record(first)]

    def tell(self, *happened: Event) -> Story:
        """Fold facts."""
        for event in happened:
            self.run = evolve(self.run, event)
            self.recorded.append(self._record(event))
        return self

    def planned(self, plan: Plan) -> Story:
        """Give it a plan."""
        return self.tell(facts.Planned(at_ms=self.now_ms, plan=plan, plan_digest="d" * 64))

    def vetted(self, **more: Any) -> Story:
        """Give it policy's answer."""
        fields: dict[str, Any] = {
            "outcome": "allow",
            "engine": "opa 1.10.0",
            "policy_digest": "4" * 64,
            "input_digest": "5" * 64,
            **more,
        }
        return self.tell(
            facts.Vetted(at_ms=self.now_ms, plan_digest="d" * 64, decision=Decision(**fields))
        )

    def waiting(self) -> Story:
        """Let policy want an approval."""
        return self.vetted(
            warnings=(Denial(rule="window.weekday", message="The window is on a weekday."),),
            missing=(MissingApproval(role="change_manager", count=1),),
            obligations=Obligations(max_parallel=2),
        )

    def approved(self, principal: str = "grace") -> Story:
        """Let a person consent, and policy be content."""
        given = Approval(
            principal=principal,
            role="change_manager",
            run=self.run.id,
            environment="production",
            plan_digest="d" * 64,
            nonce="0" * 32,
            issued_ms=self.now_ms,
            expires_ms=self.now_ms + 24 * HOUR_MS,
            method="sshsig",
            signature="x",
        )
        return self.tell(facts.Approved(at_ms=self.now_ms, approval=given)).vetted()

    def started(self) -> Story:
        """Let it act."""
        self.now_ms = max(self.now_ms, NOW_MS)
        start = facts.StartRequested(at_ms=self.now_ms, by="ada", plan_digest="d" * 64)
        return self.tell(start).vetted()

    def act(
        self,
        outcome: Callable[[Act], Outcome | None],
        *,
        rounds: int = 1,
        takes_ms: int = 30_000,
        watch: Callable[[Run, list[Event]], None] | None = None,
    ) -> Story:
        """Begin all that is due, and let each report; an act without an outcome stays under way."""
        for _ in range(rounds):
            acts: list[Act] = [c for c in due(self.run, self.now_ms) if hasattr(c, "verb")]  # type: ignore[misc]  # told by its field
            begun: list[Event] = [
                facts.ActStarted(at_ms=self.now_ms, step=a.step, verb=a.verb, attempt=a.attempt)
                for a in acts
            ]
            self.tell(*begun)
            self.now_ms += takes_ms
            reports: list[Event] = [
                facts.ActFinished(
                    at_ms=self.now_ms, step=a.step, verb=a.verb, attempt=a.attempt, outcome=said
                )
                for a in acts
                if (said := outcome(a)) is not None
            ]
            self.tell(*reports)
            if watch is not None:
                watch(self.run, [*begun, *reports])
        return self

    def _record(self, event: Event) -> Recorded:
        seq = len(getattr(self, "recorded", ())) + 1
        return Recorded("CHG-1042-1", seq, 1, event, f"{seq:064x}")


def done(act: Act) -> Outcome:
    """Let everything succeed."""
    if act.verb == "check":
        return Predicted(grade="predicted")
    outputs: dict[str, Value] = {"size_gib": 120} if act.step == "snapshot" else {}
    return Done(outputs=outputs) if act.verb != "verify" else Found(state="applied")


def checked(act: Act) -> Outcome:
    """Predict in three grades."""
    if act.step.startswith("upgrade"):
        changes = tuple(
            Change(target=name, summary="openssl 3.0.15 → 3.0.17", diff=DIFF)
            for name in ("web-01", "web-02")
        )
        return Predicted(grade="predicted", changes=changes)
    if act.step.startswith("drain"):
        return Predicted(
            grade="partial",
            changes=(Change(target=None, summary="leaves the pool"),),
            message="connections that are open cannot be counted",
        )
    return Predicted(grade="predicted")


def broken(act: Act) -> Outcome:
    """Let the second upgrade meet something that nobody foresaw."""
    return (
        Unexpected(message="dpkg was interrupted by another process")
        if act.step == "upgrade@2"
        else done(act)
    )


def flaky(act: Act) -> Outcome:
    """Let the first upgrades fail in a way that is retried, and a probe stay in doubt."""
    if act.step == "upgrade@1" and act.attempt == 1:
        return Failed(mode="mirror_down", message=HOSTILE)
    return InDoubt(message="the connection was lost") if act.verb == "verify" else done(act)
