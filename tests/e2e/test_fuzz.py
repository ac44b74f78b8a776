"""Schemathesis over the OpenAPI document, against the running system: no fault of ours, no answer undocumented."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from projections.api import answering
from tests.e2e.test_openapi import EXAMPLES, send
from tests.fuzzing import NARROWED
from tests.serving import TOP, Caller, head, serving

LONG = os.environ.get("DAYBOOK_HYPOTHESIS") == "long"
EXAMPLES_MAX = 500 if LONG else 8
"""Requests by chance for each operation, beside what its schema's bounds yield."""
SECONDS_MAX = 3600 if LONG else 300

OPENING = {"open_book", "open_account", "post_entry", "place_hold", "fund_escrow", "create_payment"}
"""Whose examples are sent first. The others end what these began, which is left for schemathesis to do."""


@pytest.mark.timeout(SECONDS_MAX + 60)
def test_every_answer_is_foretold(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever is asked of any operation, fitting its schema or not, the answer is in the document to status, headers,
    media type and field, and what does not fit is refused.
    """
    monkeypatch.setattr(answering, "PATIENCE_S", 0.05)  # Made-up positions are waited for in vain.
    with serving(database) as base_url, Caller(base_url) as caller:
        for operation, _, example in EXAMPLES:
            if operation.id in OPENING:
                assert send(caller, operation, example).is_success
        before = head(database)

        ran = schemathesis(base_url, tmp_path)

        if ran.returncode != 0:
            pytest.fail(ran.stdout + ran.stderr, pytrace=False)
        assert head(database) > before
        assert caller.get("/readyz").json()["status"] == "ready"


def schemathesis(base_url: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """
    Every operation, by the bounds of its schemas and by chance, well formed and not. The stream of /v1/events is left
    out by itself: it is only for who asks for that media type, and has no end to wait for.
    """
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("run", f"{base_url}/openapi.json", "--no-color", "--warnings=off"),
        *("--phases=coverage,fuzzing", "--mode=all", "--seed=1", f"--max-examples={EXAMPLES_MAX}"),
        *("--checks=all", f"--exclude-checks={','.join(NARROWED)}"),
        *("--generation-database=none", "--suppress-health-check=all", "--request-timeout=20"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(TOP), "SCHEMATHESIS_HOOKS": "tests.fuzzing"}
    return subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
