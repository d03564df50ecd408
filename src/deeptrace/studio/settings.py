"""How a studio is set up: what it shows, where it keeps its work, what a clip may cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeptrace.benchmark.folder import EVALUATION
from deeptrace.detectors import DEFAULT_DETECTOR
from deeptrace.errors import SettingsError
from deeptrace.inference.results import VERDICTS
from deeptrace.prompts import coordinate_space
from deeptrace.server import Limits, ServeSettings

__all__ = ["SECRET_VARIABLE", "STORE", "OidcSettings", "StudioSettings", "read_secret", "studio_limits"]

STORE = ".deeptrace-studio"
"""The folder, inside the one that is shown, that keeps answers, annotations and pictures."""

SECRET_VARIABLE = "DEEPTRACE_STUDIO_OIDC_SECRET"

_MIB = 1 << 20


def studio_limits(*, max_mb: float = 1024, max_seconds: float = 3600, clip_timeout: float = 600) -> Limits:
    """The server's limits, wide enough for a person's own clips.

    Args:
        max_mb: largest upload, in MiB.
        max_seconds: longest clip.
        clip_timeout: longest time for one detection, in seconds.
    """
    size = round(max_mb * _MIB)
    return Limits(
        clip_bytes=size,
        request_bytes=size,
        body_bytes=2 * size,
        pixels=8192 * 4320,
        frames=400_000,
        duration_s=max_seconds,
        clip_s=clip_timeout,
        map_values=512 * _MIB,
    )


@dataclass(frozen=True)
class OidcSettings:
    """An OpenID provider that people may log in by.

    Attributes:
        issuer: its URL, as it states it itself.
        client: what it knows this studio as.
        secret: that it gave this studio; empty for a public client, which proves by PKCE alone who began.
        name_claim: which names the account that the first log-in makes.
        roles_claim: which states roles or groups; empty where roles are given in the studio. Of objects within objects:
            "realm_access.roles".
        roles: role that each of its values gives; empty where the values are the roles' names.
    """

    issuer: str
    client: str
    secret: str = field(default="", repr=False)
    name_claim: str = "preferred_username"
    roles_claim: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.roles and not self.roles_claim:
            raise SettingsError(
                "--oidc-role", "needs --oidc-roles CLAIM", "Name the claim that states groups or roles."
            )


def read_secret(path: str | os.PathLike[str] | None) -> str:
    """The secret in the file at `path`; without a file that of `SECRET_VARIABLE`; empty for none.

    The variable is taken out of the environment, so that worker processes do not inherit it.

    Raises:
        SettingsError: the file cannot be read, or is empty.
    """
    from_environment = os.environ.pop(SECRET_VARIABLE, "").strip()
    if path is None:
        return from_environment
    try:
        found = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"secret file {path}", f"cannot be read ({error})") from None
    if not found:
        raise SettingsError(f"secret file {path}", "is empty")
    return found


@dataclass(frozen=True)
class StudioSettings:
    """One studio.

    Attributes:
        place: folder of videos, of a detection run or of an evaluation; None for an empty studio that clips are brought
            to.
        data: annotated videos to explore, a RewardData folder or its annotation file; nothing is analysed.
        predictions: what models said of them: files of answers, and folders of runs.
        answer_space: coordinate space of the boxes in files of answers; pixels of the original video by default.
        leaderboard: folder of the entries of a leaderboard, to be shown.
        store: folder that keeps its work; None for `STORE` inside `place`, beside `data`, or in the current folder.
        database: SQLAlchemy's URL of another database than SQLite in `store`.
        detector: its name.
        detector_settings: of the detector.
        workers: detecting processes.
        roots: further folders whose files may be named in the page.
        hosts: hosts whose URLs may be named in the page; see `ServeSettings.hosts`.
        private_addresses: whether those hosts may have addresses of the local network.
        author: name that answers and annotations carry where there are no accounts.
        accounts: whether people have to log in; they have to, too, once there is an account.
        names: host names that people reach a studio with accounts by, beside addresses and those of this machine.
        open_metrics: whether programs of this machine may read the metrics without a log-in; admins always may.
        oidc: provider that people may log in by, besides passwords; there are accounts then.
        rate: requests a minute that one account, or one address without a session, may make where there are accounts;
            five times as many for pictures, pieces of videos and the page's files. 0 for no limit.
        wording: language model that proposes standard wordings of explanations, as `MODEL@URL` of an OpenAI-compatible
            server; None for none.
        limits: what a clip may cost.
    """

    place: Path | None = None
    data: Path | None = None
    predictions: tuple[Path, ...] = ()
    answer_space: str | None = None
    leaderboard: Path | None = None
    store: Path | None = None
    database: str | None = None
    detector: str = DEFAULT_DETECTOR
    detector_settings: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 1
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    private_addresses: bool = False
    author: str = "me"
    accounts: bool = False
    names: tuple[str, ...] = ()
    open_metrics: bool = False
    oidc: OidcSettings | None = None
    rate: int = 1200
    wording: str | None = None
    limits: Limits = field(default_factory=studio_limits)

    def __post_init__(self) -> None:
        if self.place is not None and not self.place.is_dir():
            mend = "Name a folder of videos, or of a run that `deeptrace detect --out` made."
            raise SettingsError(str(self.place), "is not a folder", mend)
        if self.workers < 1:
            raise SettingsError("workers", f"expected at least 1 but got {self.workers}")
        if self.rate < 0:
            raise SettingsError("--rate", f"expected 0 or more but got {self.rate}")
        if self.answer_space is not None:
            option = f"--answer-space {self.answer_space}"
            try:
                coordinate_space(self.answer_space)
            except SettingsError as error:
                raise SettingsError(option, "there is no such unit of boxes", error.mend) from None
            if not self.predictions:
                raise SettingsError(option, "has no effect without --predictions", "Name those, too.")

    @property
    def home(self) -> Path:
        """The folder that keeps its work."""
        if self.store is not None:
            return self.store
        beside = self.data if self.data is None or self.data.is_dir() else self.data.parent
        return (self.place or beside or Path.cwd()) / STORE

    @property
    def database_url(self) -> str:
        """Where answers and annotations are."""
        return self.database or f"sqlite:///{(self.home / 'studio.sqlite').absolute()}"

    @property
    def is_run(self) -> bool:
        """Whether `place` holds the verdicts of a detection run."""
        return self.place is not None and (self.place / VERDICTS).is_file()

    @property
    def is_evaluation(self) -> bool:
        """Whether `place` holds a finished evaluation, to be explored."""
        return self.place is not None and (self.place / EVALUATION).is_file()

    @property
    def inputs(self) -> ServeSettings:
        """What the page may name, in the server's terms."""
        own = () if self.place is None or self.is_run or self.is_evaluation else (os.fspath(self.place),)
        return ServeSettings(
            roots=(*own, *self.roots),
            hosts=self.hosts,
            private_addresses=self.private_addresses,
            limits=self.limits,
        )
