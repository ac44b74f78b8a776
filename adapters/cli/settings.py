"""What is set from outside: a command's options before the environment, that before a file, that before the defaults.

The file is TOML, its keys the names of the settings: the one that DAYBOOK_CONFIG names, else daybook.toml in the
working folder, else in the user's folder for configuration. In the environment a setting is DAYBOOK_ and its name in
capitals, but for DATABASE_URL.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import platformdirs
import typer
from pydantic import AfterValidator, AliasChoices, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from adapters.cli.failing import Failed

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="DSN",
        help="A Postgres 15 or newer, as a URL or keywords; else DATABASE_URL, else an embedded Postgres.",
        show_default=False,
    ),
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="FOLDER",
        help="Where the embedded Postgres keeps its data; else DAYBOOK_HOME, else the user's data folder.",
        show_default=False,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Ask this running server over HTTP, and no database; else DAYBOOK_SERVER, else look where the data is.",
        show_default=False,
    ),
]

FILE: Final = "daybook.toml"
DEFAULT: Final = "default"


def _server_url(url: str) -> str:
    """Without a password: there is none to give, and what is shown and logged must not hold one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ValueError("a server is named like http://127.0.0.1:8080, without user and password")
    return url.rstrip("/")


def _rails(where: str) -> str:
    if not where.startswith("http://") and not Path(where).is_file():
        raise ValueError("there is no such file, and a simulator is named like http://127.0.0.1:8180")
    return where


class Settings(BaseSettings):
    """An empty variable counts as none; an unknown key in the file is a mistake.

    `queue_max` is how many commands may wait; `patience_s` how long a caller waits for an answer, and `body_patience_s`
    how long a request's body may take to arrive, in seconds; `body_bytes_max` how large it may be, and a batch's
    `batch_body_bytes_max`; `streams_max` how many event streams a process has open at once; `intent_days` how long a
    payment's intent is left for somebody to have it done, unless its client says, 0 for ever. `server` is the one that
    commands ask which can. `rails` is a file of rails and routes, or a simulator's URL.
    """

    model_config = SettingsConfigDict(env_prefix="DAYBOOK_", env_ignore_empty=True, extra="forbid", frozen=True)

    database_url: str | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    home: Path | None = None
    server: Annotated[str, AfterValidator(_server_url)] | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    queue_max: int = Field(default=10_000, ge=1)
    patience_s: float = Field(default=9.5, gt=0, le=60)
    body_patience_s: float = Field(default=10.0, gt=0, le=600)
    body_bytes_max: int = Field(default=1024 * 1024, ge=1024)
    batch_body_bytes_max: int = Field(default=16 * 1024 * 1024, ge=1024)
    streams_max: int = Field(default=100, ge=0)
    intent_days: int = Field(default=30, ge=0, le=3650)
    rails: Annotated[str, AfterValidator(_rails)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = config_file()
        return (init_settings, env_settings, *([TomlConfigSettingsSource(settings_cls, file)] if file else []))


def config_file() -> Path | None:
    """The file that settings are taken from; None if there is none.

    Raises:
        Failed: DAYBOOK_CONFIG names one that is not there.
    """
    if named := os.environ.get("DAYBOOK_CONFIG"):
        if not Path(named).is_file():
            raise Failed(f"DAYBOOK_CONFIG: there is no file {named}")
        return Path(named)
    usual = (Path(FILE), platformdirs.user_config_path("daybook") / FILE)
    return next((file for file in usual if file.is_file()), None)


def settings() -> Settings:
    """What is set, options apart.

    Raises:
        Failed: A setting makes no sense, or the file cannot be read; which, and where it came from.
    """
    try:
        found = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).lower()
        why = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise Failed(f"{origin(name)}: {why}") from error
    except tomllib.TOMLDecodeError as error:
        raise Failed(f"{config_file()}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{config_file()} cannot be read: {error}") from error
    # A home and a database are two answers to one question: the environment's goes before the file's.
    if os.environ.get("DAYBOOK_HOME") and not os.environ.get("DATABASE_URL"):
        return found.model_copy(update={"database_url": None})
    return found


def server_to_ask(server: str | None, database_url: str | None, home: Path | None) -> str | None:
    """The URL of the server that these options, or else the settings, say to ask; None: look where the data is.

    Raises:
        Failed: As `settings`; the URL is malformed, or beside it the options say where the data is.
    """
    chosen = settings().server
    if not server:
        return None if database_url or home else chosen
    if database_url or home:
        raise Failed("say --server, or where the data is (--database-url, --home), not both")
    try:
        return _server_url(server)
    except ValueError as error:
        raise Failed(f"--server: {error}") from error


def variable(name: str) -> str:
    """The name of a setting in the environment."""
    return "DATABASE_URL" if name == "database_url" else f"DAYBOOK_{name.upper()}"


def origin(name: str) -> str:
    """Where a setting came from: its variable, its key in the file, or the default."""
    if name in Settings.model_fields and os.environ.get(variable(name)):
        return variable(name)
    file = config_file()
    if file is not None and name in tomllib.loads(file.read_text(encoding="utf-8")):
        return f"{file}: {name}"
    return DEFAULT
