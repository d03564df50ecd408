"""The client of `deeptrace serve` on an event loop; see `deeptrace.reward.client`."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from deeptrace.errors import MissingExtraError, ModelError, ServiceError
from deeptrace.reward.client_wire import check_client, check_clip, failure, name_of, result_of, upload_of
from deeptrace.reward.result import RewardResult
from deeptrace.trace import Outcome

if TYPE_CHECKING:
    import httpx

    from deeptrace.reward.dense import DenseReward

__all__ = ["AsyncRewardClient", "RemoteClip"]

RemoteClip = "str | os.PathLike[str] | bytes | NDArray[Any] | Unusable"
"""A path (sent, unless `send="path"`), an http(s) URL that the server fetches, the bytes of a video file, frames
(T, H, W, 3) uint8 RGB, or a clip already known to be unusable."""

KEY_VARIABLE = "DEEPTRACE_SERVE_KEY"
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0


class _AgainError(Exception):
    """Worth another try: why, and after how many seconds the server wants it."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        self.after_s = after_s
        super().__init__(why)


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
        MissingExtraError: httpx or tenacity is not installed.
        SettingsError: an argument makes no sense.
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
            import tenacity  # noqa: F401
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
        from deeptrace.reward.layouts import Unusable
        from deeptrace.reward.rewarder import rates_of

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
            except _AgainError as error:
                return failure(name, Outcome.MODEL_FAILED, f"{self.url} gave no answer: {error}")
            return result_of(response.json()["results"][0])

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
        except (_AgainError, OSError) as error:
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
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay

        tries = AsyncRetrying(
            retry=retry_if_exception_type(_AgainError),
            stop=stop_after_delay(self._patience_s),
            wait=_pause_s,
            reraise=True,
        )
        async with self._turns:
            async for attempt in tries:
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
                else:
                    upload = upload_of(clip, name, files)
                    fields = {"fps": json.dumps(fps)} if isinstance(clip, np.ndarray) else {}
                    fields |= {key: json.dumps(value) for key, value in wish.items()}
                    response = await self._http.post(f"/v1/{what}/upload", files={"files": upload}, data=fields)
            except httpx.HTTPError as error:
                raise _AgainError(f"{type(error).__name__} {error}".rstrip()) from None
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
        if status in _AGAIN:
            from deeptrace.detectors.openai.client import retry_after_s

            raise _AgainError(line, retry_after_s(response))
        raise ServiceError(self.url, line, "Check the address, the key and the server's limits.")


def _pause_s(state: Any) -> float:
    """Seconds before the next try: what the server asked for, else doubling; spread, so that not all come at once."""
    error = state.outcome.exception()
    asked = error.after_s if isinstance(error, _AgainError) else None
    doubled = min(_FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1), _LONGEST_PAUSE_S)
    spread = float(np.random.default_rng().uniform(0.75, 1.25))
    return float(doubled if asked is None else min(asked, _LONGEST_PAUSE_S)) * spread
