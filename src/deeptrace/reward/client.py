"""The client of `deeptrace serve`: called like `Reward`, scored on another machine.

    reward = RewardClient("http://scorer:8000", api_key=key, in_flight=16)
    reward(["a.mp4", "b.mp4"])                    # [0.71, 0.18]; NaN for a clip that cannot be scored
    reward.score([frames], fps=16)[0].parts       # frames (T, H, W, 3) uint8, sent as they are

`AsyncRewardClient` is the same on an event loop. Both need httpx (the extra `serve`). Each clip is a request of its
own, a file's bytes as they are, `in_flight` of them at a time, so that a busy server takes what it has room for; where
it says 429 or 503, or cannot be reached, the request is sent again, after as long as it asked for.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from deeptrace.errors import MissingExtraError, ModelError, ServiceError, SettingsError
from deeptrace.metrics.reward import ScalarReward
from deeptrace.net.background import run_blocking
from deeptrace.net.retry import RETRIED, Retries, TransientError, retry_after_s
from deeptrace.reward.result import RewardResult
from deeptrace.schema import Outcome, Verdict

if TYPE_CHECKING:
    import httpx

    from deeptrace.reward.dense import DenseReward

__all__ = [
    "AsyncRewardClient",
    "RemoteClip",
    "RewardClient",
]


RemoteClip = "str | os.PathLike[str] | bytes | NDArray[Any] | Unusable"
"""A path (sent, unless `send="path"`), an http(s) URL that the server fetches, the bytes of a video file, frames
(T, H, W, 3) uint8 RGB, or a clip already known to be unusable."""

KEY_VARIABLE = "DEEPTRACE_SERVE_KEY"
_LONGEST_PAUSE_S = 15.0
_READ_BYTES = 1 << 20


class AsyncRewardClient:
    """Rewards from a server, on one event loop; an async context manager.

    Args:
        url: of the server, "http://host:8000".
        api_key: None for that in DEEPTRACE_SERVE_KEY, if any.
        in_flight: clips asked about at the same time.
        patience_s: longest time for one clip, all tries included, waiting for its turn excluded.
        failures: "nan" makes a clip without a reward NaN, as `Reward` does; "raise" raises for the first one.
        send: "upload" sends files; "path" names them to a server that has the same disk.

    Raises:
        MissingExtraError: httpx is not installed.
        SettingsError: an argument is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        in_flight: int = 8,
        patience_s: float = 600.0,
        failures: Literal["nan", "raise"] = "nan",
        send: Literal["upload", "path"] = "upload",
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("the client of deeptrace serve", "serve") from error
        check_client(url, in_flight, patience_s, failures, send)
        key = api_key if api_key is not None else os.environ.get(KEY_VARIABLE)
        self.url, self._patience_s = url.rstrip("/"), patience_s
        self._raises, self._by_path = failures == "raise", send == "path"
        self._turns = asyncio.Semaphore(in_flight)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=in_flight + 1, keepalive_expiry=20.0),
            timeout=httpx.Timeout(patience_s, connect=10.0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __call__(self, videos: Sequence[Any], *, fps: float | Sequence[float] | None = None) -> list[float]:
        """The reward of each clip, in order; NaN where one could not be scored. See `score`."""
        return [result.reward for result in await self.score(videos, fps=fps)]

    async def score(self, videos: Sequence[Any], *, fps: float | Sequence[float] | None = None) -> list[RewardResult]:
        """The result of each clip, in order.

        Args:
            videos: see `RemoteClip`.
            fps: frames a second of the clips given as arrays, one for all or one each; the others know theirs.

        Raises:
            SettingsError: an array without `fps`, of another shape or dtype, or a wrong number of `fps`.
            ServiceError: the server declines the requests themselves: a wrong key or address.
            ModelError: with `failures="raise"`, a clip could not be scored, or the server not be reached.
        """
        from deeptrace.reward.inputs import rates_of
        from deeptrace.reward.tensors import Unusable

        rates = rates_of(fps, videos)
        for index, (clip, rate) in enumerate(zip(videos, rates, strict=True)):
            check_clip(clip, rate, index)

        async def one(clip: Any, rate: float | None, index: int) -> RewardResult:
            if isinstance(clip, Unusable):
                return failure(clip.name, Outcome.DECODE_FAILED, clip.reason)
            name = name_of(clip, index)
            try:
                response = await self._ask("score", clip, rate, name, {})
            except FileNotFoundError:
                return failure(name, Outcome.DECODE_FAILED, "no such file")
            except OSError as error:
                return failure(name, Outcome.DECODE_FAILED, f"cannot be read ({error.strerror or error})")
            except TransientError as error:
                return failure(name, Outcome.MODEL_FAILED, f"{self.url} gave no answer: {error}")
            found = response.json()
            return result_of(found["results"][0] if "results" in found else found)

        tasks = [asyncio.ensure_future(one(*item, index)) for index, item in enumerate(zip(videos, rates, strict=True))]
        try:
            results = list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
        if self._raises and (bad := next((r for r in results if math.isnan(r.reward)), None)) is not None:
            raise ModelError(bad.verdict.video, bad.error or "could not be scored")
        return results

    async def dense(
        self,
        video: Any,
        *,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        times_s: Sequence[float] | None = None,
    ) -> DenseReward:
        """A reward for every place and moment of one clip; see `Reward.dense`. The map comes in steps of 1/2048.

        Raises:
            ModelError: the clip cannot be scored, or the server not be reached.
            SettingsError, ServiceError: as `score`.
        """
        from deeptrace.reward.dense import DenseReward

        check_clip(video, fps, 0)
        name = name_of(video, 0)
        wish = {"size": None if size is None else list(size), "times_s": None if times_s is None else list(times_s)}
        try:
            response = await self._ask("dense", video, fps, name, {k: v for k, v in wish.items() if v is not None})
        except (TransientError, OSError) as error:
            raise ModelError(name, f"{self.url} gave no answer: {error}") from None
        if response.status_code == 422:
            raise ModelError(name, result_of(response.json()).error or "could not be scored")
        with np.load(io.BytesIO(response.content), allow_pickle=False) as found:
            result = result_of(json.loads(found["result"].tobytes()))
            return DenseReward(found["map"].astype(np.float32), found["times_s"], result)

    async def health(self) -> dict[str, Any]:
        """What the server says of itself: status, detector, queue.

        Raises:
            ServiceError: it does not answer.
        """
        import httpx

        try:
            response = await self._http.get("/health", timeout=10.0)
            found: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceError(self.url, f"does not answer ({type(error).__name__} {error})".rstrip()) from None
        return found

    # -- one request ------------------------------------------------------------------------------------------------

    async def _ask(self, what: str, clip: Any, fps: float | None, name: str, wish: Mapping[str, Any]) -> httpx.Response:
        """One clip's answer, however often it takes."""
        retries = Retries(patience_s=self._patience_s, longest_s=_LONGEST_PAUSE_S, most_asked_s=_LONGEST_PAUSE_S)
        async with self._turns:
            async for attempt in retries.attempting():
                with attempt:
                    return await self._once(what, clip, fps, name, wish)
        raise AssertionError("tenacity ended without an answer or an error")

    async def _once(
        self, what: str, clip: Any, fps: float | None, name: str, wish: Mapping[str, Any]
    ) -> httpx.Response:
        import httpx

        with ExitStack() as files:
            try:
                if (ref := self._reference(clip, name)) is not None:
                    body = {"clips": [ref]} if what == "score" else {"clip": ref, **wish}
                    response = await self._http.post(f"/v1/{what}", json=body)
                elif what == "score" and not isinstance(clip, np.ndarray):
                    content, size = whole_file(clip, files)
                    response = await self._http.post(
                        "/v1/score/video",
                        params={"name": name.encode("utf-8", "replace").decode()},
                        headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
                        content=content,
                    )
                else:
                    upload = upload_of(clip, name, files)
                    fields = {"fps": json.dumps(fps)} if isinstance(clip, np.ndarray) else {}
                    fields |= {key: json.dumps(value) for key, value in wish.items()}
                    response = await self._http.post(f"/v1/{what}/upload", files={"files": upload}, data=fields)
            except httpx.HTTPError as error:
                raise TransientError(f"{type(error).__name__} {error}".rstrip()) from None
        return self._checked(response, what)

    def _reference(self, clip: Any, name: str) -> dict[str, Any] | None:
        """How the clip is named to the server; None when it is sent."""
        if isinstance(clip, (str, os.PathLike)):
            path = os.fspath(clip)
            if path.lower().startswith(("http://", "https://")):
                return {"url": path, "name": name}
            if self._by_path:
                return {"path": os.path.abspath(path), "name": name}
        return None

    def _checked(self, response: httpx.Response, what: str) -> httpx.Response:
        status = response.status_code
        if status == 200 or (status == 422 and what == "dense" and "outcome" in response.text[:2000]):
            return response
        try:
            said = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            said = response.text[:200]
        line = f"HTTP {status} {said}".rstrip()
        if status in RETRIED:
            raise TransientError(line, retry_after_s(response.headers.get("retry-after")))
        raise ServiceError(self.url, line, "Check the address, the key and the server's limits.")


T = TypeVar("T")


class RewardClient:
    """Rewards from a server, from any thread; the same calls as `Reward`. A context manager.

    Args:
        url, options: see `AsyncRewardClient`.

    Raises:
        MissingExtraError, SettingsError: as `AsyncRewardClient`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url, self._options = url, options
        self._inner: AsyncRewardClient | None = None
        self._pid = 0
        self._client()

    def _client(self) -> AsyncRewardClient:
        """The client of this process: a trainer's forked workers must not share connections."""
        if self._inner is None or self._pid != os.getpid():
            self._inner, self._pid = AsyncRewardClient(self._url, **self._options), os.getpid()
        return self._inner

    def __call__(self, videos: Sequence[Any], *, fps: float | Sequence[float] | None = None) -> list[float]:
        """See `AsyncRewardClient.__call__`."""
        return [result.reward for result in self.score(videos, fps=fps)]

    def score(self, videos: Sequence[Any], *, fps: float | Sequence[float] | None = None) -> list[RewardResult]:
        """See `AsyncRewardClient.score`."""
        return _blocking(self._client().score(videos, fps=fps))

    def dense(
        self,
        video: Any,
        *,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        times_s: Sequence[float] | None = None,
    ) -> DenseReward:
        """See `AsyncRewardClient.dense`."""
        return _blocking(self._client().dense(video, fps=fps, size=size, times_s=times_s))

    def health(self) -> dict[str, Any]:
        """See `AsyncRewardClient.health`."""
        return _blocking(self._client().health())

    def close(self) -> None:
        """Close the connections; the object can be used again."""
        inner, self._inner = self._inner, None
        if inner is not None and self._pid == os.getpid():
            _blocking(inner.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _blocking(work: Coroutine[Any, Any, T]) -> T:
    return run_blocking(work)


# -- what is sent, and what is made of the answers --------------------------------------------------------------------


def whole_file(clip: Any, files: ExitStack) -> tuple[bytes | AsyncIterator[bytes], int]:
    """A video file for one try, and its size; one on disk is read while it is sent."""
    if isinstance(clip, (bytes, bytearray, memoryview)):
        data = bytes(clip)
        return data, len(data)
    file = files.enter_context(Path(clip).open("rb"))  # noqa: SIM115 - the stack closes it

    async def pieces() -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(file.read, _READ_BYTES):
            yield piece

    return pieces(), os.fstat(file.fileno()).st_size


def upload_of(clip: Any, name: str, files: ExitStack) -> tuple[str, Any]:
    """File name and content for one try."""
    if isinstance(clip, np.ndarray):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(clip), allow_pickle=False)
        buffer.seek(0)
        return f"{name}.npy", buffer
    if isinstance(clip, (bytes, bytearray, memoryview)):
        return name, io.BytesIO(clip)
    return name, files.enter_context(Path(clip).open("rb"))


def result_of(fields: dict[str, Any]) -> RewardResult:
    """A clip's result from the server's JSON."""
    parts, _ = fields.pop("parts"), fields.pop("reason", None)
    verdict = Verdict.model_validate(fields)
    if parts is None:
        return RewardResult(math.nan, None, verdict)
    return RewardResult(parts["reward"], ScalarReward(**parts), verdict)


def failure(name: str, outcome: Outcome, why: str) -> RewardResult:
    """The result of a clip that the server did not score."""
    return RewardResult(math.nan, None, Verdict.failed(name, outcome, why))


def name_of(clip: Any, index: int) -> str:
    """What the result's `video` is to say."""
    return os.fspath(clip) if isinstance(clip, (str, os.PathLike)) else f"clip {index}"


def check_clip(clip: Any, fps: float | None, index: int) -> None:
    """Say what no server could make sense of before anything is sent."""
    from deeptrace.reward.tensors import Unusable

    name = f"clip {index}"
    if isinstance(clip, np.ndarray):
        if clip.ndim != 4 or clip.shape[3] != 3 or clip.dtype != np.uint8 or not all(clip.shape):
            raise SettingsError(name, f"expected frames (T, H, W, 3) uint8 but got {clip.shape} {clip.dtype}")
        if fps is None or not 0 < fps < math.inf:
            raise SettingsError(name, "frames alone do not say how fast they are shown", "Give a positive fps.")
    elif not isinstance(clip, (str, os.PathLike, bytes, bytearray, memoryview, Unusable)):
        raise SettingsError(name, f"expected a path, a URL, bytes or an array but got {type(clip).__name__}")


def check_client(url: str, in_flight: int, patience_s: float, failures: str, send: str) -> None:
    """Raise SettingsError for options that are invalid."""
    if not url.lower().startswith(("http://", "https://")):
        raise SettingsError("url", f"expected http://HOST:PORT but got {url!r}")
    if in_flight < 1:
        raise SettingsError("in_flight", f"expected at least 1 but got {in_flight}")
    if not 0 < patience_s < math.inf:
        raise SettingsError("patience_s", f"expected a positive number but got {patience_s}")
    if failures not in ("nan", "raise") or send not in ("upload", "path"):
        raise SettingsError("failures, send", f"expected nan or raise, upload or path but got {failures}, {send}")
