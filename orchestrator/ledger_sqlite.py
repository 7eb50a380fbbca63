"""How the ledger speaks to SQLite: the only file that knows apsw.

1. Every connection is durable before anything else: WAL, synchronous=FULL, a WAL file that is kept.
2. apsw's errors become ours here. What may be a broken file is Corrupted, never "try again".
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import apsw

from orchestrator import ledger_schema as tables
from orchestrator.errors import Corrupted, InterlockError, InvalidInput, Unavailable
from orchestrator.ledger_files import network_filesystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "Connection",
    "Cursor",
    "Machine",
    "SqliteError",
    "build",
    "close",
    "connect",
    "corrupted",
    "explained",
    "explaining",
    "fetched",
    "refuse_altered",
    "refuse_damaged",
    "refuse_foreign",
    "refuse_machine",
    "transaction",
    "undo",
]

Connection = apsw.Connection
Cursor = apsw.Cursor
SqliteError = apsw.Error
OLDEST_SQLITE: Final = (3, 51, 3)
WHOLE_BYTES: Final = 64 << 20
"""Up to here a file is checked as a whole whenever it is opened, in less than a tenth of a second;
a larger one when a driver is going to write."""
_BROKEN: Final = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.SQLError,
    apsw.ConstraintError,
    apsw.MismatchError,
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a ledger stands on; tests put something worse in its place."""

    sqlite: str = apsw.sqlite_lib_version()
    filesystem: Callable[[Path], str | None] = network_filesystem
    vfs: str | None = None
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    wal_bytes: int = 4 << 20
    checkpoint_pages: int = 1000  # fit into the WAL's bytes, with their headers
    busy_ms: int = 10_000


def refuse_machine(machine: Machine, folder: Path) -> None:
    """Refuse a SQLite or a file system on which the ledger could not keep its promises."""
    version = tuple(int(part) for part in machine.sqlite.split("."))
    if version < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise InvalidInput(
            f"SQLite {machine.sqlite} can damage a ledger while two processes write to it",
            next_step=f"install an apsw that brings SQLite {wanted} or later",
        )
    network = machine.filesystem(folder)
    if network is not None:
        raise InvalidInput(
            f"{folder} lies on a shared file system ({network}), where a ledger is not safe",
            next_step="keep the workspace's .interlock folder on a local disk",
        )


def connect(path: Path, machine: Machine) -> Connection:
    """Open a connection that keeps what it commits."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=machine.vfs)
    try:
        connection.set_busy_timeout(machine.busy_ms)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        keep = ctypes.c_int(1)
        connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(keep))
        connection.execute(f"PRAGMA synchronous = {machine.synchronous}")
        connection.execute("PRAGMA fullfsync = 1")  # macOS: fsync alone does not reach the disk
        connection.execute("PRAGMA checkpoint_fullfsync = 1")
        connection.execute(f"PRAGMA wal_autocheckpoint = {machine.checkpoint_pages}")
    except BaseException:
        connection.close()
        raise
    return connection


def build(path: Path, machine: Machine) -> None:
    """Fill an empty file with the tables of a ledger."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=machine.vfs)
    try:
        connection.execute(f"PRAGMA page_size = {tables.PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        with transaction(connection) as cursor:
            cursor.execute(f"PRAGMA application_id = {tables.APPLICATION_ID}")
            cursor.execute(f"PRAGMA user_version = {tables.FORMAT}")
            for statement in tables.SCHEMA:
                cursor.execute(statement)
    finally:
        connection.close()


def refuse_foreign(connection: Connection, path: Path) -> None:
    """Refuse a file that is not a ledger, is from a newer version, or is visibly damaged."""
    if connection.pragma("application_id") != tables.APPLICATION_ID:
        raise corrupted(path, "it is not a ledger")
    version = connection.pragma("user_version")
    if version != tables.FORMAT:
        raise InvalidInput(
            f"{path} has ledger format {version}; this version reads format {tables.FORMAT}",
            next_step="use the version of Interlock that wrote it, or a newer one",
        )
    if connection.pragma("journal_mode") != "wal":
        raise corrupted(path, "its journal mode was changed")
    size = connection.pragma("page_count") * connection.pragma("page_size")
    if size <= WHOLE_BYTES:
        refuse_damaged(connection, path)
        return
    problem = connection.execute("PRAGMA quick_check('runs')").get
    if problem != "ok":
        raise corrupted(path, str(problem))


def refuse_damaged(connection: Connection, path: Path) -> None:
    """Refuse a file of which any page, table or index does not fit the others."""
    problems = fetched(connection, "PRAGMA integrity_check(5)")
    if problems != [("ok",)]:
        raise corrupted(path, "; ".join(text for (text,) in problems))


def refuse_altered(connection: Connection, path: Path) -> None:
    """Refuse to write where tables or triggers are not the ledger's; reading still verifies."""
    found = {sql for (sql,) in fetched(connection, tables.SCHEMA_NOW)}
    found.discard("CREATE TABLE sqlite_sequence(name,seq)")
    if found != set(tables.SCHEMA):
        raise corrupted(path, "its tables or triggers were altered")


def fetched(
    connection: Connection, sql: str, *bindings: int | str | bytes
) -> list[tuple[Any, ...]]:
    """Return all rows of an answer; the statement, and with it the snapshot, is over."""
    return connection.execute(sql, bindings).fetchall()


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """Write all or nothing; other writers wait meanwhile."""
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        yield cursor
        cursor.execute("COMMIT")
    except BaseException:
        undo(connection)
        raise


def undo(connection: Connection) -> None:
    """Leave a transaction that did not end well; SQLite may have left it already."""
    if connection.in_transaction:
        with suppress(apsw.Error):  # the connection is not used again after that
            connection.execute("ROLLBACK")


def close(connection: Connection) -> None:
    """Close; a checkpoint that fails now loses nothing, for the WAL holds all that was promised."""
    with suppress(apsw.Error):
        connection.close()


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except apsw.Error as error:
        raise explained(error, path) from error


def explained(error: Exception, path: Path) -> InterlockError:
    """Say what an error of SQLite or of the operating system means for a ledger."""
    if isinstance(error, _BROKEN):
        return corrupted(path, str(error))
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return Unavailable(
            f"the ledger {path} is locked by another process",
            next_step="look for a stopped or stuck interlock process, then try again",
            details=(str(error),),
        )
    if isinstance(error, apsw.FullError):
        return Unavailable(
            f"the disk under the ledger {path} is full",
            next_step="free some space and read the run again: its last record may be there or not",
            details=(str(error),),
        )
    return Unavailable(
        f"the ledger {path} cannot be read or written: {error}",
        next_step="check the disk and the file's permissions, then read the run again",
    )


def corrupted(path: Path, why: str) -> Corrupted:
    """Say that the file itself is not to be trusted."""
    return Corrupted(
        f"the ledger {path} is damaged: {why}",
        next_step="stop; keep the file as it is, and restore a backup beside it",
    )
