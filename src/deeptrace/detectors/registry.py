"""Find a detector by its name: `prefix` or `prefix:rest`.

A *family* is one prefix and the factory behind it, `factory(rest, **settings) -> Detector`. Built-in families stand
in `BUILT_IN`; other packages add theirs as entry points of the group "deeptrace.detectors", whose name is the prefix:

    [project.entry-points."deeptrace.detectors"]
    acme = "acme_detector:load"          # then: deeptrace detect clip.mp4 --detector acme:small

Nothing of a family is imported before one of its detectors is loaded, so a broken or missing dependency of one
family never disturbs the others.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from deeptrace.detectors.base import Detector, Planner
from deeptrace.errors import DeeptraceError, MissingExtraError, ModelError, SettingsError, UnknownDetectorError

__all__ = [
    "BUILT_IN",
    "DEFAULT_DETECTOR",
    "ENTRY_POINT_GROUP",
    "Family",
    "check_detector",
    "families",
    "family_of",
    "load_detector",
    "load_planner",
]

ENTRY_POINT_GROUP = "deeptrace.detectors"
DEFAULT_DETECTOR = "tracenet"


@dataclass(frozen=True)
class Family:
    """One prefix and what stands behind it.

    Attributes:
        prefix: the name before the colon.
        target: "module:attribute" of the factory `(rest, **settings) -> Detector`.
        summary: one line for `deeptrace detectors`.
        names: full detector names known beforehand, each with a line on what it is; a family that takes any rest (a
            model id, a folder) may list none.
        takes_rest: whether something may or must follow the colon.
        needs: top-level modules that must be installed beyond the base install.
        extra: the extra of deeptrace that brings `needs`.
        origin: the package that provides the family: "deeptrace", or the distribution of a plug-in.
        planner: "module:attribute" of the factory `(rest, **settings) -> Planner`, for families that can say what a
            clip will take before anything is loaded. A plug-in says so by an attribute `planner` of its factory.
    """

    prefix: str
    target: str
    summary: str
    names: Mapping[str, str] = field(default_factory=dict)
    takes_rest: bool = True
    needs: tuple[str, ...] = ()
    extra: str | None = None
    origin: str = "deeptrace"
    planner: str | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Modules of `needs` that are not installed here."""
        return tuple(module for module in self.needs if importlib.util.find_spec(module) is None)

    def factory(self) -> Callable[..., Detector]:
        """Import the factory.

        Raises:
            MissingExtraError: a module of `needs` is not installed.
            ModelError: the family's module does not import.
        """
        return self._imported(self.target)

    def plan_factory(self) -> Callable[..., Planner]:
        """Import the factory of planners.

        Raises:
            SettingsError: the family has none.
            MissingExtraError, ModelError: as `factory`.
        """
        if self.planner is not None:
            return self._imported(self.planner)
        planner: Callable[..., Planner] | None = getattr(self.factory(), "planner", None)
        if planner is None:
            raise SettingsError(self.prefix, "has no cost estimate", "Only language models do: hf: and openai:.")
        return planner

    def _imported(self, target: str) -> Callable[..., Any]:
        if self.missing and self.extra:
            raise MissingExtraError(f"detector {self.prefix}", self.extra)
        module, _, attribute = target.partition(":")
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ModelError(self.prefix, f"its factory {target} cannot be imported: {error}") from error
        return found  # type: ignore[return-value]


BUILT_IN: tuple[Family, ...] = (
    Family(
        prefix="tracenet",
        target="deeptrace.detectors.tracenet:load",
        summary="the default detector; tracenet:FOLDER for one that `deeptrace train tracenet` made",
        names={"tracenet": "motion, sharpness and noise evidence read by a small network; no GPU, no download"},
    ),
    Family(
        prefix="baseline",
        target="deeptrace.detectors.baselines:load",
        summary="peers from the field and constant answers to compare with; see `deeptrace train baseline`",
        names={
            "baseline:all-fake": "always says FAKE",
            "baseline:all-real": "always says REAL",
            "baseline:center-box": "says FAKE with a box in the middle of the frame, over the whole clip",
            "baseline:d3": "says FAKE when motion is too even (after D3); with weights=FILE, as it was trained",
            "baseline:demamba": "a state space over the frames (after DeMamba); needs weights=FILE",
            "baseline:difficulty-boosting": "hard clips weigh more (after Diffusion Deepfake); needs weights=FILE",
            "baseline:fakelocator": "a map of pixel relations (after FakeLocator); needs weights=FILE",
            "baseline:frame-skip": "several samplings under a meta-model; needs weights=FILE",
            "baseline:full-frame": "says FAKE with the whole frame as its box, over the whole clip",
            "baseline:genconvit": "latents of two autoencoders (after GenConViT); needs weights=FILE",
            "baseline:gm-df": "an expert a domain, meta-learned (after GM-DF); needs weights=FILE",
            "baseline:lsda": "forgeries made up in feature space (after LSDA); needs weights=FILE",
            "baseline:motion-vectors": "the codec's motion vectors; needs weights=FILE",
            "baseline:npr": "says FAKE when neighbouring pixels are too alike (after NPR); with weights=FILE, trained",
            "baseline:patchcraft": "rich against poor texture (after PatchCraft); needs weights=FILE",
            "baseline:prediction": "errors in foreseeing the next frame (after CT-D2GAN); needs weights=FILE",
            "baseline:probe": "a linear probe of a frozen encoder; needs weights=FILE",
            "baseline:qad": "one model for all qualities (after QAD); needs weights=FILE",
            "baseline:restrav": "how straight the path through features is (after ReStraV); needs weights=FILE",
            "baseline:stall": "likelihood under real footage (after STALL); needs weights=FILE",
            "baseline:ucf": "forgery features common to all generators (after UCF); needs weights=FILE",
            "baseline:what-matters": "experts on appearance, motion, geometry; needs weights=FILE",
        },
    ),
    Family(
        prefix="openai",
        target="deeptrace.detectors.vlm.openai:load",
        summary="a multimodal language model on OpenAI, Gemini, vLLM, SGLang, LM Studio: openai:MODEL[@URL]",
        needs=("httpx",),
        extra="api",
        planner="deeptrace.detectors.vlm.openai:load_planner",
    ),
    Family(
        prefix="hf",
        target="deeptrace.detectors.vlm.hf:load",
        summary="a multimodal language model run here by transformers: hf:MODEL_OR_FOLDER",
        needs=("torch", "transformers", "accelerate", "peft"),
        extra="hf",
        planner="deeptrace.detectors.vlm.hf:load_planner",
    ),
)


def families() -> dict[str, Family]:
    """Every family by prefix: the built-in ones, then those of installed packages.

    An entry point cannot take over a built-in prefix; of two packages with the same prefix the first by name counts.
    """
    return dict(_families(tuple(sys.path)))


@functools.lru_cache(maxsize=1)
def _families(_path: tuple[str, ...]) -> dict[str, Family]:
    """What is installed on that path, looked up once: a scan of every installed package takes a tenth of a second."""
    known = {family.prefix: family for family in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, _origin(point))):
        if point.name not in known:
            known[point.name] = Family(
                prefix=point.name,
                target=point.value.replace(" ", "").partition("[")[0],
                summary=f"provided by the package {_origin(point)}",
                origin=_origin(point),
            )
    return known


def family_of(name: str) -> Family | None:
    """The family that the detector called `name` belongs to; None where no prefix is like that."""
    prefix = name.strip().partition(":")[0]
    built_in = next((family for family in BUILT_IN if family.prefix == prefix), None)
    return built_in or families().get(prefix)


def load_detector(name: str = DEFAULT_DETECTOR, **settings: Any) -> Detector:
    """The detector called `name`, ready to analyse videos.

    Args:
        name: `tracenet`, `baseline:d3`, ... ; `deeptrace detectors` lists them.
        settings: passed to the detector's factory; each detector documents its own.

    Raises:
        UnknownDetectorError: no detector has that name; the message suggests near ones.
        SettingsError: the detector does not take these settings.
        MissingExtraError: an optional dependency of the detector is not installed.
        ModelError: the detector could not be loaded.
    """
    detector = _made(name, Family.factory, settings)
    if not isinstance(detector, Detector):
        raise ModelError(name, f"its factory returned {type(detector).__name__}, which has no `info` and `detect`")
    return detector


def check_detector(name: str, settings: Mapping[str, Any]) -> None:
    """That there is a detector called `name` which takes `settings`; what it needs to be loaded is not looked at.

    Raises:
        UnknownDetectorError: no detector has that name; the message suggests near ones.
        SettingsError: the detector does not take these settings.
        MissingExtraError: an optional dependency of the detector is not installed.
        ModelError: its module does not import.
    """
    family, rest = _family_and_rest(name)
    named = [full for full in family.names if ":" in full]
    if named and name.strip() not in family.names:  # all that there are
        raise unknown(name)
    check_settings(name, family.factory(), (rest,) if family.takes_rest else (), settings)


def load_planner(name: str, **settings: Any) -> Planner:
    """What says beforehand what the detector called `name` will take for a clip; no model is loaded.

    Raises:
        SettingsError: the detector has no cost estimate, or does not take these settings.
        UnknownDetectorError, MissingExtraError, ModelError: as `load_detector`.
    """
    planner: Planner = _made(name, Family.plan_factory, settings)
    return planner


def _made(name: str, factory_of: Callable[[Family], Callable[..., Any]], settings: dict[str, Any]) -> Any:
    """What the family's factory makes of the rest of `name` and the settings."""
    family, rest = _family_and_rest(name)
    factory = factory_of(family)
    args = (rest,) if family.takes_rest else ()
    check_settings(name, factory, args, settings)
    try:
        return factory(*args, **settings)
    except UnknownDetectorError:
        raise unknown(name) from None
    except DeeptraceError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(name, f"could not be loaded: {error}") from error


def _family_and_rest(name: str) -> tuple[Family, str]:
    """The family of a detector, and what follows the colon."""
    _, colon, rest = name.strip().partition(":")
    family = family_of(name)
    if family is None or (colon and not family.takes_rest):
        raise unknown(name)
    return family, rest


def unknown(name: str) -> UnknownDetectorError:
    """The error for a name that no detector has, with the nearest names that exist."""
    known = sorted({full for family in families().values() for full in (family.names or (f"{family.prefix}:...",))})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    return UnknownDetectorError(repr(name), "no detector has that name", f"Did you mean: {', '.join(near)}?")


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def check_settings(name: str, factory: Callable[..., Any], args: tuple[Any, ...], settings: Mapping[str, Any]) -> None:
    """Check that `factory(*args, **settings)` can be called.

    Raises:
        SettingsError: it cannot; the message names what is wrong and the settings there are.
    """
    signature = inspect.signature(factory)
    try:
        signature.bind(*args, **settings)
    except TypeError as error:
        named = [each for each in signature.parameters.values() if each.kind in _NAMED][len(args) :]
        takes = [each.name for each in named]
        wrong = ", ".join(key for key in settings if key not in takes) or str(error)
        mend = f"It takes: {', '.join(takes)}." if takes else "It takes none."
        raise SettingsError(name, f"does not take these settings: {wrong}", mend) from error


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
