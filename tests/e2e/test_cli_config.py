"""`daybook config`, settings as a server meets them, and the completion of shells."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.e2e.test_cli import COMMANDS, Daybook, listening


@pytest.fixture
def daybook(tmp_path: Path) -> Daybook:
    return Daybook(tmp_path, HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / "config"))


def test_config(daybook: Daybook) -> None:
    """
    Every setting is there, with where it came from; a password is nowhere.
    """
    daybook.file("daybook.toml", 'log_format = "json"\nport = 1\nhost = "h"')
    daybook.environment |= {"DATABASE_URL": "postgresql://me:secret@db/books", "DAYBOOK_PORT": "2"}

    ran, table = daybook("config", "--host", "0.0.0.0", "--json"), daybook("config")

    shown = {one["name"]: (one["value"], one["from"]) for one in json.loads(ran.out)["settings"]}
    assert (ran.code, table.code) == (0, 0)
    assert shown["database_url"] == ("postgresql://me@db/books", "DATABASE_URL")
    assert shown["port"] == ("2", "DAYBOOK_PORT")
    assert shown["host"] == ("0.0.0.0", "--host")
    assert shown["log_format"] == ("json", "daybook.toml: log_format")
    assert shown["queue_max"] == ("10000", "default")
    assert json.loads(ran.out)["file"] == "daybook.toml"
    assert "secret" not in ran.out + ran.err + table.out + table.err
    assert "DAYBOOK_PATIENCE_S" in table.out


def test_secrets_in_keywords(daybook: Daybook) -> None:
    """
    However a password is written, and also where the DSN makes no sense, it is left out.
    """
    for dsn in ("dbname=x password=hunter2", "postgresql://db/x?password=hunter2", "post:hunter2", "a=hunter2"):
        ran = daybook("config", "--database-url", dsn)
        assert (ran.code, "hunter2" in ran.out + ran.err) == (0, False)


def test_a_mistake_ends_every_command(daybook: Daybook) -> None:
    """
    A setting that makes no sense is one line on stderr, whatever was asked.
    """
    daybook.file("daybook.toml", "prot = 1")

    for words in (["config"], ["serve"], ["accounts"]):
        ran = daybook(*words)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.splitlines() == ["daybook: daybook.toml: prot: there is no such setting"] or words == ["serve"]


def test_a_server_by_its_file(daybook: Daybook, database: str) -> None:
    """
    A server takes its address, its database and how it logs from the file.
    """
    daybook.file(
        "daybook.toml",
        f'database_url = "{database}"\nport = 0\nhost = "localhost"\nlog_format = "text"\nlog_level = "info"\n',
    )

    with daybook.running("serve") as popen:
        url = listening(popen)
        assert httpx2.get(f"{url}/livez").status_code == 200
        popen.terminate()
        assert popen.stderr is not None
        said = popen.stderr.read()

    assert "request.handled" in said
    assert not any(line.startswith("{") for line in said.splitlines())


SHELLS = {
    "bash": {"COMP_WORDS": "daybook {}", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "daybook {}"},
    "fish": {"_TYPER_COMPLETE_ARGS": "daybook {}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(daybook: Daybook, shell: str) -> None:
    """
    The script for each shell is printed, and what it calls completes commands.
    """
    detection_off = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    asked = {name: value.format("ver") for name, value in SHELLS[shell].items()}
    script = Daybook(daybook.folder, **detection_off)("--show-completion", shell)
    completed = Daybook(daybook.folder, _DAYBOOK_COMPLETE=f"complete_{shell}", **asked)()
    everything = {name: value.format("") for name, value in SHELLS[shell].items()}
    all_commands = Daybook(daybook.folder, _DAYBOOK_COMPLETE=f"complete_{shell}", **everything)()

    assert "_DAYBOOK_COMPLETE" in script.out
    assert "verify" in completed.out and "balance" not in completed.out
    assert [command for command in COMMANDS if command not in all_commands.out] == []


def test_installing_completion(daybook: Daybook) -> None:
    """
    Installing writes into the user's own files, and says so.
    """
    daybook.environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"

    ran = daybook("--install-completion", "bash")

    assert ran.code == 0
    assert "bash completion installed" in ran.out
    assert "daybook" in (daybook.folder / ".bashrc").read_text()
