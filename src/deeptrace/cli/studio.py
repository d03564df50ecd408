"""`deeptrace studio`: the web application."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeptrace.cli.console import note, parse_settings
from deeptrace.cli.options import DetectorName, DetectorSettings, Workers
from deeptrace.errors import SettingsError
from deeptrace.plural import plural

if TYPE_CHECKING:
    from deeptrace.studio import StudioSettings
    from deeptrace.studio.settings import OidcSettings

__all__ = ["studio"]

_TEAM, _BACKUP = "For a team", "Backup"
_PLACE = "A folder of videos, or of a run (`deeptrace detect --out`, `eval --out`); none for an empty page."
_SAID: dict[str, dict[str, tuple[str, str]]] = {
    "": {
        "data": ("DIR_OR_JSON", "Annotated clips to explore: a RewardData folder, or its annotation file."),
        "predictions": (
            "FILE_OR_RUN",
            "What a model said of them, as `deeptrace eval` reads and keeps it; may be repeated.",
        ),
        "answer_space": ("NAME", "Unit of the files' boxes: pixels, fractions, permille, ... [default: pixels]"),
        "leaderboard": ("DIR", "A leaderboard to show, as `deeptrace leaderboard add --dir` fills it."),
        "host": ("", "Address to listen at; beyond this machine people have to log in."),
        "port": ("", "Port to listen at; 0 for a free one."),
        "store": ("DIR", "Folder for answers and annotations. [default: DIR/.deeptrace-studio]"),
        "database": ("URL", "A PostgreSQL database, instead of SQLite; docs/studio.md says how to write it."),
        "root": ("DIR", "A further folder whose files may be named; may be repeated."),
        "allow_host": ("HOST[:PORT]", "A host, or *.DOMAIN, to fetch URLs from; may be repeated."),
        "allow_private": ("", "Let those hosts have local addresses."),
        "max_mb": ("", "Largest upload, in MiB."),
        "max_seconds": ("", "Longest clip, in seconds."),
        "browser": ("", "Open the page in a browser."),
    },
    _TEAM: {
        "accounts": ("", "People have to log in, on this machine too."),
        "add_person": ("NAME", "Make an account and end; the password is asked for, or read from stdin."),
        "role": (
            "ROLE",
            "viewer, annotator, reviewer or admin. [default: admin for the first one, annotator for others]",
        ),
        "set_password": ("NAME", "Give somebody another password, and let them in again; end."),
        "name": ("HOST", "A host name that people reach it by; may be repeated."),
        "tls_cert": ("FILE", "Certificate (PEM), to speak TLS."),
        "tls_key": ("FILE", "Its key, where it is another file."),
        "proxy": ("ADDRESS", "A proxy in front that speaks TLS, and whose X-Forwarded-* is believed; may be repeated."),
        "oidc_issuer": ("URL", "An OpenID provider that people may log in by (needs --oidc-client)."),
        "oidc_client": ("ID", "What the provider knows this studio as."),
        "oidc_secret_file": ("FILE", "Its secret. [default: what DEEPTRACE_STUDIO_OIDC_SECRET says, or none]"),
        "oidc_name": ("CLAIM", "Names the account that the first log-in makes."),
        "oidc_roles": (
            "CLAIM",
            "States roles or groups, which the studio then follows. [default: everybody is a viewer at first]",
        ),
        "oidc_role": ("VALUE=ROLE", "Role that a value of it gives; may be repeated."),
        "rate": ("REQUESTS", "Requests a minute of one account or address; five times as many for files. 0: no limit."),
        "wording": ("MODEL@URL", "A language model that proposes standard wordings of explanations to reviewers."),
        "plain_http": ("", "Listen elsewhere without TLS all the same."),
        "open_metrics": ("", "Let programs of this machine read /metrics without a log-in."),
    },
    _BACKUP: {
        "backup": ("FILE", "Copy all work of the studio, which may go on running, into a file; end."),
        "restore": ("FILE", "Make a studio of such a file, where none is yet; end."),
    },
}
"""What each option says of itself, by the panel of the help: the word for its value, and a sentence."""


def _option(name: str, *, flag: bool = False, **limits: Any) -> Any:
    """An option as the table has it; a flag has no opposite."""
    panel, (metavar, text) = next((panel, said[name]) for panel, said in _SAID.items() if name in said)
    names = [f"--{name.replace('_', '-')}"] if flag else []
    return typer.Option(*names, metavar=metavar or None, help=text, rich_help_panel=panel or None, **limits)


class RoleName(StrEnum):
    """`deeptrace.studio.accounts.Role`, without importing it before the command runs."""

    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    REVIEWER = "reviewer"
    ADMIN = "admin"


def studio(
    place: Annotated[Path | None, typer.Argument(metavar="DIR", help=_PLACE)] = None,
    data: Annotated[Path | None, _option("data")] = None,
    predictions: Annotated[list[Path] | None, _option("predictions")] = None,
    answer_space: Annotated[str | None, _option("answer_space")] = None,
    leaderboard: Annotated[Path | None, _option("leaderboard")] = None,
    host: Annotated[str, _option("host")] = "127.0.0.1",
    port: Annotated[int, _option("port", min=0, max=65535)] = 7870,
    detector: DetectorName = "tracenet",
    settings: DetectorSettings = None,
    workers: Workers = None,
    store: Annotated[Path | None, _option("store")] = None,
    database: Annotated[str | None, _option("database")] = None,
    root: Annotated[list[Path] | None, _option("root")] = None,
    allow_host: Annotated[list[str] | None, _option("allow_host")] = None,
    allow_private: Annotated[bool, _option("allow_private", flag=True)] = False,
    max_mb: Annotated[float, _option("max_mb", min=0.001)] = 1024,
    max_seconds: Annotated[float, _option("max_seconds", min=0.001)] = 3600,
    accounts: Annotated[bool, _option("accounts", flag=True)] = False,
    add_person: Annotated[str | None, _option("add_person")] = None,
    role: Annotated[RoleName | None, _option("role")] = None,
    set_password: Annotated[str | None, _option("set_password")] = None,
    name: Annotated[list[str] | None, _option("name")] = None,
    tls_cert: Annotated[Path | None, _option("tls_cert")] = None,
    tls_key: Annotated[Path | None, _option("tls_key")] = None,
    proxy: Annotated[list[str] | None, _option("proxy")] = None,
    oidc_issuer: Annotated[str | None, _option("oidc_issuer")] = None,
    oidc_client: Annotated[str | None, _option("oidc_client")] = None,
    oidc_secret_file: Annotated[Path | None, _option("oidc_secret_file")] = None,
    oidc_name: Annotated[str, _option("oidc_name")] = "preferred_username",
    oidc_roles: Annotated[str | None, _option("oidc_roles")] = None,
    oidc_role: Annotated[list[str] | None, _option("oidc_role")] = None,
    rate: Annotated[int, _option("rate", min=0, envvar="DEEPTRACE_STUDIO_RATE")] = 1200,
    wording: Annotated[str | None, _option("wording", envvar="DEEPTRACE_STUDIO_WORDING")] = None,
    plain_http: Annotated[bool, _option("plain_http", flag=True)] = False,
    open_metrics: Annotated[bool, _option("open_metrics", flag=True)] = False,
    backup: Annotated[Path | None, _option("backup")] = None,
    restore: Annotated[Path | None, _option("restore")] = None,
    browser: Annotated[bool, _option("browser", flag=True)] = False,
) -> None:
    """Inspect, triage, explore and annotate clips in a browser, alone or as a team; nothing leaves this machine."""
    from deeptrace.inference.executor import cores
    from deeptrace.studio import StudioSettings
    from deeptrace.studio.run import Reach, run_studio
    from deeptrace.studio.settings import studio_limits

    chosen = StudioSettings(
        place=None if place is None else place.absolute(),
        data=None if data is None else data.absolute(),
        predictions=tuple(predictions or ()),
        answer_space=answer_space,
        leaderboard=leaderboard,
        store=store,
        database=database,
        detector=detector,
        detector_settings=parse_settings(settings or []),
        workers=workers or cores(),
        roots=tuple(str(folder) for folder in root or ()),
        hosts=tuple(allow_host or ()),
        private_addresses=allow_private,
        author=_user(),
        accounts=accounts,
        names=tuple(name or ()),
        open_metrics=open_metrics,
        oidc=_provider(oidc_issuer, oidc_client, oidc_secret_file, oidc_name, oidc_roles, oidc_role),
        rate=rate,
        wording=wording,
        limits=studio_limits(max_mb=max_mb, max_seconds=max_seconds),
    )

    if add_person is not None or set_password is not None:
        _account(chosen, add_person, set_password, role)
        return
    if backup is not None or restore is not None:
        _copy(chosen, backup, restore)
        return
    reach = Reach(tls_cert, tls_key, tuple(proxy or ()), plain_http)

    def ready(url: str) -> None:
        note(f"the studio is at {url} (Ctrl-C ends it)")
        note("its work is kept in ", chosen.home)
        sys.stderr.flush()
        if browser:
            import webbrowser

            webbrowser.open(url)

    run_studio(chosen, host=host, port=port, reach=reach, on_ready=ready)


def _provider(
    issuer: str | None,
    client: str | None,
    secret: Path | None,
    name: str,
    roles: str | None,
    given: list[str] | None,
) -> OidcSettings | None:
    """The provider that options name; a secret is never an option, which everybody on this machine could read."""
    from deeptrace.studio.settings import OidcSettings, read_secret

    if issuer is None and client is None:
        return None
    if issuer is None or client is None:
        raise SettingsError("--oidc-issuer and --oidc-client", "belong together: give both")
    pairs = [one.rpartition("=") for one in given or ()]
    if any(not value for value, _, _ in pairs):
        raise SettingsError("--oidc-role", "expected VALUE=ROLE")
    mapping = {value: role for value, _, role in pairs}
    return OidcSettings(issuer, client, read_secret(secret), name, roles or "", mapping)


def _account(chosen: StudioSettings, added: str | None, changed: str | None, role: RoleName | None) -> None:
    """Make an account, or give one another password, in the studio's database."""
    from deeptrace.studio.accounts import AccountError, Accounts, Role
    from deeptrace.studio.database import Database

    subject = added or changed or ""
    database = Database(chosen.database_url)
    try:
        accounts = Accounts(database)
        by = f"{_user()} at the command line"
        if added is not None:
            first = not accounts.any()
            given = Role(role.value) if role else Role.ADMIN if first else Role.ANNOTATOR
            if first and given is not Role.ADMIN:
                raise SettingsError(f"--role {given.value}", "the first account has to be an admin's")
            accounts.add(added, given, _password(added), by=by)
            note(f"{added} has an account now, as {given.value}")
        if changed is not None:
            accounts.change(changed, password=_password(changed), active=True, by=by)
            note(f"{changed} has another password now, and is logged out everywhere")
    except AccountError as error:
        raise SettingsError(subject, str(error)) from None
    finally:
        database.close()


def _copy(chosen: StudioSettings, target: Path | None, source: Path | None) -> None:
    """Make a backup, or a studio of one."""
    from deeptrace.studio.backup import back_up, restore

    if target is not None and source is not None:
        raise SettingsError("--backup and --restore", "are two things: one at a time")
    if target is not None:
        back_up(chosen, target)
        note("the studio's work is copied into ", target)
    if source is not None:
        found = restore(chosen, source)
        counts = (
            f"{plural(found['clips'], 'clip')}, {plural(found['edits'], 'edit')}, {plural(found['people'], 'account')}"
        )
        note(f"a studio with {counts} is in ", chosen.home)


def _password(name: str) -> str:
    """Asked for twice; or the first line of stdin, where that is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    given = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != given:
        raise SettingsError("password", "the two are not the same")
    return given


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return "me"
