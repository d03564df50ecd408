"""Projects: what assigned clips have in common, and honeypots among them.

A honeypot is a clip that a reviewer has decided on and that is given to annotators once more among the others, as if
nobody had. What they mark there is an annotation as any other, and enters no round, no decision and no label.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from deeptrace.schema import Category
from deeptrace.server.responses import RequestError
from deeptrace.studio.accounts import AccountError, Person
from deeptrace.studio.annotations import CONSENSUS, EditBody, TraceObject
from deeptrace.studio.database import Database, annotated, assignments, clips, honeypots, now, projects

__all__ = [
    "add_honeypots",
    "add_project",
    "begins_blank",
    "check_kinds",
    "drawn",
    "may_see_verdict",
    "project_of",
    "projects_of",
    "task_of",
]


def add_project(
    database: Database,
    *,
    name: str,
    guidelines: str,
    kinds: Sequence[Category],
    prefilled_percent: int,
    by: str,
    wording: bool = True,
) -> int:
    """Make a project; returns its number.

    Args:
        database: of the studio.
        name: unlike that of any other.
        guidelines: what annotators are to read, plain text.
        kinds: that may be marked; none for all nine.
        prefilled_percent: of the tasks, those that begin with the detector's traces, drawn by chance.
        by: who makes it.
        wording: whether a language model may propose standard wordings of explanations, where the studio has one.

    Raises:
        AccountError: there is a project of this name.
    """
    stated: dict[str, Any] = {"name": name, "guidelines": guidelines, "kinds": [kind.value for kind in kinds]}
    stated |= {"prefilled_percent": prefilled_percent, "wording": wording}
    values = {**stated, "made_by": by, "made_at": now()}
    try:
        with database.writing() as connection:
            return int(connection.execute(sa.insert(projects).values(**values).returning(projects.c.id)).scalar_one())
    except sa.exc.IntegrityError:
        raise AccountError(f"there is a project {name!r} already") from None


def projects_of(connection: Any) -> list[dict[str, Any]]:
    """All projects by name: what was stated of them, `tasks` that are assigned, `honeypots` that there are."""
    tasks = sa.select(sa.func.count()).where(assignments.c.project_id == projects.c.id, ~assignments.c.honeypot)
    known = sa.select(sa.func.count()).where(honeypots.c.project_id == projects.c.id)
    query = sa.select(
        projects, tasks.scalar_subquery().label("tasks"), known.scalar_subquery().label("honeypots")
    ).order_by(projects.c.name)
    return [dict(row._mapping) for row in connection.execute(query)]


def project_of(connection: Any, project_id: int) -> Any:
    """The row of a project.

    Raises:
        AccountError: there is none with this number.
    """
    row = connection.execute(sa.select(projects).where(projects.c.id == project_id)).first()
    if row is None:
        raise AccountError(f"there is no project {project_id}")
    return row


def add_honeypots(database: Database, project_id: int, *, q: str, most: int) -> int:
    """Make clips honeypots that a reviewer has decided on and that are none yet; returns how many.

    Args:
        database: of the studio.
        project_id: of the project that they are to be mixed into.
        q: part of the clips' names.
        most: how many at most, by name.

    Raises:
        AccountError: there is no such project.
    """
    with database.writing() as connection:
        database.alone(connection)  # two who do so at one moment would find the same clips free
        project_of(connection, project_id)
        decided = sa.select(annotated.c.clip_id).where(annotated.c.author == CONSENSUS, annotated.c.done)
        free = sa.select(clips.c.id).where(clips.c.id.in_(decided), clips.c.id.not_in(sa.select(honeypots.c.clip_id)))
        free = free.where(clips.c.name.icontains(q, autoescape=True)).order_by(clips.c.name, clips.c.id).limit(most)
        rows = [{"project_id": project_id, "clip_id": clip_id} for clip_id in connection.scalars(free)]
        if rows:
            connection.execute(sa.insert(honeypots), rows)
    return len(rows)


def drawn(connection: Any, rows: list[dict[str, Any]], project_id: int, persons: Sequence[Any], most: int) -> None:
    """Make new assignments those of a project: add honeypots, and draw those that begin with the detector's traces.

    Args:
        connection: that the assignments will be written on.
        rows: of them, changed in place.
        project_id: of the project.
        persons: rows of the people they are for.
        most: new honeypots for each of them.
    """
    project = project_of(connection, project_id)
    if not rows:
        return  # honeypots stand among other clips, or everybody would know them
    common = {"assigned_by": rows[0]["assigned_by"], "assigned_at": rows[0]["assigned_at"], "project_id": project_id}
    for row in rows:
        row |= {"project_id": project_id, "honeypot": False}
    for person in persons:
        had = sa.select(assignments.c.clip_id).where(assignments.c.person_id == person.id)
        own = sa.select(annotated.c.clip_id).where(annotated.c.author == person.name)
        last = sa.select(sa.func.coalesce(sa.func.max(assignments.c.round), 0))
        last = last.where(assignments.c.clip_id == honeypots.c.clip_id)
        fresh = sa.select(honeypots.c.clip_id, last.scalar_subquery().label("last"))
        fresh = fresh.where(honeypots.c.project_id == project_id, honeypots.c.clip_id.not_in(had.union(own)))
        found = connection.execute(fresh).all()
        for clip_id, before in random.sample(found, min(most, len(found))):
            taken = sum(row["clip_id"] == clip_id for row in rows)
            whose = {"clip_id": clip_id, "person_id": person.id, "round": before + taken + 1}
            rows.append({**common, **whose, "honeypot": True})
    chosen = set(random.sample(range(len(rows)), round(len(rows) * project.prefilled_percent / 100)))
    for at, row in enumerate(rows):
        row["prefilled"] = at in chosen


def task_of(database: Database, clip_id: int, person: Person) -> dict[str, Any] | None:
    """What somebody is to know of a clip that is theirs to annotate: `project`, `guidelines`, `kinds`, `prefilled`.

    None where it belongs to no project. A honeypot's is like any other.
    """
    query = sa.select(
        projects.c.name.label("project"), projects.c.guidelines, projects.c.kinds, assignments.c.prefilled
    )
    query = query.join(assignments, assignments.c.project_id == projects.c.id)
    with database.reading() as connection:
        mine = query.where(assignments.c.clip_id == clip_id, assignments.c.person_id == person.id)
        row = connection.execute(mine).first()
    if row is None:
        return None
    return {**row._mapping, "kinds": row.kinds or [kind.value for kind in Category]}


def begins_blank(person: Person, clip_id: Any = clips.c.id) -> Any:
    """Whether a clip is this person's to annotate without what a detector says of it, as a condition of a query."""
    mine = (assignments.c.clip_id == clip_id) & (assignments.c.person_id == person.id)
    return sa.exists().where(mine, assignments.c.project_id.is_not(None), ~assignments.c.prefilled)


def may_see_verdict(connection: Any, person: Person, clip_id: int | None = None) -> bool:
    """Whether somebody may be told what a detector says of a clip; with None of every clip there is."""
    mine = begins_blank(person, assignments.c.clip_id if clip_id is None else clip_id)
    return not connection.scalar(sa.select(mine)) if person.id else True


def check_kinds(task: dict[str, Any] | None, body: EditBody) -> None:
    """Nothing; edits mark only the kinds of their project.

    Raises:
        RequestError: one does not.
    """
    if task is None:
        return
    marked = {kind for edit in body.edits if isinstance(edit.after, TraceObject) for kind in edit.after.kinds}
    for kind in sorted(marked):
        if kind.value not in task["kinds"]:
            raise RequestError(422, "unprocessable", f"{task['project']} does not mark {kind.display_name!r}")
