"""measure_robustness: one detector, the user's clips, everything that is done to them, one table; resumable."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from deeptrace.benchmark.ground_truth import read_ground_truth
from deeptrace.benchmark.robustness.attack import Attack, attack_rows
from deeptrace.benchmark.robustness.changes import Change, Context, Tools, changes_of
from deeptrace.benchmark.robustness.clips import Form, Subject, choose
from deeptrace.benchmark.robustness.figures import Asked, Figure, Row, left_shares, row_of
from deeptrace.benchmark.robustness.needle import Hay, Needle, find_needles
from deeptrace.benchmark.robustness.pasted import Pasted, find_pasted
from deeptrace.benchmark.run import seen_in_training
from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import DataError, DeeptraceError
from deeptrace.inference.executor import Executor, open_executor
from deeptrace.inference.one_clip import failure
from deeptrace.inference.results import HOLDS, digest
from deeptrace.io.jsonl import write_json
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.schema import DetectorInfo, Verdict
from deeptrace.video import open_video
from deeptrace.video.transforms.annotations import cut_trace
from deeptrace.video.transforms.ops import Step

__all__ = ["Robustness", "measure_robustness"]

AS_IS = "as_is"
TABLE = "robustness.json"
_TIME_SHARES = ("still", "shuffled", "reversed")

OnDone = Callable[[str, int, int], object]


class Robustness(BaseModel):
    """What a detector stands and what not.

    Attributes:
        data, split: what was asked about.
        detector: who was asked.
        form: seconds and frames a second that every clip was brought to.
        learned_from: how many of the clips the detector's weights have learned from, which makes the figures too good;
            None where that is not known.
        rows: the clips as they are first, then a row for each change.
        left: share of AUROC above chance that is left when motion is taken away or disturbed, by change.
        needle: what became of generated pieces in long real videos; None where that was not asked.
        pasted: what became of generated regions in long real videos; None where that was not asked.
        failed: a line for each clip that could not be asked about as it is, and for needles where there are none.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    split: str
    detector: DetectorInfo
    form: dict[str, float]
    learned_from: int | None = None
    rows: list[Row]
    left: dict[str, Figure] = {}
    needle: Needle | None = None
    pasted: Pasted | None = None
    failed: list[str] = []


def measure_robustness(
    data: str | os.PathLike[str],
    *,
    split: str = "test",
    detector: str = DEFAULT_DETECTOR,
    settings: dict[str, Any] | None = None,
    only: Sequence[str] = (),
    clips: int = 40,
    form: Form | None = None,
    tools: Tools | None = None,
    attack: Attack | None = None,
    attacked: int = 8,
    hay: Hay | None = None,
    out: str | os.PathLike[str],
    resume: bool = False,
    workers: int | None = None,
    timeout_s: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    on_done: OnDone = lambda _stage, _done, _total: None,
) -> Robustness:
    """Ask a detector about clips as they are, and after each change.

    Args:
        data: RewardData folder or annotation file.
        split: of it; "all" for everything.
        detector, settings, workers, timeout_s: see `deeptrace.inference.open_executor`.
        only: parts or changes (see `changes_of`); all where there are none.
        clips: most clips of each class.
        form: what every clip is brought to first.
        tools: files for what cannot be done without.
        attack: what an attacker may do.
        attacked: most clips of each class that are attacked: a question is asked of each many times.
        hay: how many long videos, and how long.
        out: folder that keeps the answers and the table.
        resume: go on with what `out` holds.
        resamples: for the 95 % intervals.
        seed: draws clips, changes and resamples.
        on_done: called with a stage, how many are done, and how many there are.

    Raises:
        DataError: the data cannot be read, one of the two classes is missing, no clip can be asked about; no needle is
            to be had, and nothing else was asked for.
        SettingsError: no such change; the folder cannot be used.
        UnknownDetectorError, MissingExtraError, ModelError: the detector cannot be loaded.
    """
    chosen, shape = changes_of(only, tools), form or Form()
    truth = read_ground_truth(data, split=split)
    subjects = [_in_form(one, shape) for one in choose(truth.samples, truth.root, most=clips, seed=seed)]
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(detector, settings, workers=workers, timeout_s=timeout_s))
        stated = {"detector": executor.info.model_dump(mode="json"), "form": vars(shape), "seed": seed}
        stated |= {"tools": (tools or Tools()).recorded()}
        store = RunStore(out, "robustness", stated, resume=resume, about={"data": truth.name}, files=(TABLE,))
        stack.callback(store.close)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deeptrace-")))
        asker = _Asker(executor, store, shape, scratch, seed, on_done)
        asked = _asked(asker, subjects, chosen, shape)
        before = {one.subject.name: one.before for one in asked[AS_IS]}
        usable = [one for one in subjects if before[one.name].label is not None]
        failed = [f"{one.sample.path}: {before[one.name].error}" for one in subjects if one not in usable]
        if not usable:
            raise DataError(truth.name, f"none of its clips can be asked about; the first: {failed[0]}")
        rows = [row_of(AS_IS, "", "as they are", asked[AS_IS], reference=True, resamples=resamples, seed=seed)]
        for change in chosen:
            rows += _rows(change, asked[change.name], resamples, seed)
        how: dict[str, Any] = {"resamples": resamples, "seed": seed}
        if not only or "attack" in only:
            few = [one for fake in (False, True) for one in [u for u in usable if u.fake is fake][:attacked]]
            stage = partial(on_done, "attacked clips")
            rows += attack_rows(executor, store, few, shape, attack or Attack(), on_done=stage, **how)
        long: dict[str, Any] = {}
        for name, find in (("needle", find_needles), ("pasted", find_pasted)):
            if only and name not in only:
                continue
            stage = partial(on_done, "long videos" if name == "needle" else "long videos with a region")
            try:
                long[name] = find(executor, store, usable, hay or Hay(), shape, scratch, on_done=stage, **how)
            except DataError as error:  # what was measured before stands
                if list(only) == [name]:
                    raise
                failed.append(str(error))
        found = Robustness(
            data=truth.name,
            split=split,
            detector=executor.info,
            form=vars(shape),
            learned_from=seen_in_training(executor.info, [one.path for one in subjects]),
            rows=rows,
            left=left_shares(asked, _TIME_SHARES, resamples=resamples, seed=seed),
            **long,
            failed=failed,
        )
        write_json(found.model_dump(mode="json"), store.path / TABLE)
        return found


def _asked(asker: _Asker, subjects: Sequence[Subject], chosen: Sequence[Change], shape: Form) -> dict[str, list[Asked]]:
    """What is said of all clips as they are, and of those that can be asked about after each change, by its name."""
    before = {one.subject.name: one.after for one in asker.ask([(one, None, None) for one in subjects])}
    usable = [one for one in subjects if before[one.name].label is not None]
    asked = {AS_IS: [Asked(one, before[one.name], before[one.name], changed=False) for one in subjects]}
    asked |= {change.name: [] for change in chosen}
    donors = _donors(usable) if usable else {}
    todo = [
        (one, change, Context(one, before[one.name], donors[one.fake], shape.seconds))
        for change in chosen
        for one in usable
    ]
    for answer in asker.ask(todo):
        if (change := answer.change) is not None:
            moved = change.step if isinstance(change.step, Step) else None
            pair = Asked(answer.subject, before[answer.subject.name], answer.after, answer.changed, moved)
            asked[change.name].append(pair)
    return asked


def _in_form(subject: Subject, form: Form) -> Subject:
    """The subject with the traces that are left after the cut."""
    left = (cut_trace(trace, 0.0, form.seconds) for trace in subject.sample.traces)
    traces = tuple(trace for trace in left if trace is not None)
    return replace(subject, sample=subject.sample.model_copy(update={"traces": traces}))


def _donors(usable: Sequence[Subject]) -> dict[bool, str]:
    """For clips of each class, a clip of the other one; of their own where that has none."""
    return {fake: next((one.path for one in usable if one.fake is not fake), usable[0].path) for fake in (False, True)}


def _rows(change: Change, asked: Sequence[Asked], resamples: int, seed: int) -> Iterator[Row]:
    """The row of all clips, and of those in which there was something to change where that is some of them."""
    yield row_of(change.name, change.part, change.meaning, asked, resamples=resamples, seed=seed)
    some = [one for one in asked if one.changed]
    if some and len(some) < len(asked):
        title = f"{change.name}*"
        yield row_of(title, change.part, f"{change.meaning}; clips that have any", some, resamples=resamples, seed=seed)


_Job = tuple[Subject, Change | None, Context | None]


@dataclass(frozen=True)
class _Answer:
    subject: Subject
    change: Change | None
    after: Verdict
    changed: bool


class _Asker:
    """Asks about clips that are changed on the way, each only once however often a run is begun."""

    def __init__(
        self, executor: Executor, store: RunStore, form: Form, scratch: Path, seed: int, on_done: OnDone
    ) -> None:
        self._executor, self._store, self._form = executor, store, form
        self._scratch, self._seed, self._on_done = scratch, seed, on_done
        self._detector = digest(executor.info)

    def ask(self, jobs: Sequence[_Job]) -> Iterator[_Answer]:
        """The answers, as they are done; what was done before first."""
        stage = "clips as they are" if jobs and jobs[0][1] is None else "changed clips"
        todo: dict[str, tuple[_Job, str | None]] = {}
        ready: list[_Answer] = []
        done = 0

        def drawn() -> Iterator[str]:
            nonlocal done
            for number, job in enumerate(jobs):
                subject, change, context = job
                key = self._key(job)
                record = self._store.find(key)
                if record is not None and (kept := _kept(record)) is not None:
                    ready.append(_Answer(subject, change, kept, record["changed"]))
                    continue
                path = self._scratch / f"{number}.mp4"
                try:
                    with open_video(subject.path) as video:
                        step = None if change is None or context is None else change.step_for(video, context)
                        if change is not None and context is not None and step is None:
                            self._keep(key, context.before, changed=False)
                            ready.append(_Answer(subject, change, context.before, False))
                            continue
                        self._form.write(video, path, step, seed=self._seed + subject.seed)
                except (DeeptraceError, OSError, MemoryError) as error:
                    failed = failure(subject.path, error, info=self._executor.info).verdict
                    ready.append(_Answer(subject, change, failed, True))
                    continue
                todo[str(path)] = (job, key)
                yield str(path)

        def flush() -> Iterator[_Answer]:
            nonlocal done
            while ready:
                done += 1
                self._on_done(stage, done, len(jobs))
                yield ready.pop(0)

        for result in self._executor.run(drawn()):
            (subject, change, _), key = todo.pop(result.name)
            Path(result.name).unlink(missing_ok=True)
            verdict = result.verdict.model_copy(update={"video": subject.sample.path})
            self._keep(key, verdict, changed=change is not None)
            ready.append(_Answer(subject, change, verdict, change is not None))
            yield from flush()
        yield from flush()

    def _key(self, job: _Job) -> str | None:
        subject, change, _ = job
        name = AS_IS if change is None else change.name
        return key_of(self._store.content(subject.path), self._detector, name, subject.sample.video_id)

    def _keep(self, key: str | None, verdict: Verdict, *, changed: bool) -> None:
        self._store.add(key, {"verdict": verdict.model_dump(mode="json"), "changed": changed})


def _kept(record: dict[str, Any]) -> Verdict | None:
    """What an earlier run said, if it holds."""
    verdict = Verdict.model_validate(record["verdict"])
    return verdict if verdict.outcome in HOLDS else None
