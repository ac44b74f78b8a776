"""What the linters do not know about this repository: the domain is pure, and nothing names one person's machine."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

DOMAIN_MAY_IMPORT = sys.stdlib_module_names | {"domain", "iso4217", "msgspec"}
IMPURE_MODULES = {"asyncio", "random", "secrets", "time"}
CLOCKS = {"now", "today", "utcnow"}
DICE = {"uuid1", "uuid4", "uuid7"}


def impurities(source: str) -> Iterator[str]:
    """What in `source` reads a clock, rolls dice, awaits, or leans on more than the domain may; `line: what`."""
    for node in ast.walk(ast.parse(source)):
        for what in _impurities_of(node):
            yield f"{getattr(node, 'lineno', 0)}: {what}"


def _impurities_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from _forbidden_imports([alias.name for alias in names])
        case ast.ImportFrom(module=str(module), level=0, names=names):
            yield from _forbidden_imports([module])
            yield from (f"imports {alias.name}" for alias in names if alias.name in DICE)
        case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCKS:
            yield f"calls .{name}()"
        case ast.Attribute(value=ast.Name(id="date" | "datetime"), attr=name) if name in CLOCKS:
            yield f"passes on .{name}"
        case ast.Attribute(attr=name) if name in DICE:
            yield f"uses {name}"
        case ast.AsyncFunctionDef(body=body) if not all(map(_says_nothing, body)):
            yield "waits for something outside"
        case ast.AsyncFor() | ast.AsyncWith() | ast.Await():
            yield "waits for something outside"


def _says_nothing(statement: ast.stmt) -> bool:
    """A docstring or `...`: all there is to a port's method, which others fill in."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _forbidden_imports(modules: list[str]) -> Iterator[str]:
    for module in modules:
        root = module.partition(".")[0]
        if root not in DOMAIN_MAY_IMPORT or root in IMPURE_MODULES:
            yield f"imports {module}"


def test_the_domain_is_pure() -> None:
    """
    The domain reads no clock, rolls no dice, awaits nothing, and rests on the standard library and msgspec.
    """
    files = sorted((TOP / "domain").rglob("*.py"))

    found = [f"{file.relative_to(TOP)}:{what}" for file in files for what in impurities(file.read_text("utf-8"))]

    assert files
    assert found == []


@pytest.mark.parametrize(
    "bad",
    [
        "datetime.now(UTC)",
        "date.today()",
        "datetime.datetime.utcnow()",
        "clock = datetime.now",
        "uuid.uuid4()",
        "from uuid import uuid7",
        "import random",
        "import time; time.time()",
        "from time import time",
        "async def decide(): return 1",
        "async def decide(): await store.append()",
        "import psycopg",
        "from commands.desk import Desk",
        "import asyncio.queues",
    ],
)
def test_impurity_is_found(bad: str) -> None:
    """
    Each kind of impurity is found, so that an empty list means something.
    """
    assert list(impurities(bad))


@pytest.mark.parametrize(
    "good", ["from datetime import UTC, time", "now + ttl", "uuid5(book, key)", "async def port(): ..."]
)
def test_purity_is_left_alone(good: str) -> None:
    """
    A time that was handed in, an id computed from a name, and what a port promises are no impurities.
    """
    assert list(impurities(good)) == []


BUILT = {".venv", "__pycache__", ".hypothesis", ".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache"}

# Put together from pieces, so that this file passes its own test.
MACHINE_BOUND = {
    "a package registry's host": re.compile(
        rb"py" + rb"pi\.(?:python\.)?org" + rb"|python" + rb"hosted\.org" + rb"|registry\." + rb"npmjs"
    ),
    "an index or a folder of packages": re.compile(rb"--(?:extra-)?index" + rb"-url|--find" + rb"-links"),
    "an absolute path of one machine": re.compile(rb"(?<![\w.\-/])/(?:ro" + rb"ot|wo" + rb"rk|Use" + rb"rs)/"),
}


def text_files() -> Iterator[tuple[Path, bytes]]:
    """Every file that is committed or about to be, less binary ones."""
    for path in _files():
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield path, content


def _files() -> list[Path]:
    if not (TOP / ".git").exists():  # An exported copy: all of it, less what the tools leave behind.
        return [path for path in TOP.rglob("*") if not any(part in BUILT for part in path.relative_to(TOP).parts)]
    # The checkout may belong to another user than the one who runs the tests.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TOP, check=True, capture_output=True).stdout
    return [TOP / name.decode() for name in listed.split(b"\0") if name]


def test_nothing_names_a_machine() -> None:
    """
    A clone works anywhere: no file names a package registry or a path that only one machine has.
    """
    files = list(text_files())

    found = [
        f"{path.relative_to(TOP)}: {what}: {match.group().decode()}"
        for path, content in files
        for what, pattern in MACHINE_BOUND.items()
        for match in pattern.finditer(content)
    ]

    assert files
    assert found == []


@pytest.mark.parametrize("bad", [b"https://py" + b"pi.org/simple", b"cd /wo" + b"rk/main", b"pip --index" + b"-url x"])
def test_a_named_machine_is_found(bad: bytes) -> None:
    """
    Each kind of machine-bound text is found, so that an empty list means something.
    """
    assert any(pattern.search(bad) for pattern in MACHINE_BOUND.values())
