"""The audit from end to end: read, join, decode, check, look for shortcuts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deeptrace.audit import classify, integrity
from deeptrace.audit.file_facts import FileFacts, gather
from deeptrace.audit.integrity import Finding, Severity
from deeptrace.audit.shortcuts import MIN_CLIPS_A_CLASS, Shortcuts, find_shortcuts
from deeptrace.data.media_join import join_media
from deeptrace.data.reward_row import RewardRow
from deeptrace.data.rewarddata import annotations_path, iter_rows, samples_of_rows
from deeptrace.errors import DataError
from deeptrace.io.spread import Spread
from deeptrace.schema import Label, Sample

__all__ = ["Audit", "audit"]

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        name: the dataset, as the user named it.
        samples: all that could be read.
        facts: of each sample that has a file, by video id.
        findings: of integrity, worst first.
        shortcuts: what metadata gives away.
        rows: number of rows.
        decoded: whether the files were decoded in full.
    """

    name: str
    samples: tuple[Sample, ...]
    facts: dict[str, FileFacts]
    findings: tuple[Finding, ...]
    shortcuts: Shortcuts
    rows: int
    decoded: bool

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, in the order of `findings`."""
        return dict(Counter(finding.kind for finding in self.findings))

    @property
    def errors(self) -> int:
        """Findings that make results wrong."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: counts, findings, shortcuts; a measure that could not be computed is None."""
        labels = Counter(str(sample.label or UNKNOWN) for sample in self.samples)
        return {
            "dataset": self.name,
            "rows": self.rows,
            "videos": len(self.samples),
            "videos_with_file": len(self.facts),
            "by_label": dict(labels),
            "by_split": dict(Counter(sample.split or UNKNOWN for sample in self.samples)),
            "traces": sum(len(sample.traces) for sample in self.samples),
            "decoded": self.decoded,
            "integrity": {"counts": self.counts, "findings": [asdict(finding) for finding in self.findings]},
            "shortcuts": asdict(self.shortcuts),
        }


def audit(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    split: str | None = None,
    decode: bool = True,
    workers: int = 1,
    spread: Spread | None = None,
    shuffles: int = 100,
    seed: int = 0,
    on_file: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audit a dataset.

    Args:
        path: its folder or annotation file.
        root: folder that paths are relative to; that of the annotation file by default.
        split: look at this split only.
        decode: decode every file in full; without, damage, wrong counts and duplicates go unseen.
        workers: files decoded at a time.
        spread: where they are decoded, such as a `deeptrace.scale.RayMap`; None for `workers` threads here.
        shuffles: label shuffles for the floors; the joint ones take a fifth as many.
        seed: of folds, models and shuffles.
        on_file: called with (files done, files in all).

    Raises:
        DataError: no annotations, or not one readable row.
        MissingExtraError: scikit-learn is not installed.
    """
    file = annotations_path(path)
    rows = list(iter_rows(file))
    samples, findings = _read(rows)
    if split is not None:
        samples = [sample for sample in samples if sample.split == split]
    if not samples:
        raise DataError(file, "has no readable video" + (f" in split {split!r}" if split else ""))
    labels = Counter(sample.label for sample in samples)
    if min(labels[Label.FAKE], labels[Label.REAL]) >= MIN_CLIPS_A_CLASS:
        classify.check_installed()  # said before every file is decoded, not after
    join = join_media(samples, Path(file).parent if root is None else root)
    findings += integrity.check_join(join) if split is None else ()
    facts = _facts(
        [sample for sample in samples if sample.video_id in join.found],
        join.found,
        partial(gather, workers=workers, decode=decode, spread=spread),
        on_file,
    )
    findings += integrity.check_files(samples, facts)
    findings += integrity.check_duplicates(samples, facts)
    findings += integrity.check_splits(samples)
    order = list(Severity)
    findings.sort(key=lambda finding: (order.index(finding.severity), finding.kind))
    return Audit(
        name=str(path),
        samples=tuple(samples),
        facts=facts,
        findings=tuple(findings),
        shortcuts=_shortcuts(samples, facts, shuffles, seed),
        rows=len(rows),
        decoded=decode,
    )


def _read(rows: list[RewardRow]) -> tuple[list[Sample], list[Finding]]:
    """The samples that can be read, and what is wrong with rows, each on its own and beside others of its video."""
    findings = list(integrity.check_rows(rows))
    problems: list[DataError] = []
    samples = samples_of_rows(rows, on_problem=problems.append)
    known = {finding.subject for finding in findings if finding.kind == "nonsense"}
    findings += [
        Finding("contradiction", Severity.ERROR, problem.subject, problem.problem)
        for problem in problems
        if problem.subject not in known
    ]
    return samples, findings


def _shortcuts(samples: list[Sample], facts: dict[str, FileFacts], shuffles: int, seed: int) -> Shortcuts:
    """What metadata gives away of the samples whose label is known and whose file has a picture."""
    usable = [s for s in samples if s.label is not None and s.video_id in facts and facts[s.video_id].width > 0]
    return find_shortcuts(
        [facts[sample.video_id] for sample in usable],
        [sample.label is Label.FAKE for sample in usable],
        [sample.source or f"{UNKNOWN} {sample.label}" for sample in usable],
        shuffles=shuffles,
        joint_shuffles=max(shuffles // 5, 1),
        seed=seed,
    )


def _facts(
    samples: list[Sample],
    files: dict[str, Path],
    gathered: Callable[..., list[FileFacts]],
    on_file: Callable[[int, int], None] | None,
) -> dict[str, FileFacts]:
    done = 0

    def count(_: FileFacts) -> None:
        nonlocal done
        done += 1
        if on_file is not None:
            on_file(done, len(samples))

    found = gathered([files[sample.video_id] for sample in samples], on_done=count)
    return {sample.video_id: facts for sample, facts in zip(samples, found, strict=True)}
