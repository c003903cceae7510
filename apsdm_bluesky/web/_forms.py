"""What a form sends, of a bounded size."""

import asyncio
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

_LARGEST = 2 << 20  # bytes: the largest workflow file, quoted
_MOST_FIELDS = 2_000
_LOGIN_PATIENCE_S = 10.0
_PATIENCE_S = 60.0
_CLOSE = {"Connection": "close"}  # the rest is not waited for


async def form_of(request: Request, largest: int, patience_s: float = _LOGIN_PATIENCE_S) -> Mapping[str, str]:
    """The fields of a form of at most so many bytes.

    Parameters
    ----------
    patience_s
        How long its sender may take [s].

    Raises
    ------
    HTTPException
        408: it took longer. 413: it is larger. 400: it is no form.
    """
    try:
        async with asyncio.timeout(patience_s):
            body = await _body(request, largest)
    except TimeoutError as error:
        raise HTTPException(408, f"The form was not there after {patience_s:g} s.", _CLOSE) from error
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise HTTPException(400, "This is no form of ours.") from error
    # Browsers send line ends as CR LF, whatever was typed.
    return {name: value.replace("\r\n", "\n") for name, value in fields}


async def _body(request: Request, largest: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise HTTPException(413, f"More than {largest >> 10} KiB are no form of ours.", _CLOSE)
    return bytes(body)


async def _sent(request: Request) -> Mapping[str, str]:
    return await form_of(request, _LARGEST, _PATIENCE_S)


Sent = Annotated[Mapping[str, str], Depends(_sent)]
