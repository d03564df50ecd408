"""The curation from end to end: measure, filter, remove duplicates, match, write without shortcuts, split, audit.

    out/
      clips/ID.mp4       what is kept, all encoded alike
      all_data.json      RewardData rows
      left_out.csv       every clip that is not kept, the step that left it out, and why
      measures.jsonl     what was measured of each clip, and which clips were matched
      collect.json       counts, balance of the classes, what the audit says
      croissant.json     the same for machines, in MLCommons' vocabulary
      journal.jsonl      what is done, by content, so that a broken run goes on

What is kept depends on the clips, their order and the recipe alone: not on threads, and not on a break in the run.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deeptrace.audit import Audit, Shortcuts, audit, find_shortcuts
from deeptrace.audit.classify import check_installed as check_classifiers
from deeptrace.audit.fix import FOLDER, write_clips
from deeptrace.audit.fix_plan import FixPlan, make_plan
from deeptrace.audit.near_duplicates import groups_of_pairs, near_duplicates
from deeptrace.collect import croissant, matching, measures
from deeptrace.collect.candidates import Candidate
from deeptrace.collect.filters import Limits
from deeptrace.collect.measures import Measures
from deeptrace.data.rewarddata import write_reward_data
from deeptrace.data.splits import apply_split, split_by_source, split_by_video
from deeptrace.errors import DataError, SettingsError
from deeptrace.io.atomic import atomic_path
from deeptrace.io.csv_cells import csv_cell
from deeptrace.io.jsonl import write_json, write_lines
from deeptrace.io.run_store import RunStore, key_of
from deeptrace.schema import Label, Sample

__all__ = ["Collected", "LeftOut", "Recipe", "collect"]

ROWS, LEFT_OUT, MEASURES, REPORT = "all_data.json", "left_out.csv", "measures.jsonl", "collect.json"
FILES = (FOLDER, ROWS, LEFT_OUT, MEASURES, REPORT, croissant.FILE)
OnStep = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Recipe:
    """Attributes:
    limits: what a clip must have.
    cuts: whether to look for scene cuts, and keep the longest shot; without, a clip is one shot.
    max_s: most seconds kept of a clip.
    scan_s: most seconds looked at, from a file's start.
    ratio: camera clips for each generated one.
    max_distance: pairs further apart are no match; None to match all.
    size, fps: of every clip, see `audit.fix_plan.make_plan`.
    split: by whole sources, by video, or not at all.
    seed: of splits and of the audit.
    shuffles: label shuffles of the audit.
    name, about: of the dataset; see `croissant.croissant`.
    """

    limits: Limits = field(default_factory=Limits)
    cuts: bool = True
    max_s: float = 10.0
    scan_s: float = 60.0
    ratio: float = 1.0
    max_distance: float | None = None
    size: tuple[int, int] | None = None
    fps: int | None = None
    split: Literal["source", "video", "none"] = "source"
    seed: int = 0
    shuffles: int = 100
    name: str | None = None
    about: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.max_s > 0 and self.scan_s > 0):
            raise SettingsError("max_s, scan_s", f"expected more than 0 but got {self.max_s:g}, {self.scan_s:g}")
        if not 0 < self.ratio <= 100:
            raise SettingsError("ratio", f"expected more than 0 and at most 100 but got {self.ratio:g}")


@dataclass(frozen=True)
class LeftOut:
    """A clip that is not in the dataset: the step that left it out ("decode", "motion" ...), and why in words."""

    candidate: Candidate
    step: str
    reason: str


@dataclass(frozen=True)
class Collected:
    """What was made.

    Attributes:
        folder: the dataset.
        given: number of clips to choose from, by label.
        samples: the dataset's.
        left_out: every other clip, in the order given.
        written, kept: files encoded now, and found there from an earlier run.
        plan: what every clip was made to be.
        before: what the metadata of the clips given gives away.
        audit: of the dataset.
        balance: difference of the classes in each figure, in standard deviations, before and after.
    """

    folder: Path
    given: dict[str, int]
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...]
    written: int
    kept: int
    plan: FixPlan
    before: Shortcuts
    audit: Audit
    balance: dict[str, tuple[float | None, float | None]]

    @property
    def steps(self) -> dict[str, dict[str, int]]:
        """Number of clips that each step left out, by label."""
        found: dict[str, dict[str, int]] = {}
        for one in self.left_out:
            counts = found.setdefault(one.step, {str(label): 0 for label in Label})
            counts[str(one.candidate.label)] += 1
        return found

    def as_json(self) -> dict[str, Any]:
        """For `--json` and `collect.json`: nothing in it depends on the machine, or on breaks in the run."""
        after = self.audit.shortcuts
        return {
            "given": self.given,
            "kept": dict(Counter(str(sample.label) for sample in self.samples)),
            "left_out": self.steps,
            "by_split": dict(Counter(sample.split or "none" for sample in self.samples)),
            "by_source": dict(sorted(Counter(str(sample.source) for sample in self.samples).items())),
            "clips": {name: getattr(self.plan, name) for name in ("width", "height", "fps", "bit_rate")},
            "balance": {name: {"before": a, "after": b} for name, (a, b) in self.balance.items()},
            "audit": {
                "joint_auc_before": self.before.joint_auc,
                "joint_auc": after.joint_auc,
                "joint_auc_by_source": after.joint_auc_by_source,
                "shortcuts": [feature.name for feature in after.features if feature.shortcut],
                "found": after.found,
                "summary": after.summary,
                "integrity": self.audit.counts,
                "errors": self.audit.errors,
            },
        }


def collect(
    candidates: Sequence[Candidate],
    out: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    resume: bool = False,
    workers: int = 1,
    on_step: OnStep | None = None,
) -> Collected:
    """Make a dataset out of raw clips; see the head of this module for what it holds.

    Args:
        candidates: clips to choose from, of both labels.
        out: folder of the dataset.
        recipe: what to keep, and what to make of it.
        resume: whether to go on with what `out` holds.
        workers: clips at a time.
        on_step: called with (what is being done, how many are done, how many there are).

    Raises:
        DataError: no clip of one class is fit, or none can be matched (`left_out.csv` is written all the same).
        SettingsError: no clips, a setting that makes no sense, or a folder that `RunStore` refuses.
        MissingExtraError: the cut detector or scikit-learn is not installed.
    """
    recipe, tell = recipe or Recipe(), on_step or (lambda *_: None)
    if not candidates:
        raise SettingsError("collect", "there is no clip to choose from")
    check_classifiers()
    if recipe.cuts:
        measures.check_installed()
    settings = {**asdict(recipe), "candidates": _digest(candidates)}
    with RunStore(out, "collect", settings, resume=resume, files=FILES) as store:
        found = _measured(candidates, store, recipe, workers, tell)
        choice = _Choice(candidates, found, recipe)
        try:
            choice.make()
        except DataError:  # what was measured stays, for the corrected command to begin with
            store.free()
            raise
        finally:  # also where nothing is left: then the reasons are what is wanted
            _write_left_out(choice.left_out, store.path / LEFT_OUT)
        return _written(choice, store, workers, tell)


def _digest(candidates: Sequence[Candidate]) -> str:
    """What changes with the clips that are named: which are kept is decided for all of them together."""
    stated = [
        (one.video_id, one.name, one.label, one.source, one.prompt, one.pair, _bytes(one.path)) for one in candidates
    ]
    return hashlib.sha256(json.dumps(stated).encode()).hexdigest()


def _bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _measured(
    candidates: Sequence[Candidate], store: RunStore, recipe: Recipe, workers: int, tell: OnStep
) -> list[Measures]:
    """Each clip's measures: kept ones of equal bytes, else by a pass over its frames."""
    done = 0
    how = f"{recipe.max_s:g} {recipe.scan_s:g} {recipe.cuts}"

    def one(candidate: Candidate) -> Measures:
        nonlocal done
        key = key_of(store.content(str(candidate.path)), "measures", how)
        kept = store.find(key)
        if kept is not None:
            found = Measures.from_json(kept)
        else:
            found = measures.measure(candidate.path, max_s=recipe.max_s, scan_s=recipe.scan_s, cuts=recipe.cuts)
            store.add(key, found.as_json())
        done += 1
        tell("measuring", done, len(candidates))
        return found

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        return list(pool.map(one, candidates))


class _Choice:
    """Which clips are kept, decided step by step; clips go by their index."""

    def __init__(self, candidates: Sequence[Candidate], found: Sequence[Measures], recipe: Recipe) -> None:
        self.candidates, self.found, self.recipe = candidates, found, recipe
        self.refused: dict[int, tuple[str, str]] = {}
        self.balance: dict[str, tuple[float | None, float | None]] = {}
        self.partners: dict[int, tuple[int, ...]] = {}
        self.plan = FixPlan(0, 0, 0, 0)

    @property
    def left_out(self) -> list[LeftOut]:
        """What is not kept, with its reason, in the order given."""
        return [LeftOut(self.candidates[i], *self.refused[i]) for i in sorted(self.refused)]

    def make(self) -> None:
        """Choose, and plan what becomes of what is kept.

        Raises:
            DataError: nothing of one class is left.
        """
        for i, found in enumerate(self.found):
            if (refusal := self.recipe.limits.refusal(found)) is not None:
                self.refused[i] = refusal
        self._check("is fit")
        self._drop_twins(lambda i: self._shot_s(i))
        self._check("is left without near-duplicates")
        plan = self._planned(self.open(), self.recipe.size, self.recipe.fps)
        size, fps = (plan.width, plan.height), plan.fps
        self._check("is large enough for the copy")
        able = self.open()
        fit = set(able)
        while True:
            chosen = self._match(sorted(fit))
            self.plan = self._planned(chosen, size, fps)
            # Cut to their common lengths, clips can become equal that were not: one may have been longer.
            dropped = self._drop_twins(lambda i: self._final_s(i), among=chosen)
            fit -= dropped
            if not dropped:
                break
        for i in sorted(fit - set(chosen)):
            self.refused[i] = ("match", f"no {self._other(i)} clip is left that is as much like it as others'")
        kept = np.isin(able, chosen)
        self.balance = matching.balance([self.found[i] for i in able], self.fake(able), kept)

    def open(self) -> list[int]:
        """Clips that no step has left out so far."""
        return [i for i in range(len(self.candidates)) if i not in self.refused]

    def sample(self, i: int) -> Sample:
        """A clip as a sample of the dataset."""
        one = self.candidates[i]
        extra = {"collected_from": one.name} | ({} if one.pair is None else {"video_pair": one.pair})
        return Sample(
            video_id=one.video_id, label=one.label, source=one.source, prompt=one.prompt, path=one.name, extra=extra
        )

    def fake(self, among: Sequence[int]) -> NDArray[np.bool_]:
        """(N,) which of these clips are generated."""
        return np.array([self.candidates[i].label is Label.FAKE for i in among], dtype=bool)

    def _check(self, what: str) -> None:
        labels = {self.candidates[i].label for i in self.open()}
        for label, name in ((Label.FAKE, "generated"), (Label.REAL, "camera")):
            if label not in labels:
                raise DataError("collect", f"no {name} clip {what}", f"{LEFT_OUT} has the reasons.")

    def _other(self, i: int) -> str:
        return "camera" if self.candidates[i].label is Label.FAKE else "generated"

    def _shot_s(self, i: int) -> float:
        shot = self.found[i].shot
        return 0.0 if shot is None else shot.duration_s

    def _final_s(self, i: int) -> float:
        return self.plan.frames[self.candidates[i].video_id] / self.plan.fps

    def _drop_twins(self, seconds: Callable[[int], float], among: Sequence[int] | None = None) -> set[int]:
        """Leave out all but the best of clips that look the same in their first seconds; returns what was left out."""
        listed = self.open() if among is None else list(among)
        hashes = [shot.hashes_of_first(seconds(i)) if (shot := self.found[i].shot) else () for i in listed]
        dropped = set()
        for group in groups_of_pairs(list(near_duplicates(hashes))):
            members = [listed[at] for at in group]
            labels = {self.candidates[i].label for i in members}
            best = min(members, key=self._rank)
            for i in members:
                if len(labels) > 1:
                    twin = next(j for j in members if self.candidates[j].label is not self.candidates[i].label)
                    reason = f"looks the same as {self.candidates[twin].name}, which has the other label"
                elif i != best:
                    reason = f"looks the same as {self.candidates[best].name}"
                else:
                    continue
                self.refused[i] = ("duplicate", reason)
                dropped.add(i)
        return dropped

    def _rank(self, i: int) -> tuple[float, float, int]:
        """The largest first, then the longest, then the one that was named first."""
        media = self.found[i].facts.decoded
        pixels = 0 if media is None else media.width * media.height
        return -pixels, -self._shot_s(i), i

    def _planned(self, among: Sequence[int], size: tuple[int, int] | None, fps: int | None) -> FixPlan:
        """The plan of the copy for these clips; those that it leaves out are refused."""
        by_id = {self.candidates[i].video_id: i for i in among}
        facts = {video_id: self.found[i].facts_of_shot for video_id, i in by_id.items()}
        plan = make_plan([self.sample(i) for i in among], facts, size=size, fps=fps)
        for video_id, reason in plan.left_out.items():
            self.refused[by_id[video_id]] = ("copy", reason)
        return plan

    def _match(self, among: Sequence[int]) -> list[int]:
        """The clips that are matched, in order."""
        fake = self.fake(among)
        fakes = [i for i, is_fake in zip(among, fake, strict=True) if is_fake]
        reals = [i for i, is_fake in zip(among, fake, strict=True) if not is_fake]
        pairs = [self.candidates[i].pair for i in among]
        cost = matching.distances([self.found[i] for i in among], fake, pairs) if fakes and reals else np.zeros((0, 0))
        matched = matching.match(cost, ratio=self.recipe.ratio, max_distance=self.recipe.max_distance)
        self.partners = {}
        for at, theirs in matched.partner.items():
            self.partners[fakes[at]] = tuple(reals[real] for real in theirs)
            for real in theirs:
                self.partners[reals[real]] = (*self.partners.get(reals[real], ()), fakes[at])
        return sorted(self.partners)


def _written(choice: _Choice, store: RunStore, workers: int, tell: OnStep) -> Collected:
    """Write the clips and everything that is said of them, and audit the result."""
    recipe, chosen = choice.recipe, sorted(choice.partners)
    files = {choice.candidates[i].video_id: choice.candidates[i].path for i in chosen}
    starts = {choice.candidates[i].video_id: shot.start_s for i in chosen if (shot := choice.found[i].shot)}
    made = write_clips(
        _split([choice.sample(i) for i in chosen], recipe),
        files,
        store,
        choice.plan,
        starts_s=starts,
        workers=workers,
        on_file=lambda _, done, total: tell("writing", done, total),
    )
    samples = [sample for sample, _ in made]
    _remove_others(store.path / FOLDER, {Path(sample.path).name for sample in samples})
    write_reward_data(samples, store.path / ROWS)
    write_lines(_measure_lines(choice), store.path / MEASURES)
    audited = audit(
        store.path / ROWS,
        workers=workers,
        shuffles=recipe.shuffles,
        seed=recipe.seed,
        on_file=lambda done, total: tell("auditing", done, total),
    )
    result = Collected(
        folder=store.path,
        given=dict(Counter(str(one.label) for one in choice.candidates)),
        samples=tuple(samples),
        left_out=tuple(choice.left_out),
        written=sum(new for _, new in made),
        kept=sum(not new for _, new in made),
        plan=choice.plan,
        before=_before(choice),
        audit=audited,
        balance=choice.balance,
    )
    write_json(result.as_json(), store.path / REPORT)
    write_json(_metadata(result, recipe), store.path / croissant.FILE)
    return result


def _split(samples: list[Sample], recipe: Recipe) -> list[Sample]:
    """Samples with their split; clips of one pair are never apart."""
    if recipe.split == "none":
        return samples
    if recipe.split == "source":
        parts = split_by_source(samples, seed=recipe.seed, group_of=lambda sample: sample.extra.get("video_pair"))
    else:
        parts = split_by_video(
            samples, seed=recipe.seed, group_of=lambda sample: str(sample.extra.get("video_pair", sample.video_id))
        )
    return apply_split(samples, parts)


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Remove clips that an earlier run of this folder chose and this one, of files that have changed, does not."""
    for path in folder.glob("*.mp4"):
        if path.name not in wanted:
            path.unlink()


def _before(choice: _Choice) -> Shortcuts:
    """What the metadata of all clips that can be read gives away as they came; of floors only what is needed."""
    known = [
        (one, found.facts)
        for one, found in zip(choice.candidates, choice.found, strict=True)
        if found.facts.error is None and found.facts.width > 0
    ]
    return find_shortcuts(
        [facts for _, facts in known],
        [one.label is Label.FAKE for one, _ in known],
        [one.source for one, _ in known],
        shuffles=1,
        joint_shuffles=1,
        seed=choice.recipe.seed,
    )


def _write_left_out(left_out: Sequence[LeftOut], path: Path) -> None:
    with (
        atomic_path(path) as scratch,
        open(scratch, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "source", "step", "reason"))
        for one in left_out:
            cells = (one.candidate.name, str(one.candidate.label), one.candidate.source, one.step, one.reason)
            writer.writerow([csv_cell(cell) for cell in cells])


def _measure_lines(choice: _Choice) -> Iterator[dict[str, Any]]:
    """One line a candidate: what was measured, and what became of it."""
    for i, (one, found) in enumerate(zip(choice.candidates, choice.found, strict=True)):
        shot = None if found.shot is None else asdict(found.shot)
        for name in ("hashes", "appearance") if shot is not None else ():
            del shot[name]  # type: ignore[union-attr]
        step, reason = choice.refused.get(i, (None, None))
        yield {
            "video_id": one.video_id,
            "path": one.name,
            "label": str(one.label),
            "source": one.source,
            "left_out": step,
            "reason": reason,
            "matched_with": [choice.candidates[j].video_id for j in choice.partners.get(i, ())],
            "cuts_s": list(found.cuts_s),
            "shot": shot,
        }


def _metadata(result: Collected, recipe: Recipe) -> dict[str, Any]:
    limits = ", ".join(f"{name} {value:g}" for name, value in asdict(recipe.limits).items() if value is not None)
    return croissant.croissant(
        result.folder,
        result.samples,
        files=(ROWS, LEFT_OUT, MEASURES),
        name=recipe.name or result.folder.resolve().name,
        about=recipe.about,
        filters=limits,
        left_out={step: sum(counts.values()) for step, counts in result.steps.items()},
        audited=result.audit.shortcuts.summary,
    )
