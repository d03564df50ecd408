"""Questions in words to a language model about clips: what comes back is its text, or an outcome and why.

The model works in this process, unlike a detector's own question (`deeptrace.inference.executor`): nothing but loaded
models can be asked in words of the caller's. Several questions at a time where a server answers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from deeptrace.detectors import AskableDetector, Detector, Execution
from deeptrace.errors import DeeptraceError, SettingsError
from deeptrace.inference.executors.engines import execution_of
from deeptrace.inference.one_clip import failure, open_clip
from deeptrace.schema import Outcome

__all__ = ["Reply", "ask", "askable"]


@dataclass(frozen=True)
class Reply:
    """What came of one question.

    Attributes:
        index: its place among the questions given, from 0.
        outcome: scored where there is a text.
        text: of the answer; None without one.
        error: one line, for any other outcome.
    """

    index: int
    outcome: Outcome
    text: str | None = None
    error: str | None = None


def askable(detector: Detector) -> AskableDetector:
    """The detector as one that can be asked in words.

    Raises:
        SettingsError: it is no language model.
    """
    if not isinstance(detector, AskableDetector):
        raise SettingsError(detector.info.name, "cannot be asked in words", "Language models can: hf: and openai:.")
    return detector


def ask(detector: AskableDetector, asked: Iterable[tuple[str, str]], *, workers: int | None = None) -> Iterator[Reply]:
    """The replies to (path, question) pairs, as they are done; every failure is an outcome.

    Args:
        detector: loaded.
        asked: drawn as there is room for them.
        workers: questions at a time of a served model; None for as many as it takes. Others are asked one by one.
    """
    threads = execution_of(detector) is Execution.THREADS
    room = max(workers or int(getattr(detector, "concurrency", 1)), 1) if threads else 1
    source, more = enumerate(asked), True
    pending: set[Future[Reply]] = set()
    with ThreadPoolExecutor(max_workers=room) as pool:
        try:
            while more or pending:
                while more and len(pending) < room:
                    drawn = next(source, None)
                    if drawn is None:
                        more = False
                        break
                    index, (path, text) = drawn
                    pending.add(pool.submit(_one, detector, index, path, text))
                if pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from sorted((future.result() for future in done), key=lambda reply: reply.index)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one(detector: AskableDetector, index: int, path: str, text: str) -> Reply:
    try:
        video = open_clip(path)
    except (DeeptraceError, OSError, MemoryError) as error:
        verdict = failure(path, error, info=detector.info).verdict
        return Reply(index, verdict.outcome, None, verdict.error)
    with video:
        try:
            return Reply(index, Outcome.SCORED, detector.ask(video, text))
        except Exception as error:  # noqa: BLE001  somebody's model at work: what goes wrong there is an outcome
            verdict = failure(path, error, info=detector.info, video=video).verdict
            return Reply(index, verdict.outcome, None, verdict.error)
