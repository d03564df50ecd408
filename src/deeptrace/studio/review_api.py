"""The routes of review: one's own work, assigning, both rounds of a clip side by side, what is decided on it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from deeptrace.schema import Category
from deeptrace.studio.annotations import CONSENSUS, MOST, EditBody, add_edits, annotation_of, history_of
from deeptrace.studio.people_api import Name, Who
from deeptrace.studio.prefilling import prefilling
from deeptrace.studio.projects import add_honeypots, add_project, projects_of
from deeptrace.studio.review import (
    State,
    agreement,
    assign,
    first_two,
    honeypot_agreement,
    may_review,
    reviewed,
    rounds_agree,
    rounds_of,
    unassign,
    work_of,
)
from deeptrace.studio.workshop import Workshop

__all__ = ["REVIEW_PAGES", "add_review"]

REVIEW_PAGES = ("/work", "/review", "/review/{clip_id}", "/decide/{clip_id}")
ClipId = Annotated[int, Field(ge=1, le=MOST)]


class Assignment(BaseModel):
    """Clips that nobody has yet, for one person or for two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Name
    second: Name | None = None
    q: Annotated[str, Field(max_length=200)] = ""
    most: Annotated[int, Field(ge=1, le=10_000)] = 50
    project: ClipId | None = None
    honeypots: Annotated[int, Field(ge=0, le=1000)] = 0


class Project(BaseModel):
    """What assigned clips have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    guidelines: Annotated[str, Field(max_length=20_000)] = ""
    kinds: Annotated[list[Category], Field(max_length=9)] = []
    prefilled_percent: Annotated[int, Field(ge=0, le=100)] = 0
    wording: bool = True


class Honeypots(BaseModel):
    """Clips that are decided on, to be mixed in blindly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: Annotated[str, Field(max_length=200)] = ""
    most: Annotated[int, Field(ge=1, le=1000)] = 10


def add_review(api: APIRouter, workshop: Workshop) -> None:
    """Add the routes."""
    _add_assignments(api, workshop)
    _add_projects(api, workshop)
    _add_reviews(api, workshop)


def _add_assignments(api: APIRouter, workshop: Workshop) -> None:
    database = workshop.database

    @api.get("/work")
    def work(person: Who) -> list[dict[str, Any]]:
        """What is assigned to oneself."""
        return work_of(database, person)

    @api.post("/assignments", status_code=201)
    def give(request: Request, body: Assignment, person: Who) -> dict[str, int]:
        """Assign clips that nobody has yet, for one round or for two."""
        given = assign(database, **body.model_dump(), by=person.name)
        whose = body.first if body.second is None else f"{body.first} and {body.second}"
        request.state.detail = f"{given} to {whose}"
        return {"assigned": given}

    @api.delete("/assignments/{assignment_id}")
    def take_back(request: Request, assignment_id: ClipId) -> dict[str, int]:
        """Take an assignment back that nobody has begun on."""
        unassign(database, assignment_id)
        request.state.detail = str(assignment_id)
        return {"taken_back": assignment_id}


def _add_projects(api: APIRouter, workshop: Workshop) -> None:
    database = workshop.database

    @api.get("/projects")
    def all_projects() -> list[dict[str, Any]]:
        """All projects, by name."""
        with database.reading() as connection:
            return projects_of(connection)

    @api.post("/projects", status_code=201)
    def make(request: Request, body: Project, person: Who) -> dict[str, int]:
        """Make a project."""
        number = add_project(database, **dict(body), by=person.name)
        request.state.detail = body.name
        return {"id": number}

    @api.get("/projects/{project_id}/honeypots")
    def answers(project_id: ClipId) -> list[dict[str, Any]]:
        """How far each annotator agrees with what is known of the honeypots."""
        return honeypot_agreement(database, project_id)

    @api.get("/projects/{project_id}/prefilling")
    def effect(project_id: ClipId) -> dict[str, Any]:
        """Time saved, and how far people are led, by beginning with the detector's traces."""
        return prefilling(database, project_id)

    @api.post("/projects/{project_id}/honeypots", status_code=201)
    def known(request: Request, project_id: ClipId, body: Honeypots) -> dict[str, int]:
        """Make honeypots of clips that are decided on."""
        added = add_honeypots(database, project_id, q=body.q, most=body.most)
        request.state.detail = f"{added} into project {project_id}"
        return {"added": added}


def _add_reviews(api: APIRouter, workshop: Workshop) -> None:
    database = workshop.database

    @api.get("/review")
    def listed(
        state: State | None = None,
        offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """A page of the clips that are annotated, and how many stand where."""
        counts, found = reviewed(database, state=state, offset=offset, limit=limit)
        total = sum(counts.values()) if state is None else counts[state]
        return {"counts": counts, "total": total, "clips": found}

    @api.get("/review/agreement")
    def agree() -> dict[str, Any]:
        """How far the first two rounds agree, over all clips of which both are handed in."""
        return rounds_agree(database)

    @api.get("/review/{clip_id}")
    def one(clip_id: ClipId, person: Who) -> dict[str, Any]:
        """Every round of a clip with what was marked in it, and how far the first two agree."""
        may_review(database, clip_id, person)
        with database.reading() as connection:
            rounds = rounds_of(connection, [clip_id]).get(clip_id, [])
            whole = [by | {"objects": annotation_of(connection, clip_id, by["name"])["objects"]} for by in rounds]
            handed_in = sum(by["done"] for by in rounds) >= 2
            agreed = agreement(connection, [(clip_id, *first_two(rounds))]) if handed_in else None
        return {"rounds": whole, "agreement": agreed}

    @api.get("/review/{clip_id}/annotation")
    def decision(clip_id: ClipId, person: Who) -> dict[str, Any]:
        """What is decided on a clip so far, with its version."""
        may_review(database, clip_id, person)
        with database.reading() as connection:
            return annotation_of(connection, clip_id, CONSENSUS)

    @api.post("/review/{clip_id}/annotation/edits")
    def decide(clip_id: ClipId, body: EditBody, person: Who) -> dict[str, Any]:
        """Keep edits of the decision; 409 with both versions where another reviewer's came first."""
        may_review(database, clip_id, person)
        return add_edits(database, clip_id, CONSENSUS, body, by=person.name)

    @api.get("/review/{clip_id}/annotation/edits")
    def history(clip_id: ClipId, person: Who) -> list[dict[str, Any]]:
        """Every edit of the decision that there ever was, with who made it, in order."""
        may_review(database, clip_id, person)
        with database.reading() as connection:
            return history_of(connection, clip_id, CONSENSUS)
