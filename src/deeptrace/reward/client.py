"""The client of `deeptrace serve`: called like `Reward`, scored on another machine.

    reward = RewardClient("http://scorer:8000", api_key=key, in_flight=16)
    reward(["a.mp4", "b.mp4"])                    # [0.71, 0.18]; NaN for a clip that cannot be scored
    reward.score([frames], fps=16)[0].parts       # frames (T, H, W, 3) uint8, sent as they are

Needs httpx and tenacity (the extra `serve`). Each clip is a request of its own, `in_flight` of them at a time, so that
a busy server takes what it has room for; where it says 429 or 503, or cannot be reached, the request is sent again,
after as long as it asked for.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from deeptrace.reward.client_async import AsyncRewardClient, RemoteClip
from deeptrace.reward.result import RewardResult

if TYPE_CHECKING:
    from deeptrace.reward.dense import DenseReward

__all__ = ["AsyncRewardClient", "RemoteClip", "RewardClient"]

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
    from deeptrace.detectors.openai.client import run_blocking

    return run_blocking(work)
