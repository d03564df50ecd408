"""Two rounds of annotation and a decision: who annotates which clip, where each stands, how far the rounds agree.

A clip that is assigned is annotated by those alone whom it is assigned to, neither seeing the other's; a reviewer sees
both once both have handed in, and what the reviewer decides is an annotation of its own (`CONSENSUS`) with its own
history. Rounds and decision are edited, versioned and kept as every annotation is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import sqlalchemy as sa

from deeptrace.metrics.agreement import cohen_kappa, grounding_agreement_of
from deeptrace.schema import Media, Sample
from deeptrace.server.responses import RequestError
from deeptrace.studio.accounts import AccountError, Person, Role
from deeptrace.studio.annotations import CONSENSUS, ClipFacts, TraceObject, read_object
from deeptrace.studio.database import Database, annotated, assignments, clips, now, people
from deeptrace.studio.labels import trace_of
from deeptrace.studio.projects import drawn, project_of
from deeptrace.studio.workshop import DATA

__all__ = [
    "State",
    "agreement",
    "assign",
    "first_two",
    "honeypot_agreement",
    "may_annotate",
    "may_review",
    "open_work",
    "reviewed",
    "round_of",
    "rounds_agree",
    "rounds_of",
    "unassign",
    "work_of",
]

_PART = 500
"""Clips that are looked at together."""

State = Literal["open", "ready", "decided"]
"""Of a clip: not all have handed in; all have, or it has been begun to decide; it is decided."""


# -- whose is what -----------------------------------------------------------------------------------------------------


def assign(
    database: Database,
    *,
    first: str,
    second: str | None,
    q: str,
    most: int,
    by: str,
    project: int | None = None,
    honeypots: int = 0,
) -> int:
    """Give clips that nobody has yet to one person, or to two for two rounds; returns how many.

    Args:
        database: of the studio.
        first: name of who annotates them.
        second: name of who does so again, without seeing the first's.
        q: part of the clips' names.
        most: how many at most, by name.
        by: name of who assigns them.
        project: number of the project that they belong to; None for none.
        honeypots: of the project, mixed in for each of both people; they are not counted.

    Raises:
        AccountError: no such person may annotate, both are the same, or there is no such project.
    """
    names = [first, *([second] if second else [])]
    if len(set(names)) < len(names):
        raise AccountError("the second round has to be somebody else's")
    with database.writing() as connection:
        database.alone(connection)  # two who do so at one moment would find the same clips free
        known = {row.name: row for row in connection.execute(sa.select(people).where(people.c.name.in_(names)))}
        for name in names:
            row = known.get(name)
            if row is None or not row.active or not Role(row.role).includes(Role.ANNOTATOR):
                raise AccountError(f"{name[:80]!r} has no account that may annotate")
        taken = sa.select(assignments.c.clip_id).union(sa.select(annotated.c.clip_id).where(annotated.c.version > 0))
        free = sa.select(clips.c.id).where(clips.c.origin != DATA, clips.c.state != "failed", clips.c.id.not_in(taken))
        free = free.where(clips.c.name.icontains(q, autoescape=True)).order_by(clips.c.name, clips.c.id).limit(most)
        found = list(connection.scalars(free))
        common = {"assigned_by": by, "assigned_at": now()}
        rows = [
            {"clip_id": clip_id, "person_id": known[name].id, "round": number, **common}
            for clip_id in found
            for number, name in enumerate(names, 1)
        ]
        if project is not None:
            drawn(connection, rows, project, [known[name] for name in names], honeypots)
        if rows:
            connection.execute(sa.insert(assignments), rows)
    return len(found)


def unassign(database: Database, assignment_id: int) -> None:
    """Take an assignment back.

    Raises:
        AccountError: there is none with this number, or the person has begun.
    """
    with database.writing() as connection:
        query = sa.select(assignments, people.c.name).join(people, people.c.id == assignments.c.person_id)
        row = connection.execute(query.where(assignments.c.id == assignment_id)).first()
        if row is None:
            raise AccountError(f"there is no assignment {assignment_id}")
        begun = sa.select(annotated.c.id).where(annotated.c.clip_id == row.clip_id, annotated.c.author == row.name)
        if connection.scalar(begun.where(annotated.c.version > 0)) is not None:
            raise AccountError(f"{row.name} has begun on this clip")
        connection.execute(sa.delete(assignments).where(assignments.c.id == assignment_id))


def may_annotate(database: Database, clip_id: int, person: Person) -> None:
    """Nothing; a clip that is assigned is for those alone whom it is assigned to, and one that is decided for nobody.

    A honeypot is decided, and who it was given to is not to know.

    Raises:
        RequestError: this person may not.
    """
    with database.reading() as connection:
        given = sa.select(assignments.c.person_id, assignments.c.honeypot).where(assignments.c.clip_id == clip_id)
        whose = {row.person_id: row.honeypot for row in connection.execute(given)}
        decided = _consensus(connection, [clip_id]).get(clip_id)
    if whose and person.id not in whose:
        raise RequestError(403, "unprocessable", "this clip is assigned to others")
    if decided is not None and decided.done and not whose.get(person.id):
        raise RequestError(
            403, "unprocessable", "a reviewer has decided on this clip: what was annotated stays as it is"
        )


def may_review(database: Database, clip_id: int, person: Person) -> None:
    """Nothing; who is to annotate a clip does not see the other round's before their own is handed in.

    Raises:
        RequestError: this person has not handed in theirs; or there is no such clip.
    """
    with database.reading() as connection:
        known = connection.scalar(sa.select(clips.c.id).where(clips.c.id == clip_id))
        mine = [one for one in rounds_of(connection, [clip_id]).get(clip_id, []) if one["name"] == person.name]
    if known is None:
        raise RequestError(404, "not_found", f"there is no clip {clip_id}")
    if any(one["assignment"] is not None and not one["done"] for one in mine):
        raise RequestError(403, "unprocessable", "hand in your own round of this clip first")


def work_of(database: Database, person: Person) -> list[dict[str, Any]]:
    """What is assigned to somebody, what they have not handed in first, then by name."""
    mine = (annotated.c.clip_id == clips.c.id) & (annotated.c.author == person.name)
    columns = (clips.c.id, clips.c.name, clips.c.state, annotated.c.traces, annotated.c.done)
    query = (
        sa.select(*columns)
        .join(assignments, assignments.c.clip_id == clips.c.id)
        .outerjoin(annotated, mine)
        .where(assignments.c.person_id == person.id)
        .order_by(clips.c.name, clips.c.id)
    )
    with database.reading() as connection:
        found = [{**row._mapping, "done": bool(row.done)} for row in connection.execute(query)]
    return sorted(found, key=lambda item: item["done"])


def open_work(database: Database, person: Person) -> int | None:
    """How many of somebody's clips are not handed in; None where none are assigned to them."""
    found = work_of(database, person) if person.id else []
    return sum(not item["done"] for item in found) if found else None


# -- where each clip stands --------------------------------------------------------------------------------------------


def rounds_of(connection: Any, clip_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """By clip who annotates it or has: `name`, `round`, `done`, `traces`, `assignment` (its number, or None).

    Rounds that were assigned come in their order, then those of people who did it unasked, in the order of their work.
    """
    query = sa.select(assignments, people.c.name).join(people, people.c.id == assignments.c.person_id)
    rows = connection.execute(query.where(_among(assignments.c.clip_id, clip_ids)).order_by(assignments.c.round)).all()
    tried = {(row.clip_id, row.name) for row in rows if row.honeypot}  # which is no round of the clip
    given = [row for row in rows if not row.honeypot]
    columns = (annotated.c.clip_id, annotated.c.author, annotated.c.done, annotated.c.traces)
    made = sa.select(*columns).where(_among(annotated.c.clip_id, clip_ids), annotated.c.version > 0)
    work = {(row.clip_id, row.author): row for row in connection.execute(made.order_by(annotated.c.id))}
    numbers = {(row.clip_id, row.name): row.id for row in given}
    found: dict[int, list[dict[str, Any]]] = {}
    for clip_id, name in dict.fromkeys([*numbers, *work]):
        if name != CONSENSUS and (clip_id, name) not in tried:
            row, rounds = work.get((clip_id, name)), found.setdefault(clip_id, [])
            said = {"done": row is not None and row.done, "traces": 0 if row is None else row.traces}
            rounds.append({"name": name, "round": len(rounds) + 1, **said, "assignment": numbers.get((clip_id, name))})
    return found


def _among(column: Any, ids: Sequence[int]) -> Any:
    """Of few clips those rows; of many, all rows are read: a database takes so many parameters only."""
    return column.in_(ids) if len(ids) <= _PART else sa.true()


def _consensus(connection: Any, clip_ids: Sequence[int]) -> dict[int, Any]:
    query = sa.select(annotated.c.clip_id, annotated.c.done, annotated.c.version)
    query = query.where(annotated.c.author == CONSENSUS, _among(annotated.c.clip_id, clip_ids))
    return {row.clip_id: row for row in connection.execute(query)}


def _standing() -> Any:
    """All clips that somebody annotates or has, as a query: `id`, `name`, `state`, and how many rounds are handed in.

    What a round is, `rounds_of` says. All of it is the database's work; no list of all clips comes out of it.
    """
    given: Any = sa.select(assignments.c.clip_id, people.c.name, assignments.c.honeypot)
    given = given.join(people, people.c.id == assignments.c.person_id)
    assigned, tried = (given.where(assignments.c.honeypot == flag).subquery() for flag in (sa.false(), sa.true()))
    begun: Any = sa.select(annotated.c.clip_id, annotated.c.author.label("name")).where(annotated.c.version > 0)
    honeypot = sa.exists().where(tried.c.clip_id == annotated.c.clip_id, tried.c.name == annotated.c.author)
    unasked = begun.where(annotated.c.author != CONSENSUS, ~honeypot)
    rounds = sa.union(sa.select(assigned.c.clip_id, assigned.c.name), unasked).subquery()
    work = (annotated.c.clip_id == rounds.c.clip_id) & (annotated.c.author == rounds.c.name)
    handed_in = sa.func.sum(sa.case((annotated.c.done & (annotated.c.version > 0), 1), else_=0))
    counted: Any = sa.select(rounds.c.clip_id, sa.func.count().label("rounds"), handed_in.label("done"))
    counted = counted.select_from(rounds.outerjoin(annotated, work)).group_by(rounds.c.clip_id).subquery()
    decided = sa.select(annotated.c.clip_id).where(annotated.c.author == CONSENSUS, annotated.c.done).subquery()
    known = sa.union(sa.select(assignments.c.clip_id), sa.select(begun.subquery().c.clip_id)).subquery()
    all_in = counted.c.rounds == counted.c.done
    state = sa.case((decided.c.clip_id.is_not(None), "decided"), (all_in, "ready"), else_="open")
    return (
        sa.select(clips.c.id, clips.c.name, state.label("state"), sa.func.coalesce(counted.c.done, 0).label("done"))
        .select_from(clips)
        .join(known, known.c.clip_id == clips.c.id)
        .outerjoin(counted, counted.c.clip_id == clips.c.id)
        .outerjoin(decided, decided.c.clip_id == clips.c.id)
    )


def reviewed(
    database: Database, *, state: State | None = None, offset: int = 0, limit: int = 500
) -> tuple[dict[State, int], list[dict[str, Any]]]:
    """A page of the clips that somebody annotates or has, by name, and how many stand where.

    Args:
        database: of the studio.
        state: of those that are wanted; None for all.
        offset: how many come before the page.
        limit: how many are on it, at most 500.

    Returns:
        The number in each state, and of each clip on the page `id`, `name`, `state`, `rounds` (see `rounds_of`).
    """
    standing = _standing().subquery()
    page = sa.select(standing.c.id, standing.c.name, standing.c.state)
    page = page if state is None else page.where(standing.c.state == state)
    page = page.order_by(standing.c.name, standing.c.id).offset(offset).limit(min(limit, 500))
    with database.reading() as connection:
        counts: dict[State, int] = {"open": 0, "ready": 0, "decided": 0}
        counted = sa.select(standing.c.state, sa.func.count()).group_by(standing.c.state)
        counts |= {row[0]: int(row[1]) for row in connection.execute(counted)}
        rows = connection.execute(page).all()
        rounds = rounds_of(connection, [row.id for row in rows])
    return counts, [{**row._mapping, "rounds": rounds.get(row.id, [])} for row in rows]


# -- agreement ---------------------------------------------------------------------------------------------------------


def agreement(connection: Any, wanted: Iterable[tuple[int, str, str]]) -> dict[str, Any]:
    """How far two rounds agree, by `deeptrace.metrics.agreement`; read part by part, so that memory stays small.

    Args:
        connection: to the studio's database.
        wanted: clip, name of the first annotator and of the second, of each.

    Returns:
        `label_kappa`: Cohen's, of "AI-generated", "real" and "cannot tell"; `same_label`: how many; and what
        `grounding_agreement` says.
    """
    labels: tuple[list[str], list[str]] = ([], [])

    def parts() -> Iterator[tuple[list[Sample], list[Sample]]]:
        rest = iter(wanted)
        while part := list(islice(rest, _PART)):
            both = _both_rounds(connection, part)
            for said, samples in zip(labels, both, strict=True):
                said += [one.label or "cannot tell" for one in samples]
            yield both

    grounding = grounding_agreement_of(parts())
    same = sum(a == b for a, b in zip(*labels, strict=True))
    return {"label_kappa": cohen_kappa(*labels), "same_label": same, **grounding}


def _both_rounds(connection: Any, pairs: Sequence[tuple[int, str, str]]) -> tuple[list[Sample], list[Sample]]:
    """What two annotators said of at most `_PART` clips, as samples; clips that cannot be read are left out."""
    ids = [clip_id for clip_id, _, _ in pairs]
    known = sa.select(clips.c.id, clips.c.media).where(clips.c.id.in_(ids), clips.c.media.is_not(None))
    rows = {row.id: row.media for row in connection.execute(known)}
    names = {name for _, *both in pairs for name in both}
    query = sa.select(annotated.c.clip_id, annotated.c.author, annotated.c.objects)
    query = query.where(annotated.c.clip_id.in_(ids), annotated.c.author.in_(names))
    objects = {(row.clip_id, row.author): row.objects for row in connection.execute(query)}
    kept = [pair for pair in pairs if rows.get(pair[0]) is not None]
    first, second = (
        [round_of(pair[0], rows[pair[0]], objects.get((pair[0], pair[at]), {})) for pair in kept] for at in (1, 2)
    )
    return first, second


def rounds_agree(database: Database) -> dict[str, Any]:
    """How far the first two rounds agree, over all clips of which two or more are handed in; see `agreement`."""

    def pairs(connection: Any) -> Iterator[tuple[int, str, str]]:
        standing = _standing().subquery()
        ids = list(connection.scalars(sa.select(standing.c.id).where(standing.c.done >= 2).order_by(standing.c.id)))
        for first in range(0, len(ids), _PART):
            rounds = rounds_of(connection, ids[first : first + _PART])
            yield from ((clip_id, *first_two(of_clip)) for clip_id, of_clip in rounds.items())

    with database.reading() as connection:
        return agreement(connection, pairs(connection))


def first_two(rounds: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The names of the first two of a clip's rounds that are handed in."""
    first, second = [one["name"] for one in rounds if one["done"]][:2]
    return first, second


def honeypot_agreement(database: Database, project_id: int) -> list[dict[str, Any]]:
    """How far each annotator agrees with what is known of a project's honeypots, by name.

    Returns:
        Of each `name`, how many were `given` and are handed in (`done`), and the `agreement` (see there) over those;
        `prefilled` and `blank` are the same over those that began with the detector's traces and over the others, so
        that one sees how far these lead. None where nothing is handed in.

    Raises:
        AccountError: there is no such project.
    """
    mine = (annotated.c.clip_id == assignments.c.clip_id) & (annotated.c.author == people.c.name)
    known = sa.select(annotated.c.clip_id).where(annotated.c.author == CONSENSUS, annotated.c.done)
    query = (
        sa.select(people.c.name, assignments.c.clip_id, assignments.c.prefilled, annotated.c.done)
        .join(people, people.c.id == assignments.c.person_id)
        .outerjoin(annotated, mine)
        .where(assignments.c.project_id == project_id, assignments.c.honeypot, assignments.c.clip_id.in_(known))
        .order_by(people.c.name)
    )
    with database.reading() as connection:
        project_of(connection, project_id)
        by_name: dict[str, list[Any]] = {}
        for row in connection.execute(query):
            by_name.setdefault(row.name, []).append(row)

        def agreed(rows: Iterable[Any]) -> dict[str, Any] | None:
            pairs = [(row.clip_id, CONSENSUS, row.name) for row in rows if row.done]
            return agreement(connection, pairs) if pairs else None

        return [
            {
                "name": name,
                "given": len(rows),
                "done": sum(bool(row.done) for row in rows),
                "agreement": agreed(rows),
                "prefilled": agreed(row for row in rows if row.prefilled),
                "blank": agreed(row for row in rows if not row.prefilled),
            }
            for name, rows in by_name.items()
        ]


def round_of(clip_id: int, media: Any, objects: dict[str, Any]) -> Sample:
    """What somebody marked on a clip, as a sample.

    Args:
        clip_id: of the clip.
        media: its row's.
        objects: of the annotation.
    """
    found = [read_object(value) for value in objects.values()]
    traces = tuple(trace_of(value) for value in found if isinstance(value, TraceObject))
    label = next((value.label for value in found if isinstance(value, ClipFacts)), None)
    name = str(clip_id)
    return Sample(video_id=name, path=name, label=label, media=Media.model_validate(media), traces=traces)
