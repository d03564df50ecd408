"""The thirteen baselines of the paper, with what has to be known to run them again.

Names are those of the paper's result tables. Sampling is the paper's: 2 frames a second where that can be set, exactly
8 frames for Video-LLaVA, 1 frame a second and at most 20 frames for LLaVA-OneVision. The paper does not say which
revision of a model it ran, nor, for most, how boxes were to be read. What is not known for sure is None here, and
`note` says what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from deeptrace.video.sampling import FrameRequest

__all__ = ["PAPER_MODELS", "PAPER_SAMPLING", "PaperModel", "paper_model"]


PAPER_SAMPLING = FrameRequest(fps=2.0)
"""The paper's rule where a rate can be set."""


@dataclass(frozen=True, slots=True)
class PaperModel:
    """One baseline.

    Attributes:
        name: as in the paper's tables.
        model_id: at the vendor's service or on the Hugging Face hub; the nearest public id where the paper names none.
        served: whether it is a vendor's service; the others have open weights.
        sampling: which frames the paper showed it.
        space: name of the coordinate space that the model's makers document; None where they document none.
        licence: of the weights; None where not known for sure.
        parameters_b: billions of parameters, vision encoder included; None where not public.
        note: what is not known.
    """

    name: str
    model_id: str
    served: bool = False
    sampling: FrameRequest = PAPER_SAMPLING
    space: str | None = None
    licence: str | None = None
    parameters_b: float | None = None
    note: str = ""

    @property
    def detector(self) -> str:
        """The detector name that runs it: open weights need a server's address after it, as in `@http://HOST/v1`."""
        return f"openai:{self.model_id}"

    @property
    def weights_gib(self) -> float | None:
        """Memory of the weights in bf16, GiB; cache and activations come on top. None where the size is not public."""
        return None if self.parameters_b is None else round(self.parameters_b * 2e9 / 2**30, 1)


_NO_SNAPSHOT = "the paper names no dated snapshot; no box space is documented"

PAPER_MODELS: tuple[PaperModel, ...] = (
    PaperModel("GPT 5", "gpt-5", served=True, licence="service", note=_NO_SNAPSHOT),
    PaperModel("GPT 4.1", "gpt-4.1", served=True, licence="service", note=_NO_SNAPSHOT),
    PaperModel("Gemini 2.5 Pro", "gemini-2.5-pro", served=True, space="permille_yxyx", licence="service"),
    PaperModel("Gemini 2.5 Flash", "gemini-2.5-flash", served=True, space="permille_yxyx", licence="service"),
    PaperModel(
        "LLaVa-One-Vision 7B",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        sampling=FrameRequest(fps=1.0, max_frames=20),
        licence="Apache-2.0",
        parameters_b=8.03,
        note="the paper names no revision; no box space is documented",
    ),
    PaperModel(
        "Video-LLaVa 7B",
        "LanguageBind/Video-LLaVA-7B-hf",
        sampling=FrameRequest(frames=8),
        parameters_b=7.37,
        note="licence: code Apache-2.0, weights derive from Vicuna and Llama 2, whose terms apply: read the card",
    ),
    PaperModel(
        "Phi-4-vision",
        "microsoft/Phi-4-multimodal-instruct",
        licence="MIT",
        parameters_b=5.57,
        note="'Phi-4-vision' is taken to be Phi-4 multimodal; no box space is documented",
    ),
    PaperModel(
        "Phi-3.5-Vision",
        "microsoft/Phi-3.5-vision-instruct",
        licence="MIT",
        parameters_b=4.15,
        note="no box space is documented",
    ),
    PaperModel("Qwen 2 VL 7B", "Qwen/Qwen2-VL-7B-Instruct", space="permille", licence="Apache-2.0", parameters_b=8.29),
    PaperModel(
        "Qwen 2.5 VL 7B",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        space="resized_pixels",
        licence="Apache-2.0",
        parameters_b=8.29,
    ),
    PaperModel(
        "Qwen 2.5 VL 32B",
        "Qwen/Qwen2.5-VL-32B-Instruct",
        space="resized_pixels",
        licence="Apache-2.0",
        parameters_b=33.5,
    ),
    PaperModel(
        "Qwen 2.5 VL 72B",
        "Qwen/Qwen2.5-VL-72B-Instruct",
        space="resized_pixels",
        licence="Qwen licence",
        parameters_b=73.4,
    ),
    PaperModel(
        "VideoLLaMa3 7B",
        "DAMO-NLP-SG/VideoLLaMA3-7B",
        licence="Apache-2.0",
        parameters_b=8.04,
        note="no box space is documented for the untrained model; the paper's checkpoint answers in pixels",
    ),
)


def paper_model(model: str) -> PaperModel | None:
    """The baseline that a served model's name means: its id or the last part of it, whatever the case; None for none.

    A dated snapshot (`gpt-4.1-2025-04-14`) is the model it is a snapshot of; `gpt-4.1-mini` is another model.

    >>> paper_model("gpt-4.1-2025-04-14").name, paper_model("gpt-4.1-mini")
    ('GPT 4.1', None)
    """
    name = model.lower().rpartition("/")[2]
    for known in PAPER_MODELS:
        base = known.model_id.lower().rpartition("/")[2]
        if name == base or (name.startswith(f"{base}-") and name[len(base) + 1 :].replace("-", "").isdigit()):
            return known
    return None
