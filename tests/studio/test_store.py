"""The studio's database, jobs and annotations, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import ValidationError
from tests.studio.conftest import needs_studio

from deeptrace.errors import SettingsError

sa = needs_studio()

from deeptrace.studio.annotations import (  # noqa: E402
    ConflictError,
    Edit,
    EditBody,
    ForeignIdError,
    TraceObject,
    add_edits,
    annotation_of,
)
from deeptrace.studio.database import Database, annotated, clips, edits, jobs, metadata, now  # noqa: E402
from deeptrace.studio.jobs import MOST_ATTEMPTS, Job, Queue, Runner  # noqa: E402


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


def add_clip(database: Database, name: str = "a.mp4") -> int:
    with database.writing() as connection:
        row = {"name": name, "path": f"/{name}", "origin": "folder", "added_at": now()}
        return int(connection.execute(sa.insert(clips).values(**row)).inserted_primary_key[0])


def test_migrations_make_and_remove_exactly_these_tables(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    add_clip(database)
    database.migrate("base")
    assert set(sa.inspect(database.engine).get_table_names()) <= {"alembic_version"}
    database.migrate("head")
    assert set(metadata.tables) <= set(sa.inspect(database.engine).get_table_names())


def test_true_is_no_number() -> None:
    """JSON's `true` is none, wherever seconds or fractions are meant."""
    for wrong in (
        {"id": "e", "object": "a", "active_s": True},
        {"id": "e", "object": "a", "after": {"type": "trace", "onset_s": True}},
        {"id": "e", "object": "a", "after": {"type": "trace", "keys": [{"time_s": True, "box": [0, 0, 0.5, 0.5]}]}},
        {"id": "e", "object": "a", "after": {"type": "trace", "keys": [{"time_s": 0, "box": [0, 0, True, 0.5]}]}},
    ):
        with pytest.raises(ValidationError, match="number"):
            Edit.model_validate(wrong)
    assert Edit.model_validate({"id": "e", "object": "a", "active_s": 1}).active_s == 1.0


def test_a_database_that_is_not_there_is_one_line(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"database postgresql\+psycopg://127\.0\.0\.1:1/none: cannot be used \("):
        Database("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    (tmp_path / "text.sqlite").write_text("This is not a database, but long enough to be looked at as one." * 20)
    with pytest.raises(SettingsError, match="not a database"):
        Database(f"sqlite:///{tmp_path / 'text.sqlite'}")


def test_no_thread_waits_for_a_second_connection_while_it_holds_one(database: Database) -> None:
    for first in (database.reading, database.writing):
        for second in (database.reading, database.writing):
            with first(), pytest.raises(RuntimeError, match="hand that one on"), second():
                pass
    with database.writing() as connection:  # and after all of that there is one to be had
        assert connection.scalar(sa.select(sa.func.count()).select_from(clips)) == 0


def test_each_job_is_leased_once_however_many_ask(database: Database) -> None:
    ids = [add_clip(database, f"{number}.mp4") for number in range(12)]
    queues = [Queue(database) for _ in range(4)]
    queues[0].add(ids, "prepare")
    queues[0].add(ids, "prepare")

    def drain(queue: Queue) -> list[int]:
        found = []
        while (job := queue.lease(["prepare"])) is not None:
            found.append(job.clip_id)
            queue.end(job, None)
        return found

    with ThreadPoolExecutor(4) as threads:
        taken = [clip_id for part in threads.map(drain, queues) for clip_id in part]
    assert sorted(taken) == ids
    assert queues[0].counts() == {"done": 12}


def test_who_waits_comes_first(database: Database) -> None:
    first, second = add_clip(database, "1.mp4"), add_clip(database, "2.mp4")
    queue = Queue(database)
    queue.add([first, second], "detect")
    queue.add([second], "detect", priority=10)
    assert [job.clip_id for _ in range(2) if (job := queue.lease(["detect"]))] == [second, first]
    assert queue.lease(["detect"]) is None


def test_a_job_of_a_server_that_died_is_taken_again_but_not_for_ever(database: Database) -> None:
    clip_id = add_clip(database)
    Queue(database).add([clip_id], "prepare")
    for _ in range(MOST_ATTEMPTS):
        dead = Queue(database, lease_s=1.0)
        assert dead.lease(["prepare"]) is not None
        assert Queue(database).lease(["prepare"]) is None  # it is still another's
        time.sleep(1.1)
    assert Queue(database).lease(["prepare"]) is None
    with database.reading() as connection:
        job = connection.execute(sa.select(jobs)).one()
        clip = connection.execute(sa.select(clips)).one()
    assert job.state == clip.state == "failed"
    assert "ended 3 times" in job.error == clip.error


def test_a_runner_keeps_its_lease_and_gives_back_what_it_cannot_finish(database: Database) -> None:
    clip_id = add_clip(database)
    queue = Queue(database, lease_s=4.0)
    queue.add([clip_id], "detect")
    begun: list[Future[str]] = []

    def begin(_job: Job) -> Future[str]:
        begun.append(Future())
        return begun[-1]

    runner = Runner(queue, ["detect"], begin, lambda _job, said: None if said == "well" else str(said))
    deadline = time.monotonic() + 30
    while not begun and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(4.6)
    assert Queue(database).lease(["detect"]) is None  # longer than a lease, and still its own
    runner.close()
    again = Runner(queue, ["detect"], begin, lambda _job, said: None if said == "well" else str(said))
    while len(begun) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    begun[1].set_result("well")
    while queue.counts() != {"done": 1} and time.monotonic() < deadline:
        time.sleep(0.01)
    again.close()
    assert queue.counts() == {"done": 1}


# -- annotations -------------------------------------------------------------------------------------------------------


def edit(name: str, object_id: str, after: dict[str, Any] | None, before: dict[str, Any] | None = None) -> Edit:
    return Edit.model_validate({"id": name, "object": object_id, "before": before, "after": after})


TRACE = {"type": "trace", "kinds": ["sudden_blurring"], "onset_s": 0.5, "offset_s": 1.0}


def test_edits_are_kept_once_in_order_and_for_ever(database: Database) -> None:
    clip_id = add_clip(database)
    first = EditBody(version=0, edits=[edit("e1", "a", TRACE), edit("e2", "b", TRACE)])
    assert add_edits(database, clip_id, "ann", first)["version"] == 2
    assert add_edits(database, clip_id, "ann", first)["version"] == 2  # the answer was lost, and it was sent again
    longer = EditBody(version=1, edits=[edit("e2", "b", TRACE), edit("e3", "a", None, TRACE)])
    found = add_edits(database, clip_id, "ann", longer)
    assert found["version"] == 3
    assert list(found["objects"]) == ["b"]
    with database.reading() as connection:
        assert list(connection.scalars(sa.select(edits.c.client_id).order_by(edits.c.version))) == ["e1", "e2", "e3"]
        assert annotation_of(connection, clip_id, "ann") == found
        assert annotation_of(connection, clip_id, "bob")["version"] == 0
        assert connection.scalar(sa.select(clips.c.traces)) == 1


def test_nobody_overwrites_what_they_never_saw(database: Database) -> None:
    clip_id = add_clip(database)
    add_edits(database, clip_id, "ann", EditBody(version=0, edits=[edit("e1", "a", TRACE)]))
    add_edits(database, clip_id, "ann", EditBody(version=1, edits=[edit("theirs", "a", TRACE | {"explanation": "x"})]))
    with pytest.raises(ConflictError) as caught:
        add_edits(
            database, clip_id, "ann", EditBody(version=1, edits=[edit("mine", "a", TRACE | {"explanation": "y"})])
        )
    assert caught.value.current["version"] == 2
    assert caught.value.current["objects"]["a"]["explanation"] == "x"
    assert caught.value.yours["a"]["explanation"] == "y"
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(edits)) == 2


def test_an_id_that_belongs_to_another_annotation_is_named_and_nothing_is_kept(database: Database) -> None:
    first, second = add_clip(database), add_clip(database, "b.mp4")
    add_edits(database, first, "ann", EditBody(version=0, edits=[edit("e1", "a", TRACE)]))
    for clip_id, author in ((second, "ann"), (first, "bob")):
        with pytest.raises(ForeignIdError, match="'e1' belongs to another annotation"):
            add_edits(
                database, clip_id, author, EditBody(version=0, edits=[edit("e2", "b", TRACE), edit("e1", "a", None)])
            )
    with database.reading() as connection:
        assert list(connection.scalars(sa.select(edits.c.client_id))) == ["e1"]


def test_of_many_at_once_each_version_is_written_by_one(database: Database) -> None:
    clip_id = add_clip(database)

    def work(person: int) -> int:
        kept = 0
        for number in range(6):
            with database.reading() as connection:
                version = annotation_of(connection, clip_id, "all")["version"]
            body = EditBody(version=version, edits=[edit(f"p{person}-{number}", f"o{person}-{number}", TRACE)])
            try:
                add_edits(database, clip_id, "all", body)
                kept += 1
            except (ConflictError, sa.exc.IntegrityError):
                pass  # said to the one who came second; nothing of it is kept
        return kept

    with ThreadPoolExecutor(4) as threads:
        kept = sum(threads.map(work, range(4)))
    with database.reading() as connection:
        found = connection.execute(sa.select(annotated)).one()
        versions = list(connection.scalars(sa.select(edits.c.version).order_by(edits.c.version)))
    assert found.version == kept == len(found.objects)
    assert versions == list(range(1, kept + 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"onset_s": 2.0, "offset_s": 1.0},
        {"onset_s": -1.0},
        {"keys": [{"time_s": 0, "box": [0.5, 0.5, 0.5, 0.9]}]},
        {"keys": [{"time_s": 0, "box": [0, 0, 1.2, 1]}]},
        {"keys": [{"time_s": 1, "box": [0, 0, 1, 1]}, {"time_s": 1, "box": [0, 0, 1, 1]}]},
        {"kinds": ["a_tenth_kind"]},
        {"onset_s": float("nan")},
        {"surprise": 1},
    ],
)
def test_objects_that_make_no_sense_are_not_kept(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TraceObject.model_validate(TRACE | wrong)


def test_first_edits_of_two_reviewers_at_one_moment_are_a_conflict(database_url: str) -> None:
    database = Database(database_url)
    for turn in range(8):
        clip_id = add_clip(database, f"{turn}.mp4")
        ready, said = threading.Barrier(4), []

        def begin(who: int, clip_id: int = clip_id, ready: Any = ready, said: list[Any] = said) -> None:
            change = {"id": f"{clip_id}-{who}", "object": "clip", "after": {"type": "clip", "label": "FAKE"}}
            body = EditBody.model_validate({"version": 0, "edits": [change]})
            ready.wait()
            try:
                said.append(add_edits(database, clip_id, "=consensus", body)["version"])
            except (ConflictError, sa.exc.SQLAlchemyError) as error:
                said.append(type(error).__name__)

        threads = [threading.Thread(target=begin, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, said)) == ["1"] + ["ConflictError"] * 3
    database.close()
