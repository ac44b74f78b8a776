"""What a process writes to its log."""

import json
import subprocess
import sys

PROGRAM = """
import logging
from adapters.observe import logs
from adapters.observe.handled import Handled
logs.configure()
logs.handled(Handled("GET", "/livez", 200, 0.0012345, "r1", "", "", "", "", None, False, False))
logs.projecting("projection.failed", projection="journal")
logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
logging.getLogger("uvicorn.error").info("unheard")
try:
    1 / 0
except ZeroDivisionError as error:
    logs.fault("request.failed", error)
"""


def test_lines_of_json() -> None:
    """
    Where no person looks on, each line of the log is one JSON object, our own and the libraries'; stdout stays clean.
    """
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert run.stdout == ""
    assert all(line.pop("timestamp").endswith("Z") for line in lines)
    assert "ZeroDivisionError" in lines[3].pop("exception")
    assert lines == [
        {
            "event": "request.handled",
            "level": "info",
            "method": "GET",
            "route": "/livez",
            "status": 200,
            "duration_ms": 1.23,
            "request_id": "r1",
        },
        {"event": "projection.failed", "level": "error", "projection": "journal"},
        {"event": "Invalid request", "level": "warning"},
        {"event": "request.failed", "level": "error", "error": "ZeroDivisionError"},
    ]
