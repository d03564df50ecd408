"""A dataset class for VLMEvalKit, beside the TSV that `deeptrace data export --to vlmevalkit` writes.

    deeptrace data export RewardData --to vlmevalkit --root RewardData --out ~/LMUData/RewardData.tsv
    python -m deeptrace.benchmark.vlmevalkit run.py --config config.json --mode all

with `config.json`:

    {"model": {...}, "data": {"RewardData": {"class": "DeeptraceVideo", "dataset": "RewardData", "nframe": 16}}}

VLMEvalKit looks its classes up by name in `vlmeval.dataset`; `install()` puts this one there, and this module runs a
script with that done. The class can be made by hand as well: `DeeptraceVideo("RewardData", nframe=16)`.

Frames are cut out by VLMEvalKit, which wants `.mp4`; models that read videos themselves get the file as it is.

Source: open-compass/VLMEvalKit vlmeval/dataset/video_base.py, vlmeval/inference_video.py, run.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from deeptrace.benchmark.eval_kits import path_of_row, scores_of_answers
from deeptrace.errors import DataError, SettingsError
from deeptrace.io.processes import run_script

try:
    import vlmeval.dataset
    from vlmeval.dataset.video_base import VideoBaseDataset
    from vlmeval.smp import LMUDataRoot, dump, get_intermediate_file_path, load
except ImportError as error:
    raise SettingsError(
        "deeptrace.benchmark.vlmevalkit",
        f"needs VLMEvalKit ({error})",
        "Install VLMEvalKit, and start from its folder.",
    ) from error

__all__ = ["DeeptraceVideo", "install"]


class DeeptraceVideo(VideoBaseDataset):  # type: ignore[misc]
    """RewardData, or any dataset exported for VLMEvalKit.

    Args:
        dataset: the TSV's name without its ending, in VLMEvalKit's data folder.
        pack: not supported.
        nframe, fps: how frames are cut out; see `VideoBaseDataset`.
        data_file: the TSV, where it lies elsewhere.
    """

    TYPE = "Video-VQA"

    def __init__(
        self,
        dataset: str = "RewardData",
        pack: bool = False,
        nframe: int = 0,
        fps: float = -1,
        data_file: str | None = None,
    ) -> None:
        if pack:
            raise SettingsError("DeeptraceVideo", "asks one question a video", "Set pack to false.")
        self._file = data_file
        super().__init__(dataset=dataset, pack=False, nframe=nframe, fps=fps)

    @classmethod
    def supported_datasets(cls) -> list[str]:
        """The dataset's name where it is asked for without a config."""
        return ["RewardData"]

    def prepare_dataset(self, dataset: str) -> dict[str, str]:
        """The TSV, and the folder of the videos that it names (else the TSV's own).

        Raises:
            DataError: there is no such file, or it is no exported benchmark.
        """
        file = self._file or os.path.join(LMUDataRoot(), f"{dataset}.tsv")
        if not os.path.isfile(file):
            raise DataError(file, "no such file", "Write it with: deeptrace data export DIR --to vlmevalkit --out FILE")
        rows = load(file)
        if "traces" not in rows or not len(rows):
            raise DataError(file, "is not a benchmark exported by deeptrace")
        stated = rows["root"].iloc[0] if "root" in rows else None
        return {"root": stated if isinstance(stated, str) else os.path.dirname(file), "data_file": file}

    def build_prompt(self, line: Any, video_llm: bool) -> list[dict[str, Any]]:
        """The video, or its frames, and the question."""
        row: Mapping[str, Any] = self.data.iloc[line] if isinstance(line, int) else line
        path = path_of_row(row, self.data_root)
        if video_llm:
            shown = [{"type": "video", "value": path}]
        elif not path.endswith(".mp4"):
            raise DataError(path, "VLMEvalKit cuts frames out of .mp4 files only", "Take a model that reads videos.")
        else:
            shown = [{"type": "image", "value": frame} for frame in self.save_video_frames(row["video"])]
        return [*shown, {"type": "text", "value": row["question"]}]

    def evaluate(self, eval_file: str, **judge_kwargs: Any) -> dict[str, float]:  # noqa: ARG002 - VLMEvalKit's signature
        """The paper's metrics but for the explanation, 0 to 100; all blocks go to `..._deeptrace.json` beside the file.

        An answer that is missing or cannot be read counts as wrong; how many could be read is in `readable`. The ground
        truth is read from the TSV: the kit's spreadsheets cut long cells off.
        """
        answered = load(eval_file)
        answers = dict(zip(answered["index"].astype(str), answered["prediction"], strict=True))
        rows = self.data.to_dict(orient="records")
        scores = scores_of_answers(rows, [answers.get(str(row["index"])) for row in rows])
        dump(scores, get_intermediate_file_path(eval_file, "_deeptrace", "json"))
        readable = 100.0 * scores["outcomes"]["scored"] / len(rows)
        known = {name: value for name, value in scores["paper"].items() if value is not None}
        return known | {"accuracy_per_video": scores["per_video"]["accuracy"], "readable": readable}


def install() -> None:
    """Make the class known to VLMEvalKit by its name and by `supported_datasets`."""
    vlmeval.dataset.DeeptraceVideo = DeeptraceVideo
    if DeeptraceVideo not in vlmeval.dataset.DATASET_CLASSES:
        vlmeval.dataset.DATASET_CLASSES.append(DeeptraceVideo)
        vlmeval.dataset.SUPPORTED_DATASETS.extend(DeeptraceVideo.supported_datasets())


if __name__ == "__main__":
    run_script("deeptrace.benchmark.vlmevalkit")
