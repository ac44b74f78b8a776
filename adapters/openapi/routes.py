"""GET /openapi.json, /docs with the picture of a payment's life, and the catalogues.

The page is Swagger UI as its makers ship it, kept beside this file with its licence. A strict Content-Security-Policy
keeps it from asking anybody else for anything.
"""

from functools import cache
from importlib.resources import files
from typing import Final

import msgspec
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.openapi import diagram
from adapters.openapi.document import document
from adapters.openapi.errors import CATALOGUE as ERRORS
from adapters.openapi.events import catalogue

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles from its script, and has its images inside its style sheet."""

ASSETS: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "LICENSE": "text/plain; charset=utf-8",
}
PICTURE: Final = "payments.svg"
_HARDENED: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@cache
def _asset(name: str) -> bytes:
    return files("adapters.openapi").joinpath("static", name).read_bytes()


@cache
def _picture() -> bytes:
    return diagram.svg().encode()


@cache
def _document() -> bytes:
    return orjson.dumps(document())


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def read_document(request: Request) -> Response:
    return _json(_document())


async def list_events(request: Request) -> Response:
    return _json(msgspec.json.encode(catalogue()))


async def list_errors(request: Request) -> Response:
    return _json(msgspec.json.encode(ERRORS))


async def read_page(request: Request) -> Response:
    return _static("index.html")


async def read_picture(request: Request) -> Response:
    return Response(_picture(), headers={"Content-Type": "image/svg+xml", **_HARDENED})


async def read_asset(request: Request) -> Response:
    name = request.path_params["asset"]
    if name not in ASSETS:
        raise HTTPException(404)
    return _static(name)


def _static(name: str) -> Response:
    return Response(_asset(name), headers={"Content-Type": ASSETS[name], **_HARDENED})


routes: Final = [
    Route("/openapi.json", read_document, methods=["GET"]),
    Route("/v1/catalogue/events", list_events, methods=["GET"]),
    Route("/v1/catalogue/errors", list_errors, methods=["GET"]),
    Route("/docs", read_page, methods=["GET"]),
    Route(f"/docs/{PICTURE}", read_picture, methods=["GET"]),
    Route("/docs/{asset}", read_asset, methods=["GET"]),
]
