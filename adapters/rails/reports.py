"""Where a rail's reports come from: a file of each day over HTTP, as bytes; what is in it is each rail's own.

    GET {url}/{day}?route=    200 the file of a day that is over; 204 while it is not; {day} like 2026-11-24

An acquirer or a bank puts its file elsewhere, on a server of its own or ours; whoever carries it here puts it behind
such an address.
"""

import asyncio
from datetime import date
from typing import Final

import httpx2

from domain.errors import Unavailable

FILE_MAX: Final = 64 * 2**20
"""Bytes of the largest file that is read."""


async def fetch(client: httpx2.AsyncClient, url: str, day: date, *, route: str, patience_s: float) -> bytes | None:
    """The file of that day; None while the day is not over.

    Args:
        route: What the other side knows it by.

    Raises:
        Unavailable: It was not to be had.
    """
    try:
        async with asyncio.timeout(patience_s), client.stream("GET", f"{url}/{day}", params={"route": route}) as said:
            if said.status_code == httpx2.codes.NO_CONTENT:
                return None
            if said.status_code != httpx2.codes.OK:
                raise Unavailable(f"{url} answered {said.status_code} for {day}")
            return await _whole(said, url)
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, TimeoutError) as error:
        raise Unavailable(f"{url} did not say what settled on {day} ({type(error).__name__})") from error


async def _whole(said: httpx2.Response, url: str) -> bytes:
    content = bytearray()
    async for chunk in said.aiter_bytes():
        content += chunk
        if len(content) > FILE_MAX:
            raise Unavailable(f"{url} sends more than {FILE_MAX} bytes")
    return bytes(content)
