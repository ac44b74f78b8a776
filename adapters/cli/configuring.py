"""`daybook config`: what is set, and by what."""

from typing import Annotated

import typer
from msgspec import Struct

from adapters.cli import showing
from adapters.cli.database import without_password
from adapters.cli.failing import Failed
from adapters.cli.serving import Host, Port
from adapters.cli.settings import DEFAULT, DatabaseUrl, Home, Settings, config_file, origin, settings, variable
from adapters.embedded_postgres import default_home


class _Shown(Struct, frozen=True):
    name: str
    value: str
    source: str
    variable: str


def config(
    database_url: DatabaseUrl = None,
    home: Home = None,
    host: Host = None,
    port: Port = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
) -> None:
    """Show every setting, its value and where that came from; passwords are left out.

    Options go before the environment, that before the file, that before the
    defaults. The file is TOML, keys as shown here; it is the one that
    DAYBOOK_CONFIG names, else ./daybook.toml, else daybook.toml in the user's
    folder for configuration. A key that is none of these is an error.

    Examples:

      daybook config
      DAYBOOK_PORT=9000 daybook config --json
    """
    options = {"database_url": database_url, "home": home, "host": host, "port": port}
    given = {name: str(value) for name, value in options.items() if value is not None}
    chosen = settings()
    shown = [_shown(name, chosen, given) for name in Settings.model_fields]
    file = config_file()
    if as_json:
        showing.json({"file": str(file) if file else None, "settings": [_json(one) for one in shown]})
        return
    note = f"file: {file}" if file else "no file"
    rows = [(one.name, one.value, one.source, one.variable) for one in shown]
    showing.table("Settings", ("setting", "value", "from", "variable"), rows, note=note)


def _shown(name: str, chosen: Settings, given: dict[str, str]) -> _Shown:
    value = given.get(name, getattr(chosen, name))
    source = f"--{name.replace('_', '-')}" if name in given else origin(name)
    if value is None:
        source = DEFAULT
        value = {"home": default_home(), "database_url": "an embedded Postgres in home"}.get(name, "none")
    elif name == "database_url":
        value = _safe(value)
    return _Shown(name, str(value), source, variable(name))


def _safe(dsn: str) -> str:
    try:
        return without_password(dsn)
    except Failed:
        return "(not a DSN)"


def _json(one: _Shown) -> dict[str, str]:
    return {"name": one.name, "value": one.value, "from": one.source, "variable": one.variable}
