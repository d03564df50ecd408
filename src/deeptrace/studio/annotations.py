"""Annotations as a history of edits that only grows; what stands is the sum of them.

An edit replaces one object by another: nothing by a trace (added), a trace by a trace (changed), a trace by nothing
(removed). Undo is one more edit, the other way round. Each edit has an id that the page made, so that one that is sent
again after a lost answer counts once; and edits say which version they were made on, so that nobody overwrites what
they never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from deeptrace.schema import Category, Label
from deeptrace.studio.database import Database, annotated, clips, edits, now

__all__ = [
    "CLIP",
    "CONSENSUS",
    "MOST",
    "ClipFacts",
    "ConflictError",
    "Edit",
    "EditBody",
    "TraceObject",
    "add_edits",
    "annotation_of",
    "history_of",
]

CONSENSUS = "=consensus"
"""Author of what a reviewer decided on a clip; no account can have this name."""
CLIP = "clip"
"""The object that says what is known of the clip as a whole."""
MOST = 2**31 - 1
"""Largest number of a clip or version: what a database's integer holds."""

# Strict: `true` is no number.
Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=1e6, strict=True)]
ObjectId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Key(_Body):
    """A box at a moment.

    Attributes:
        time_s: seconds.
        box: x0, y0, x1, y1 as fractions.
        off: whether it is off from here to the next keyframe that is on (CVAT's `outside`); kept only where it is.
    """

    time_s: Seconds
    box: tuple[Fraction, Fraction, Fraction, Fraction]
    off: bool = False

    @model_serializer(mode="wrap")
    def _on_without_a_word(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        if not self.off:
            del fields["off"]
        return fields

    @model_validator(mode="after")
    def _area(self) -> Self:
        if self.box[2] <= self.box[0] or self.box[3] <= self.box[1]:
            raise ValueError("expected a box with x0 < x1 and y0 < y1")
        return self


class TraceObject(_Body):
    """One trace that a person marked: an interval and a box, as one thing.

    Attributes:
        kinds: most fitting first; empty for "none of the above".
        onset_s: first moment; None where it cannot be told.
        offset_s: end (exclusive).
        keys: the box over time, rising; one for a box that stands still; none where no place can be told.
        explanation: the annotator's words.
        standard: the same in a standard wording, which a language model proposed and a person may have changed; beside
            the annotator's words, never in their place. Kept only where there is one.
        by: who made it first: a person, or a detector whose trace a person took over.
    """

    type: Literal["trace"] = "trace"
    kinds: Annotated[list[Category], Field(max_length=9)] = []
    onset_s: Seconds | None = None
    offset_s: Seconds | None = None
    keys: Annotated[list[Key], Field(max_length=2000)] = []
    explanation: Annotated[str, Field(max_length=5000)] = ""
    by: Literal["person", "detector"] = "person"
    standard: Annotated[str, Field(max_length=5000)] = ""

    @model_serializer(mode="wrap")
    def _without_no_wording(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        if not self.standard:
            del fields["standard"]
        return fields

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.onset_s is not None and self.offset_s is not None and self.offset_s < self.onset_s:
            raise ValueError("expected offset_s >= onset_s")
        if any(a.time_s >= b.time_s for a, b in pairwise(self.keys)):
            raise ValueError("expected keyframes with rising times")
        return self


class ClipFacts(_Body):
    """What a person says of the clip as a whole.

    Attributes:
        label: REAL, FAKE, or None for "cannot tell".
        done: whether they have finished with it.
    """

    type: Literal["clip"] = "clip"
    label: Label | None = None
    done: bool = False


Object = Annotated[TraceObject | ClipFacts, Field(discriminator="type")]
_object: TypeAdapter[Any] = TypeAdapter(Object)


class Edit(_Body):
    """One change.

    Attributes:
        id: made by the page, unique.
        object: id of what is changed.
        before: what it was; None when it is added.
        after: what it becomes; None when it is removed.
        active_s: seconds of work on the annotation since the edit before, pauses left out; None where nobody measured.
    """

    id: ObjectId
    object: ObjectId
    before: Object | None = None
    after: Object | None = None
    active_s: Annotated[float, Field(ge=0, le=86_400, strict=True)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for value in (self.before, self.after):
            if value is not None and (value.type == "clip") != (self.object == CLIP):
                raise ValueError(f"object {self.object!r} cannot be a {value.type}")
        return self


class EditBody(_Body):
    """Edits made on a version, in their order."""

    version: Annotated[int, Field(ge=0, le=MOST)]
    edits: Annotated[list[Edit], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({edit.id for edit in self.edits}) < len(self.edits):
            raise ValueError("expected edits with different ids")
        return self


class ConflictError(Exception):
    """The annotation has changed since the version that edits were made on.

    Args:
        current: the annotation as it stands; see `annotation_of`.
        yours: the objects as they would be with the edits on the old version.
    """

    def __init__(self, current: dict[str, Any], yours: dict[str, Any]) -> None:
        self.current, self.yours = current, yours
        super().__init__(f"the annotation is at version {current['version']} by now")


class ForeignIdError(ValueError):
    """An id that is to be unique was given to something else before."""


def annotation_of(connection: Any, clip_id: int, author: str) -> dict[str, Any]:
    """`{"version", "objects", "changed_at"}` of an author's annotation; version 0 without objects where none is yet."""
    row = connection.execute(_of(clip_id, author)).first()
    if row is None:
        return {"version": 0, "objects": {}, "changed_at": None}
    return {"version": row.version, "objects": row.objects, "changed_at": row.changed_at}


def _of(clip_id: int, author: str) -> Any:
    return sa.select(annotated).where(annotated.c.clip_id == clip_id, annotated.c.author == author)


def add_edits(
    database: Database, clip_id: int, author: str, body: EditBody, *, by: str | None = None
) -> dict[str, Any]:
    """Keep edits, all or none; they are on the disk when this returns the annotation.

    Args:
        database: of the studio.
        clip_id: of the clip.
        author: whose annotation it is.
        body: the edits, and the version that they were made on.
        by: who makes them, where that is not the author.

    Raises:
        ConflictError: others were kept since the version that they were made on.
        ForeignIdError: an edit has the id of one on another clip, or by another author.
        LookupError: there is no such clip.
    """
    with database.writing() as connection:
        if connection.scalar(sa.select(clips.c.id).where(clips.c.id == clip_id)) is None:
            raise LookupError(clip_id)
        row = connection.execute(_of(clip_id, author).with_for_update()).first()
        if row is None:
            values = {"clip_id": clip_id, "author": author, "version": 0, "objects": {}, "changed_at": now()}
            made = database.inserting(annotated).values(**values)  # somebody else may be at it at this moment
            connection.execute(made.on_conflict_do_nothing(index_elements=["clip_id", "author"]))
            row = connection.execute(_of(clip_id, author).with_for_update()).one()
        sent = {edit.id: edit for edit in body.edits}
        query = sa.select(edits.c.client_id, edits.c.annotation_id).where(edits.c.client_id.in_(sent))
        known = {one.client_id: one.annotation_id for one in connection.execute(query)}
        if foreign := [name for name, of in known.items() if of != row.id]:
            raise ForeignIdError(
                f"edit id {foreign[0]!r} belongs to another annotation: give every edit an id of its own"
            )
        kept = set(known)
        fresh = [edit for edit in body.edits if edit.id not in kept]
        # Edits that were kept already do not count against the version: their answer was lost on the way.
        if fresh and row.version != body.version + len(kept):
            current = {"version": row.version, "objects": row.objects, "changed_at": row.changed_at}
            raise ConflictError(current, applied(_objects_at(connection, row.id, body.version), body.edits))
        if fresh:
            _append(connection, row, by or author, fresh)
        return annotation_of(connection, clip_id, author)


def _append(connection: Any, row: Any, by: str, fresh: Sequence[Edit]) -> None:
    at = now()
    values = [
        {
            "client_id": edit.id,
            "annotation_id": row.id,
            "version": row.version + number,
            "author": by,
            "made_at": at,
            "object_id": edit.object,
            "before": _plain(edit.before),
            "after": _plain(edit.after),
            "active_s": edit.active_s,
        }
        for number, edit in enumerate(fresh, 1)
    ]
    connection.execute(sa.insert(edits), values)
    objects = applied(row.objects, fresh)
    traces = sum(value["type"] == "trace" for value in objects.values())
    changes = {"version": row.version + len(fresh), "objects": objects, "changed_at": at, "traces": traces}
    done = bool(objects.get(CLIP, {}).get("done"))
    connection.execute(sa.update(annotated).where(annotated.c.id == row.id).values(**changes, done=done))
    connection.execute(sa.update(clips).where(clips.c.id == row.clip_id).values(traces=traces))


def applied(objects: dict[str, Any], changes: Sequence[Edit]) -> dict[str, Any]:
    """The objects after changes."""
    after = dict(objects)
    for edit in changes:
        if edit.after is None:
            after.pop(edit.object, None)
        else:
            after[edit.object] = _plain(edit.after)
    return after


def history_of(connection: Any, clip_id: int, author: str) -> list[dict[str, Any]]:
    """Every edit of an author's annotation that there ever was, in order."""
    query = (
        sa.select(edits)
        .join(annotated, edits.c.annotation_id == annotated.c.id)
        .where(annotated.c.clip_id == clip_id, annotated.c.author == author)
        .order_by(edits.c.version)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def _objects_at(connection: Any, annotation_id: int, version: int) -> dict[str, Any]:
    """The objects as they were at a version, from the history."""
    objects: dict[str, Any] = {}
    rows = connection.execute(
        sa.select(edits.c.object_id, edits.c.after)
        .where(edits.c.annotation_id == annotation_id, edits.c.version <= version)
        .order_by(edits.c.version)
    )
    for object_id, after in rows:
        if after is None:
            objects.pop(object_id, None)
        else:
            objects[object_id] = after
    return objects


def _plain(value: BaseModel | None) -> dict[str, Any] | None:
    return None if value is None else value.model_dump(mode="json")


def read_object(value: Any) -> TraceObject | ClipFacts | None:
    """A stored object; None for one that this version does not understand."""
    try:
        found: TraceObject | ClipFacts = _object.validate_python(value)
    except ValidationError:
        return None
    return found
