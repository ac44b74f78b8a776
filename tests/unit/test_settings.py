"""Settings: which of those given counts, and what is said of one that cannot."""

from pathlib import Path

import msgspec
import pytest

from adapters.cli.failing import Failed
from adapters.cli.settings import Settings, config_file, origin, settings, variable
from adapters.web.app import Limits


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable, no file, in a folder of the test's own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.delenv("DAYBOOK_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults() -> None:
    """
    With nothing set, everything has a value, from the default.
    """
    found = settings()

    assert (found.host, found.port, found.database_url, found.log_format) == ("127.0.0.1", 8080, None, "auto")
    assert {origin(name) for name in Settings.model_fields} == {"default"}


def test_limits_are_settings() -> None:
    """
    Whatever bounds a process can be set, and by default is what it would be without.
    """
    found = settings()

    assert {name: getattr(found, name) for name in Limits.__struct_fields__} == msgspec.structs.asdict(Limits())


def test_the_file(nothing_set: Path) -> None:
    """
    The working folder's file is taken, and every setting can be in it.
    """
    Path("daybook.toml").write_text(
        'database_url = "postgresql://db/books"\nhome = "data"\nhost = "::1"\nport = 9000\nqueue_max = 5\n'
        'patience_s = 2.5\nbody_patience_s = 3\nlog_level = "error"\nlog_format = "json"\n'
        "body_bytes_max = 2048\nbatch_body_bytes_max = 4096\nstreams_max = 7\nintent_days = 3\n"
        'server = "http://ledger:8080"\nrails = "http://rails:8180"\n'
    )

    found = settings()

    assert set(found.model_dump().values()) == {
        *("postgresql://db/books", Path("data"), "::1", 9000, 5, 2.5, 3.0, "error", "json", 2048, 4096, 7, 3),
        "http://ledger:8080",
        "http://rails:8180",
    }
    assert {origin(name) for name in Settings.model_fields} == {
        f"daybook.toml: {name}" for name in Settings.model_fields
    }


def test_which_file(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The one that is named, before the one in the working folder, before the user's.
    """
    users = nothing_set / "config" / "daybook" / "daybook.toml"
    users.parent.mkdir(parents=True)
    users.write_text("port = 1")
    seen = [(config_file(), settings().port)]
    Path("daybook.toml").write_text("port = 2")
    seen.append((config_file(), settings().port))
    Path("named.toml").write_text("port = 3")
    monkeypatch.setenv("DAYBOOK_CONFIG", "named.toml")
    seen.append((config_file(), settings().port))

    assert seen == [(users, 1), (Path("daybook.toml"), 2), (Path("named.toml"), 3)]


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Setting by setting; an empty variable is none.
    """
    Path("daybook.toml").write_text('port = 2\nhost = "h"\nlog_level = "error"\ndatabase_url = "dbname=file"')
    monkeypatch.setenv("DAYBOOK_PORT", "3")
    monkeypatch.setenv("DAYBOOK_HOST", "")
    monkeypatch.setenv("DATABASE_URL", "dbname=environment")

    found = settings()

    assert (found.port, found.host, found.log_level, found.database_url) == (3, "h", "error", "dbname=environment")
    assert (origin("port"), origin("host")) == ("DAYBOOK_PORT", "daybook.toml: host")
    assert origin("database_url") == "DATABASE_URL"


def test_a_home_in_the_environment_goes_before_a_database_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Both say where the data are: whoever names a home does not mean the file's database.
    """
    Path("daybook.toml").write_text('database_url = "dbname=file"')
    monkeypatch.setenv("DAYBOOK_HOME", "here")

    assert (settings().database_url, settings().home) == (None, Path("here"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 9000", "prot: there is no such setting"),
        ("[web]\nport = 9000", "web: there is no such setting"),
        ('port = "many"', "port: Input should be a valid integer"),
        ("port = 65536", "port: Input should be less than or equal to 65535"),
        ("queue_max = 0", "queue_max: "),
        ("patience_s = 0", "patience_s: "),
        ('log_level = "loud"', "log_level: Input should be 'debug'"),
        ("port = ", "daybook.toml: "),
        ("port = 1\nport = 2", "daybook.toml: "),
    ],
)
def test_a_file_that_makes_no_sense(text: str, said: str) -> None:
    """
    One line says which setting of which file, and what is wrong with it.
    """
    Path("daybook.toml").write_text(text)

    with pytest.raises(Failed) as failed:
        settings()

    assert said in str(failed.value)
    assert "daybook.toml" in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    "name", [name for name in Settings.model_fields if name not in ("database_url", "home", "host")]
)
def test_a_variable_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """
    The variable is named.
    """
    monkeypatch.setenv(variable(name), "nonsense")

    with pytest.raises(Failed, match=f"^{variable(name)}: "):
        settings()


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever names a file wants it read.
    """
    monkeypatch.setenv("DAYBOOK_CONFIG", "no.toml")

    with pytest.raises(Failed, match=r"no file no\.toml"):
        settings()


def test_a_file_that_is_no_text() -> None:
    """
    Bytes that are no UTF-8 are told, without a traceback.
    """
    Path("daybook.toml").write_bytes(b"port = \xff")

    with pytest.raises(Failed, match="cannot be read"):
        settings()
