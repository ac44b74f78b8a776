"""The API as it describes itself: the page, the document, and its examples, which run."""

from collections.abc import Iterator

import httpx2
import pytest

from adapters.openapi.document import document
from adapters.openapi.operations import OPERATIONS, Example, Operation
from tests.documented import must_be_documented
from tests.serving import Caller, serving


@pytest.fixture
def api(database: str) -> Iterator[Caller]:
    with serving(database) as base_url, Caller(base_url) as caller:
        yield caller


EXAMPLES = [(operation, name, example) for operation in OPERATIONS for name, example in operation.examples.items()]


def test_every_example_runs(api: Caller) -> None:
    """
    Sent in order to an empty Daybook, every example of the document succeeds, or is refused for what it says, and is
    answered as the document says.
    """
    seen = []
    for operation, name, example in EXAMPLES:
        response = send(api, operation, example)
        seen.append((operation.id, name, response.status_code))
        must_be_documented(response)
        if example.refused:
            assert response.json()["code"] == example.refused, (operation.id, name, response.text)
        else:
            assert response.status_code == operation.status, (operation.id, name, response.text)

    replayed = send(api, EXAMPLES[0][0], EXAMPLES[0][2])

    assert replayed.headers["idempotency-replayed"] == "true"
    assert {id for id, _, _ in seen} == {operation.id for operation in OPERATIONS} - {"expire_hold", "expire_escrow"}


def send(api: Caller, operation: Operation, example: Example) -> httpx2.Response:
    path = operation.path.format(**example.path)
    if operation.method == "get":
        return api.get(path, params=dict(example.query))
    return api.ask(path, example.body, key=example.key, **({"Daybook-Actor": example.actor} if example.actor else {}))


def test_the_document_is_served(api: Caller) -> None:
    """
    The document that is served is the one that was made.
    """
    answer = api.get("/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document()


def test_the_page_asks_nobody_else(api: Caller) -> None:
    """
    The page and all it needs come from this server, under a policy that forbids everything else.
    """
    page = api.get("/docs")

    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "//" not in page.text.replace("<!doctype html>", "").replace("// ", "")
    for asset in ("page.js", "swagger-ui-bundle.js", "swagger-ui.css", "LICENSE"):
        assert api.get(f"/docs/{asset}").status_code == 200
    picture = api.get("/docs/payments.svg")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/svg+xml")
    assert "/docs/payments.svg" in str(document()["tags"])
    assert api.get("/docs/../app.py").status_code == 404
    assert api.get("/docs/page.css").status_code == 404


def test_the_catalogues_are_served(api: Caller) -> None:
    """
    Both catalogues are answered as the document says.
    """
    for path in ("/v1/catalogue/events", "/v1/catalogue/errors"):
        answer = api.get(path)

        must_be_documented(answer)
        assert len(answer.json()["data"]) > 10
