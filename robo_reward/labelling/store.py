"""A store of all answers of all people in one database, SQLite or PostgreSQL. It is append-only."""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event as events
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from robo_reward.errors import MissingExtra, RoboRewardError, UsageError
from robo_reward.labelling.answers import NAME_LIMIT, Answer, BadAnswer, is_text, new_uuid, utc_now

SCHEMA = 1
FILE = "preferences.db"
BUSY_SECONDS = 60.0
UNDO = "undo"

_tables = sa.MetaData()
_meta = sa.Table(
    "preference_meta",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_clips = sa.Table(
    "preference_clips",
    _tables,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("meta", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
)
_answers = sa.Table(
    "preference_answers",
    _tables,
    # SQLite increments automatically only in a column of exactly this type.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text, nullable=False, index=True),
    sa.Column("undoes", sa.Text, nullable=False, index=True),
    sa.Column("content", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)


class SchemaMismatch(UsageError):
    """The database was written by another version of this project."""

    def __init__(self, where: str, found: str) -> None:
        newer = found.isdigit() and int(found) > SCHEMA
        remedy = "update robo-reward" if newer else "export it with the version that wrote it and import that here"
        super().__init__(f"{where} holds preferences of schema version {found}, this is {SCHEMA}: {remedy}")


class StoreError(RoboRewardError):
    """A database error; the message ends with the database's own message."""


@dataclass(frozen=True)
class Clip:
    """A clip as recorded in the store.

    Args:
        id: the hash of its content, or its key in an `EpisodeStore`.
        path: path of the video or the episode store.
        meta: JSON metadata: name, task, length, source.
    """

    id: str
    path: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Undo:
    """The withdrawal of one answer; the answer itself stays in the store.

    Args:
        undoes: uuid of the answer.
        annotator: name of the person who withdraws it.
        uuid: of the undo itself.
        created: UTC, ISO 8601.
    """

    undoes: str
    annotator: str
    uuid: str = field(default_factory=new_uuid)
    created: str = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        for value in (self.undoes, self.annotator, self.uuid, self.created):
            if not is_text(value, NAME_LIMIT) or not value:
                raise BadAnswer(f"{str(value)[:40]!r} is not text of 1 to 64 characters, which an undo needs")

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value; its kind distinguishes it from an answer."""
        named = ("uuid", "annotator", "undoes", "created")
        return {"kind": UNDO, **{name: getattr(self, name) for name in named}}


Event = Answer | Undo


def event_from_json(value: Mapping[str, Any]) -> Event:
    """Restores an answer or an undo from its JSON value.

    Raises:
        BadAnswer: the value is neither.
    """
    if not isinstance(value, Mapping):
        raise BadAnswer(f"{str(value)[:40]!r} is not a valid answer")
    if value.get("kind") != UNDO:
        return Answer.from_json(value)
    try:
        return Undo(**{name: item for name, item in value.items() if name != "kind"})
    except TypeError as error:
        raise BadAnswer(f"not a valid undo: {error}") from error


class PreferenceStore:
    """A store of answers and of the clips that they are about.

    When `add` returns, the events are on disk: they survive a crash of the process and, if the disk honours
    flushes, of the machine. Any number of threads and processes may add at once. Withdrawing an answer adds a row.

    Args:
        where: a file of SQLite's (`NAME.db`, created if necessary), a folder (`preferences.db` in it), or a URL
            such as `postgresql://user:password@host/database`.

    Raises:
        SchemaMismatch: the database was written by another version.
        MissingExtra: PostgreSQL's driver is not installed.
        UsageError: the database does not exist, or belongs to another program.
    """

    def __init__(self, where: Path | str) -> None:
        self._url = _parse_url(where)
        self.where = self._url.render_as_string(hide_password=True) if "://" in str(where) else str(self._url.database)
        self._engine = _create_engine(self._url)
        weakref.finalize(self, self._engine.dispose)  # closes the connections even without `close`
        with self._translate_errors(UsageError):  # wrong file, address or password
            self._create_tables()

    def add(self, *events: Event) -> int:
        """Records answers and undos in one transaction; returns the number of new ones.

        Those already in the store are left unchanged.

        Raises:
            BadAnswer: a uuid already belongs to another answer.
        """
        if not events:
            return 0
        rows = [_event_to_row(event) for event in events]
        with self._write_transaction() as connection:
            insert = (
                self._insert_into(_answers).on_conflict_do_nothing(index_elements=["uuid"]).returning(_answers.c.seq)
            )
            new = sum(connection.execute(insert, row).first() is not None for row in rows)
            if new < len(rows):
                self._check_same_content(connection, rows)
        return new

    def undo_answer(self, answer: str, annotator: str) -> Undo:
        """Withdraws an answer.

        Args:
            answer: uuid of the answer.
            annotator: name of the person who withdraws it.

        Raises:
            UsageError: there is no such answer.
        """
        if answer not in {known.uuid for known in self.load_answers()}:
            raise UsageError(f"no answer {answer!r} in {self.where}, or it was undone already")
        undo = Undo(answer, annotator)
        self.add(undo)
        return undo

    def load_answers(self, annotator: str = "") -> list[Answer]:
        """Returns the answers that were not withdrawn, in recorded order.

        If a name is given, only the answers of this person are returned.
        """
        undone = sa.select(_answers.c.undoes).where(_answers.c.kind == UNDO)
        query = sa.select(_answers.c.content).where(_answers.c.kind != UNDO, _answers.c.uuid.not_in(undone))
        return [Answer.from_json(json.loads(text)) for text in self._fetch_column(_filter_annotator(query, annotator))]

    def load_history(self, annotator: str = "") -> list[Event]:
        """Returns all events, including withdrawn answers and undos, in recorded order."""
        return [
            event_from_json(json.loads(text))
            for text in self._fetch_column(_filter_annotator(sa.select(_answers.c.content), annotator))
        ]

    def list_annotators(self) -> tuple[str, ...]:
        """Returns the names of all people who ever answered, sorted."""
        return tuple(sorted(self._fetch_column(sa.select(_answers.c.annotator).distinct())))

    def __len__(self) -> int:
        """Returns the number of answers that were not withdrawn."""
        undone = sa.select(_answers.c.undoes).where(_answers.c.kind == UNDO)
        query = sa.select(sa.func.count()).where(_answers.c.kind != UNDO, _answers.c.uuid.not_in(undone))
        return int(self._fetch_column(query)[0])

    def add_clips(self, clips: Iterable[Clip]) -> None:
        """Records clips; the path and metadata of a clip that is already there are updated."""
        insert = self._insert_into(_clips)
        newer = {name: insert.excluded[name] for name in ("path", "meta")}
        statement = insert.on_conflict_do_update(index_elements=["id"], set_=newer)
        rows = [
            {"id": clip.id, "path": clip.path, "meta": _dump_json(dict(clip.meta)), "created": utc_now()}
            for clip in sorted(clips, key=lambda clip: clip.id)  # a fixed order prevents deadlocks
        ]
        if rows:
            with self._write_transaction() as connection:
                connection.execute(statement, rows)

    def load_clips(self) -> dict[str, Clip]:
        """Returns all clips by id."""
        query = sa.select(_clips.c.id, _clips.c.path, _clips.c.meta).order_by(_clips.c.id)
        with self._translate_errors(), self._engine.connect() as connection:
            return {key: Clip(key, path, json.loads(meta)) for key, path, meta in connection.execute(query)}

    def close(self) -> None:
        """Closes idle connections; the store may be used again."""
        self._engine.dispose()

    def __enter__(self) -> PreferenceStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _insert_into(self, table: sa.Table) -> Any:
        return (postgresql if self._engine.dialect.name == "postgresql" else sqlite).insert(table)

    def _fetch_column(self, query: sa.Select[Any]) -> list[Any]:
        with self._translate_errors(), self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def _check_same_content(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        wanted = {row["uuid"]: row for row in rows}
        query = sa.select(_answers.c.uuid, _answers.c.content).where(_answers.c.uuid.in_(list(wanted)))
        for uuid, content in connection.execute(query):
            if _comparable_content(content) != _comparable_content(wanted[uuid]["content"]):
                raise BadAnswer(f"uuid {uuid!r} is that of another answer in {self.where}; make a new one per answer")

    def _create_tables(self) -> None:
        with self._begin_immediate() as connection:
            if self._engine.dialect.name == "postgresql":  # CREATE … IF NOT EXISTS is not safe in parallel
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('preference_meta'))"))
            names = set(sa.inspect(connection).get_table_names())
            if names and _meta.name not in names and self._engine.dialect.name == "sqlite":
                raise UsageError(
                    f"{self.where} is a database of another program (tables "
                    f"{', '.join(sorted(names)[:4])}); give another file"
                )
            if _meta.name not in names:
                _tables.create_all(connection)
                connection.execute(_meta.insert(), {"key": "schema", "value": str(SCHEMA)})
            found = connection.execute(sa.select(_meta.c.value).where(_meta.c.key == "schema")).scalar() or "unknown"
        if found != str(SCHEMA):
            raise SchemaMismatch(self.where, found)

    @contextmanager
    def _write_transaction(self) -> Iterator[sa.Connection]:
        """Opens a transaction that holds the write lock from its start.

        It waits for others and never fails half-way.
        """
        with self._translate_errors(), self._begin_immediate() as connection:
            yield connection

    def _begin_immediate(self) -> AbstractContextManager[sa.Connection]:
        return self._engine.execution_options(immediate=True).begin()

    @contextmanager
    def _translate_errors(self, kind: type[RoboRewardError] = StoreError) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            first = (said.strip().splitlines() or ["nothing"])[0]
            raise kind(f"preferences in {self.where}: {first}") from error


def _parse_url(where: Path | str) -> sa.URL:
    text = str(where)
    if "://" not in text:
        path = Path(text).expanduser()
        if not path.suffix and not path.exists():
            raise UsageError(
                f"no folder or file {path} for preferences; make the folder, or give a file such as {path}.db"
            )
        path = path / FILE if path.is_dir() else path
        if not path.parent.is_dir():
            raise UsageError(f"no folder {path.parent} for the preferences {path.name}; make it first")
        return sa.URL.create("sqlite", database=str(path))
    try:
        url = sa.make_url(text)
    except (SQLAlchemyError, ValueError) as error:
        raise UsageError(f"preferences={text.split('@')[-1]!r} is not a database URL: {error}") from error
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return sa.URL.create("sqlite", database=url.database)
    raise UsageError(f"preferences in {url.get_backend_name()!r}: give a file, or a URL postgresql://…")


def _create_engine(url: sa.URL) -> sa.Engine:
    if url.drivername == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None})
        events.listen(engine, "connect", _prepare_sqlite)
        events.listen(engine, "begin", _begin_sqlite)
    else:
        try:
            engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
        except ModuleNotFoundError:
            raise MissingExtra("psycopg", "postgres", "a store in PostgreSQL") from None
    _engines.add(engine)
    return engine


_engines: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _forget_connections() -> None:
    """Discards the connections of a forked child: they belong to its parent."""
    for engine in _engines:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


def _prepare_sqlite(connection: Any, record: object) -> None:
    """Enables write-ahead logging (readers beside one writer) and full synchronisation to disk."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except connection.OperationalError as error:
            # Changing the mode does not wait for other connections, even with a timeout.
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _filter_annotator(query: sa.Select[Any], annotator: str) -> sa.Select[Any]:
    return (query.where(_answers.c.annotator == annotator) if annotator else query).order_by(_answers.c.seq)


def _event_to_row(event: Event) -> dict[str, Any]:
    undo = isinstance(event, Undo)
    return {
        "uuid": event.uuid,
        "kind": UNDO if undo else event.kind,
        "annotator": event.annotator,
        "undoes": event.undoes if undo else "",
        "content": _dump_json(event.to_json()),
    }


def _dump_json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"a value cannot be stored because it is not JSON: {error}") from error


def _comparable_content(content: str) -> dict[str, Any]:
    """Returns the content without the fields that may differ when the same event is sent twice."""
    return {name: item for name, item in json.loads(content).items() if name not in ("created", "provenance")}
