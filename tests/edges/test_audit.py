"""The verifier: an export verifies, whatever was altered does not, and nothing makes it fail."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edges.ledger_samples import acting, opened, running, step_events
from orchestrator import audit
from orchestrator.audit import Anchor, Report, export, main, read_anchor, verify
from orchestrator.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give the export of a run of eight records that follows another run."""
    path = tmp_path_factory.mktemp("w") / "ledger.db"
    with Ledger.open(path, create=True) as ledger:
        ledger.open_run(opened("CHG-0"), acting)
        run = ledger.open_run(opened(), acting)
        for turn in range(3):
            with ledger.writer(run, "me") as writer:
                writer.append(step_events(turn, at_ms=2_000 + turn), running(turn))
        with ledger.writer(run, "me") as writer:
            writer.append(step_events(9, at_ms=9_000)[:1], running(9))
        out = io.BytesIO()
        assert export(ledger, run, out) == 8
    return out.getvalue()


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Report]:
    def check(content: bytes, *anchors: Anchor) -> Report:
        path = tmp_path / "run.jsonl"
        path.write_bytes(content)
        return verify(path, anchors)

    return check


def test_an_export_verifies(sample: bytes, check: Callable[..., Report]) -> None:
    report = check(sample)
    assert report.ok, report.problem
    assert (report.run, report.events, report.position) == ("CHG-1.1", 8, None)
    assert report.head == json.loads(sample.splitlines()[0])["head"]
    assert report.after.startswith("CHG-0.1:1:")


def test_an_export_holds_the_very_bytes_of_the_ledger(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", create=True) as ledger:
        run = ledger.open_run(opened(), acting)
        out = io.BytesIO()
        export(ledger, run, out)
        raw = next(ledger.read_raw(run))
    assert raw.envelope in out.getvalue()
    assert raw.event in raw.envelope


def test_every_flipped_bit_is_found(sample: bytes, check: Callable[..., Report]) -> None:
    accepted = []
    for place in range(len(sample)):
        for bit in range(8):
            altered = bytearray(sample)
            altered[place] ^= 1 << bit
            if check(bytes(altered)).ok:
                accepted.append((place, bit))
    assert accepted == []


def _lines(sample: bytes) -> list[bytes]:
    return sample.splitlines(keepends=True)


def test_a_deleted_record_is_found_in_its_place(
    sample: bytes, check: Callable[..., Report]
) -> None:
    for place in range(1, 9):
        lines = _lines(sample)
        del lines[place]
        report = check(b"".join(lines))
        assert (report.ok, report.position) == (False, place + 1)


def test_an_inserted_record_is_found_in_its_place(
    sample: bytes, check: Callable[..., Report]
) -> None:
    for place in range(1, 10):
        lines = _lines(sample)
        lines.insert(place, lines[3])
        report = check(b"".join(lines))
        assert not report.ok
        # Before its own place the copy is the intruder; behind it, the line that follows.
        assert report.position == (place + 1 if place != 3 else 5)


def test_reordered_records_are_found_in_their_place(
    sample: bytes, check: Callable[..., Report]
) -> None:
    for place in range(1, 8):
        lines = _lines(sample)
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
        report = check(b"".join(lines))
        assert (report.ok, report.position) == (False, place + 1)


def test_a_file_cut_at_any_byte_is_found(sample: bytes, check: Callable[..., Report]) -> None:
    assert not any(check(sample[:size]).ok for size in range(len(sample)))


def test_a_truncation_with_a_rewritten_header_is_found_against_an_anchor_only(
    sample: bytes, check: Callable[..., Report]
) -> None:
    whole = check(sample)
    lines = _lines(sample)[:-1]
    last = json.loads(lines[-1])["hash"]
    lines[0] = (
        lines[0].replace(b'"events":8', b'"events":7').replace(whole.head.encode(), last.encode())
    )
    cut = b"".join(lines)
    assert check(cut).ok
    report = check(cut, Anchor(8, whole.head))
    assert not report.ok
    assert "an anchor names record 8; the file ends before it" in report.problem
    assert check(sample, Anchor(8, whole.head), Anchor(7, last)).anchored == 8


def test_an_anchor_elsewhere_than_in_the_chain_is_found(
    sample: bytes, check: Callable[..., Report]
) -> None:
    report = check(sample, Anchor(3, "0" * 64))
    assert (report.ok, report.position) == (False, 4)
    assert "record 3 is not the one that the anchor names" in report.problem


def _forged(*envelopes: str, run: str = "CHG-1.1") -> bytes:
    """Build a file whose hashes are all right."""
    head, lines = sha256(bytes(32) + run.encode()).digest(), []
    for envelope in envelopes:
        head = sha256(head + envelope.encode()).digest()
        lines.append(f'{{"hash":"{head.hex()}","envelope":{envelope}}}\n')
    header = {"format": audit.FORMAT, "run": run, "events": len(envelopes), "head": head.hex()}
    return (json.dumps(header, separators=(",", ":")) + "\n" + "".join(lines)).encode()


def _envelope(seq: int, *, at_ms: int = 5, epoch: int = 1, run: str = "CHG-1.1") -> str:
    event = f'{{"at_ms":{at_ms}}}'
    return f'{{"at_ms":{at_ms},"epoch":{epoch},"event":{event},"run":"{run}","seq":{seq}}}'


@pytest.mark.parametrize(
    ("envelopes", "why"),
    [
        ([_envelope(1), _envelope(2, epoch=0)], "record 2 goes back from epoch 1 to 0"),
        ([_envelope(1), _envelope(2, at_ms=4)], "record 2 goes back in time"),
        ([_envelope(1), _envelope(3)], "record 2 says that it belongs elsewhere"),
        ([_envelope(1, run="CHG-1.2")], "record 1 says that it belongs elsewhere"),
        ([_envelope(1).replace('"seq":1', '"seq":true')], "says that it belongs elsewhere"),
        ([_envelope(1).replace('"epoch":1', '"epoch":"1"')], "a field of another type"),
        ([_envelope(1).replace('"event":{"at_ms":5}', '"event":{"at_ms":6}')], "two instants"),
        ([_envelope(1).replace('"seq":1', '"seq":1,"seq":1')], "a key stands twice"),
        ([_envelope(1).replace('{"at_ms":5}', '{"at_ms":5,"a":1,"a":2}')], "a key stands twice"),
        ([_envelope(1).replace('"epoch":1', '"epoch":1.0')], "not a whole number"),
        ([_envelope(1).replace('"epoch":1', '"epoch":NaN')], "not a whole number"),
        ([_envelope(1).replace(',"seq"', ',"more":1,"seq"')], "other fields"),
        ([_envelope(1).replace('{"at_ms":5}', "[" * 100_000 + "]" * 100_000)], "not strict JSON"),
        (['{"after":"x",' + _envelope(1)[1:]], "follows something that is no record"),
        (['{"after":5,' + _envelope(1)[1:]], "follows something that is no record"),
        ([_envelope(1), '{"after":"",' + _envelope(2)[1:]], "other fields"),
        ([], "at least one record"),
    ],
)
def test_well_hashed_nonsense_is_refused(
    check: Callable[..., Report], envelopes: list[str], why: str
) -> None:
    assert check(_forged(_envelope(1), _envelope(2))).ok
    report = check(_forged(*envelopes))
    assert not report.ok
    assert why in report.problem


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"run":5}\n',
        b'{"format":"interlock-run-1","run":"CHG-1.1","events":"1","head":""}\n',
        b'{"format":"other","run":"CHG-1.1","events":1,"head":"' + b"0" * 64 + b'"}\n',
        b"9" * 10_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_a_strange_header_is_refused(check: Callable[..., Report], header: bytes) -> None:
    report = check(header)
    assert (report.ok, report.position) == (False, 1)


SETTINGS = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SETTINGS
@given(content=st.binary(max_size=500))
def test_no_bytes_at_all_make_it_fail_or_pass(check: Callable[..., Report], content: bytes) -> None:
    assert not check(content).ok


@SETTINGS
@given(data=st.data())
def test_no_edit_of_an_export_makes_it_fail_or_pass(
    sample: bytes, check: Callable[..., Report], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, min(len(sample), start + 300)))
    put = data.draw(
        st.binary(max_size=50)
        | st.sampled_from(_lines(sample))
        | st.sampled_from([b'"seq":1', b"\n", b"\r\n", b"\x00", b'{"a":', b"[" * 5_000])
    )
    altered = sample[:start] + put + sample[end:]
    assert check(altered).ok == (altered == sample)


def test_the_program_needs_nothing_but_python(sample: bytes, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(sample)
    bad.write_bytes(sample.replace(b'"s1"', b'"s2"'))
    command = [sys.executable, "-I", "-S", audit.__file__]
    verified = subprocess.run([*command, good], check=False, capture_output=True, text=True)
    refused = subprocess.run([*command, bad], check=False, capture_output=True, text=True)
    assert (verified.returncode, refused.returncode) == (0, 8)
    assert verified.stdout.startswith("verifies: run CHG-1.1, 8 records, head ")
    assert "is found only against an anchor" in verified.stdout
    assert refused.stdout.startswith("DOES NOT VERIFY: line ")


def test_the_program_takes_anchors(
    sample: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(sample)
    head = verify(path).head
    assert main([str(path), "--anchor", f"{head}@8"]) == 0
    assert "an anchor vouches for records 1 to 8" in capsys.readouterr().out
    assert main([str(path), "--anchor", f"{head}@7"]) == 8
    with pytest.raises(SystemExit) as asked_wrongly:
        main([str(path), "--anchor", head])
    assert asked_wrongly.value.code == 2
    assert read_anchor("nonsense") is None


def test_of_a_file_that_cannot_be_read_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing"
    for path, why in ((missing, "there is no such file"), (tmp_path, "cannot be read: Is a")):
        with pytest.raises(SystemExit) as asked_wrongly:
            main([str(path)])
        assert asked_wrongly.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert f"{path}: {why}" in said.err
    assert not verify(missing).ok
