"""Which role may call which route: the one table that a studio with accounts goes by.

What is not in it is not answered, so that a route that somebody adds and forgets here is closed, not open. A test asks
every route of the application with every role.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.routing import compile_path

from deeptrace.studio.accounts import Role

__all__ = ["METRICS", "ROUTES", "Rule", "route_of", "rule_for"]

METRICS = "/metrics"
"""What Prometheus reads."""


@dataclass(frozen=True)
class Rule:
    """What a route asks for.

    Attributes:
        least: role that may call it, and all above; None for everybody, logged in or not.
        did: what the log says of a call that changes something or takes much away; empty where the call only reads,
            where what it makes says who made it and when (answers, edits), or where it writes its own line.
    """

    least: Role | None
    did: str = ""


_ANYONE, _VIEWER, _ANNOTATOR = Rule(None), Rule(Role.VIEWER), Rule(Role.ANNOTATOR)
_REVIEWER, _ADMIN = Rule(Role.REVIEWER), Rule(Role.ADMIN)

ROUTES: dict[str, Rule] = {
    # the pages themselves hold nothing; what they show they ask for
    "GET /": _ANYONE,
    "GET /triage": _ANYONE,
    "GET /explore": _ANYONE,
    "GET /clip/{clip_id}": _ANYONE,
    "GET /annotate/{clip_id}": _ANYONE,
    "GET /people": _ANYONE,
    "GET /leaderboard": _ANYONE,
    "GET /work": _ANYONE,
    "GET /review": _ANYONE,
    "GET /review/{clip_id}": _ANYONE,
    "GET /decide/{clip_id}": _ANYONE,
    "GET /static/{path:path}": _ANYONE,
    "GET /openapi.json": _VIEWER,
    # who one is
    "GET /api/session": _ANYONE,
    "POST /api/session": _ANYONE,
    "POST /api/session/oidc": _ANYONE,
    "GET /oidc/callback": _ANYONE,
    "DELETE /api/session": _VIEWER,
    "POST /api/session/password": _VIEWER,
    # clips, and what a detector says of them
    "GET /api/studio": _VIEWER,
    "GET /api/clips": _VIEWER,
    "GET /api/clips/{clip_id}": _VIEWER,
    "GET /api/clips/{clip_id}/times": _VIEWER,
    "GET /api/clips/{clip_id}/media": _VIEWER,
    "GET /api/clips/{clip_id}/{name}.jpg": _VIEWER,
    "GET /api/clips/{clip_id}/overlay.mp4": _VIEWER,
    "GET /api/clips/{clip_id}/report.html": _VIEWER,
    "GET /api/clips/{clip_id}/verdict.json": _VIEWER,
    "GET /api/clips/{clip_id}/heat": _VIEWER,
    "POST /api/clips": Rule(Role.ANNOTATOR, "brought in a clip"),
    "POST /api/uploads": Rule(Role.ANNOTATOR, "sent a clip"),
    "POST /api/clips/{clip_id}/jobs/{task}": Rule(Role.ANNOTATOR, "had something made"),
    "GET /api/export/verdicts.jsonl": Rule(Role.VIEWER, "took away the verdicts"),
    # explore
    "GET /api/explore": _VIEWER,
    "GET /api/explore/videos": _VIEWER,
    "GET /api/explore/videos.csv": Rule(Role.VIEWER, "took away the list of explored videos"),
    "GET /api/explore/video": _VIEWER,
    "POST /api/explore/clips": _VIEWER,  # pictures are made of what one looks at
    "GET /api/explore/counts": _VIEWER,
    "GET /api/explore/measures": _VIEWER,
    "GET /api/explore/differences": _VIEWER,
    "GET /api/explore/{name}.svg": _VIEWER,
    "GET /api/leaderboard": _VIEWER,
    # what people say: each their own
    "POST /api/clips/{clip_id}/answers": _ANNOTATOR,
    "GET /api/clips/{clip_id}/annotation": _ANNOTATOR,
    "POST /api/clips/{clip_id}/annotation/edits": _ANNOTATOR,
    "GET /api/clips/{clip_id}/annotation/edits": _ANNOTATOR,
    "GET /api/clips/{clip_id}/task": _ANNOTATOR,
    "POST /api/clips/{clip_id}/track": _ANNOTATOR,
    "GET /api/work": _ANNOTATOR,
    # what others say, which annotators are not to be led by
    "GET /api/export/all_data.json": Rule(Role.REVIEWER, "took away the labels"),
    "GET /api/export/labels/{to}.zip": Rule(Role.REVIEWER, "took away the labels"),
    "GET /api/export/verdicts.csv": Rule(Role.REVIEWER, "took away the table of answers"),
    "POST /api/import": Rule(Role.REVIEWER, "brought in labels"),
    "GET /api/people": _REVIEWER,
    "GET /api/review": _REVIEWER,
    "GET /api/review/agreement": _REVIEWER,
    "GET /api/projects": _REVIEWER,
    "POST /api/projects": Rule(Role.REVIEWER, "made a project"),
    "GET /api/projects/{project_id}/honeypots": _REVIEWER,
    "GET /api/projects/{project_id}/prefilling": _REVIEWER,
    "POST /api/projects/{project_id}/honeypots": Rule(Role.REVIEWER, "made honeypots"),
    "POST /api/assignments": Rule(Role.REVIEWER, "assigned clips"),
    "DELETE /api/assignments/{assignment_id}": Rule(Role.REVIEWER, "took an assignment back"),
    "GET /api/review/{clip_id}": _REVIEWER,
    "GET /api/review/{clip_id}/annotation": _REVIEWER,
    "POST /api/review/{clip_id}/annotation/edits": _REVIEWER,
    "GET /api/review/{clip_id}/annotation/edits": _REVIEWER,
    "GET /api/review/{clip_id}/wording": _REVIEWER,
    "POST /api/review/{clip_id}/wording": _REVIEWER,
    # accounts
    "POST /api/people": _ADMIN,
    "PATCH /api/people/{name}": _ADMIN,
    "GET /api/audit": _ADMIN,
    f"GET {METRICS}": _ADMIN,  # or, where the studio is told so, whoever is on this machine
}

_PATTERNS = [(route, route.partition(" ")[0], compile_path(route.partition(" ")[2])[0]) for route in ROUTES]


def route_of(method: str, path: str) -> str | None:
    """The route of the table that a call is for; None for one that is not in it. Of several that fit the strictest."""
    wanted = "GET" if method == "HEAD" else method
    found = [route for route, name, pattern in _PATTERNS if name == wanted and pattern.match(path)]
    return max(found, key=lambda route: _height(ROUTES[route].least), default=None)


def rule_for(method: str, path: str) -> Rule | None:
    """What a call asks for; None for one that is not in the table."""
    route = route_of(method, path)
    return None if route is None else ROUTES[route]


def _height(least: Role | None) -> int:
    return -1 if least is None else list(Role).index(least)
