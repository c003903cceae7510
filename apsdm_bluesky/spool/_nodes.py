"""Nodes of the catalogue by their paths, over one HTTP client. Any thread may use it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

import httpx
from tiled.client.utils import handle_error
from tiled.utils import safe_json_dump

Parts = Sequence[str]

_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
_PAGE = 300


class Nodes:
    """Makes, looks at and removes nodes.

    Parameters
    ----------
    http
        The client of a connection, which knows the key.
    uri
        Of the API, with a slash at its end.
    told
        Turns what goes wrong into the errors of the delivery.
    """

    def __init__(
        self, http: httpx.Client, uri: str, told: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._http = http
        self._uri = uri
        self._told = told

    def create(
        self, parts: Parts, family: str, metadata: Mapping[str, Any], source: Mapping[str, Any] | None = None
    ) -> bool:
        """Make a node; False, and nothing changes, where there is one."""
        body = {
            "id": parts[-1],
            "structure_family": family,
            "metadata": metadata,
            "specs": [],
            "data_sources": [] if source is None else [source],
        }
        with self._told():
            answer = self._http.post(
                self._address("metadata" if source is None else "register", parts[:-1]),
                content=safe_json_dump(body),
                headers=_JSON,
            )
            if answer.status_code == httpx.codes.CONFLICT:
                return False
            handle_error(answer)
        return True

    def get(self, parts: Parts) -> dict[str, Any] | None:
        """A node's attributes with its data sources; None where there is none."""
        with self._told():
            answer = self._http.get(
                self._address("metadata", parts), params={"include_data_sources": "true"}, headers=_JSON
            )
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            attributes: dict[str, Any] = handle_error(answer).json()["data"]["attributes"]
        return attributes

    def search(self, parts: Parts, key: str, value: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The nodes in a container whose metadata have that value: names and attributes, page by page."""
        params = {
            "filter[eq][condition][key]": key,
            "filter[eq][condition][value]": json.dumps(value),
            "include_data_sources": "true",
            "page[limit]": str(_PAGE),
        }
        found: list[Any] = [None] * _PAGE
        first = 0
        while len(found) == _PAGE:
            with self._told():
                answer = self._http.get(
                    self._address("search", parts),
                    params={**params, "page[offset]": str(first)},
                    headers=_JSON,
                )
                found = handle_error(answer).json()["data"]
            first += _PAGE
            for item in found:
                yield item["id"], item["attributes"]

    def delete(self, parts: Parts) -> None:
        """Remove a node that holds no data of its own; its files stay."""
        with self._told():
            answer = self._http.delete(self._address("metadata", parts), params={"external_only": "true"})
            if answer.status_code != httpx.codes.NOT_FOUND:
                handle_error(answer)

    def put_source(self, parts: Parts, source: Mapping[str, Any]) -> None:
        """Replace a node's structure; its files become more by those that are told."""
        with self._told():
            handle_error(
                self._http.put(
                    self._address("data_source", parts),
                    content=safe_json_dump({"data_source": source}),
                    headers=_JSON,
                )
            )

    def put_metadata(self, parts: Parts, metadata: Mapping[str, Any]) -> None:
        """Replace a node's metadata; the former ones are not kept."""
        with self._told():
            handle_error(
                self._http.put(
                    self._address("metadata", parts),
                    content=safe_json_dump({"metadata": metadata}),
                    params={"drop_revision": "true"},
                    headers=_JSON,
                )
            )

    def _address(self, route: str, parts: Parts) -> str:
        return f"{self._uri}{route}/" + "/".join(quote(part, safe="") for part in parts)
