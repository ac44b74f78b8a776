"""What is set from outside: the environment, and the options of a command before it."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

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


class Settings(BaseSettings):
    """From the environment; an empty variable counts as none."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    home: Path | None = Field(default=None, validation_alias="DAYBOOK_HOME")
    host: str = Field(default="127.0.0.1", validation_alias="DAYBOOK_HOST")
    port: int = Field(default=8080, ge=0, le=65535, validation_alias="DAYBOOK_PORT")


def settings() -> Settings:
    """The environment's settings; raises Failed for one that makes no sense."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise Failed(f"{first['loc'][0]}: {first['msg']}") from error
