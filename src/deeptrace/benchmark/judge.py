"""The explanation score of a run: every row that needs a judge is asked about once, cached, and failures stay failures.

A score is 0, 0.5 or 1, as the judge itself wrote it. Where it wrote anything else, or nothing in time, there is no
score: the row counts as failed, its video's outcome is `judge_failed`, and explanation metric and overall are null.
Nothing takes the judge's place under its name; the scores that need none are in the `text` block under their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deeptrace.benchmark.judge_client import JudgeModel, Reply, Server
from deeptrace.errors import JudgeError
from deeptrace.io.journal import Journal
from deeptrace.metrics import JudgeRow
from deeptrace.net.background import run_blocking
from deeptrace.prompts import judge_prompt, read_judge_score

__all__ = ["Judgement", "Judgements", "default_cache", "judge_explanations"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one row.

    Attributes:
        key: (video id, index of the true trace).
        score: 0, 0.5 or 1; None when the judge failed.
        cached: whether an earlier run had asked.
        error: one line on why there is no score.
        answer: the judge's words.
        served: the model that the server says answered.
    """

    key: tuple[str, int]
    score: float | None
    cached: bool = False
    error: str | None = None
    answer: str | None = None
    served: str = ""


@dataclass
class Judgements:
    """All rows of a run.

    Attributes:
        judge: language model that was asked.
        rows: one a row that needed a judge.
        calls: requests sent, retries included.
        prompt_tokens, completion_tokens: of the answers of this run, as the server counts them.
        elapsed_s: wall time of the asking.
    """

    judge: JudgeModel
    rows: list[Judgement] = field(default_factory=list)
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    elapsed_s: float = 0.0

    @property
    def scores(self) -> dict[tuple[str, int], float | None]:
        """Scores by row, None where the judge failed: what `evaluate_pairs` takes."""
        return {row.key: row.score for row in self.rows}

    @property
    def failed_videos(self) -> set[str]:
        """Ids of videos with a row that has no score."""
        return {row.key[0] for row in self.rows if row.score is None}

    def as_json(self) -> dict[str, Any]:
        """The judge, its counts of rows by outcome, and its cost."""
        served = sorted({row.served for row in self.rows if row.served})
        errors = Counter(row.error for row in self.rows if row.error)
        return {
            "name": self.judge.name,
            "served_models": served,
            "rows": len(self.rows),
            "scored": sum(row.score is not None for row in self.rows),
            "cached": sum(row.cached for row in self.rows),
            "failed": sum(row.score is None for row in self.rows),
            "errors": dict(errors.most_common(10)),
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "elapsed_s": self.elapsed_s,
        }


def default_cache() -> Path:
    """Where judges' answers are kept for all runs of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "deeptrace" / "judge.jsonl"


def rubric_digest() -> str:
    """A hash of the rubric and its examples, for the manifest."""
    return hashlib.sha256(judge_prompt("", "").encode()).hexdigest()[:16]


def judge_explanations(
    rows: Sequence[JudgeRow],
    judge: JudgeModel,
    *,
    cache: str | os.PathLike[str] | None = None,
    on_done: Callable[[int, int], object] = lambda _done, _total: None,
) -> Judgements:
    """Ask `judge` about every row, several at a time.

    Rows with equal texts are asked about once. Answers are kept by a hash of everything that was asked; failures are
    not, so that the next run asks again.

    Args:
        rows: from `metrics.judge_rows`.
        judge: language model to ask.
        cache: file of answers; `default_cache()` by default.
        on_done: called with (rows done, rows in all).

    Raises:
        MissingExtraError: httpx is not installed.
        SettingsError: the cache cannot be used.
    """
    started = time.perf_counter()
    found = Judgements(judge)
    with Journal(default_cache() if cache is None else cache) as journal:
        run_blocking(_ask_all(rows, found, journal, on_done))
    found.elapsed_s = time.perf_counter() - started
    return found


async def _ask_all(
    rows: Sequence[JudgeRow], found: Judgements, journal: Journal, on_done: Callable[[int, int], object]
) -> None:
    by_prompt: dict[str, list[JudgeRow]] = {}
    for row in rows:
        by_prompt.setdefault(judge_prompt(row.predicted, row.truth), []).append(row)
    done: dict[tuple[str, int], Judgement] = {}

    async with Server(found.judge) as server:

        async def one(prompt: str, asked: list[JudgeRow]) -> None:
            said = await _judgement(prompt, server, found, journal)
            for row in asked:
                done[row.key] = Judgement(row.key, **said)
            on_done(len(done), len(rows))

        async with asyncio.TaskGroup() as group:
            for prompt, asked in by_prompt.items():
                group.create_task(one(prompt, asked))
        found.calls = server.calls
    found.rows = [done[row.key] for row in rows]


async def _judgement(prompt: str, server: Server, found: Judgements, journal: Journal) -> dict[str, Any]:
    key = found.judge.key(prompt)
    kept = journal.get(key)
    reply: Reply | None = None
    try:
        reply = Reply(**kept["reply"]) if kept is not None else await server.ask(prompt)
        score = read_judge_score(reply.text)
    except JudgeError as error:
        answer = None if reply is None else reply.text[:200]
        return {"score": None, "error": error.problem, "answer": answer, "served": reply.served if reply else ""}
    if kept is None:
        found.prompt_tokens += reply.prompt_tokens
        found.completion_tokens += reply.completion_tokens
        journal.add(key, {"judge": found.judge.name, "prompt": prompt, "reply": asdict(reply)})
    return {"score": score, "cached": kept is not None, "answer": reply.text, "served": reply.served}
