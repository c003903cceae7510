"""Operations on a collection's files: docs.globus.org/api/transfer/file_operations."""

import fnmatch
import stat as mode_bits
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ._collections import Collection
from ._errors import ApiError, bad_request
from ._service import Service, json_body, result
from ._store import Document

__all__ = ["OperationRoutes"]

_LS_LIMIT = 100_000


class OperationRoutes:
    """``ls``, ``stat``, ``mkdir`` and ``rename``; a file on tape looks like one on disk."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _collection(self, request: Request) -> Collection:
        return self._service.open(self._service.caller(request), request.path_params["endpoint_id"])

    def _target(self, request: Request) -> tuple[Collection, str, Path]:
        collection = self._collection(request)
        path = request.query_params.get("path", "/~/")
        return collection, path, collection.resolve(path)

    async def ls(self, request: Request) -> Response:
        """``GET /v0.10/operation/endpoint/<id>/ls``."""
        collection, path, folder = self._target(request)
        if not folder.exists():
            raise _not_found(collection, path, "ClientError.NotFound")
        if not folder.is_dir():
            code = "ExternalError.DirListingFailed.NotDirectory"
            raise ApiError(502, code, collection.ftp_error(path, "Path is not a directory"))
        shown = _wanted(request, [_file(found) for found in sorted(folder.iterdir())])
        first, limit = _number(request, "offset", 0), min(_number(request, "limit", _LS_LIMIT), _LS_LIMIT)
        body: Document = {
            "DATA_TYPE": "file_list",
            "absolute_path": _absolute(collection, folder),
            "path": path,
        }
        body |= {"endpoint": collection.id, "rename_supported": True, "symlink_supported": False}
        page = shown[first : first + limit]
        return JSONResponse({**body, "DATA": page, "length": len(page), "total": len(shown)})

    async def stat(self, request: Request) -> Response:
        """``GET /v0.10/operation/endpoint/<id>/stat``."""
        collection, path, target = self._target(request)
        if not target.exists():
            raise _not_found(collection, path, "NotFound")
        return JSONResponse(_file(target))

    async def mkdir(self, request: Request) -> Response:
        """``POST /v0.10/operation/endpoint/<id>/mkdir``."""
        collection, body = self._collection(request), await json_body(request)
        target = collection.resolve(body.get("path"))
        try:
            target.mkdir()
        except FileExistsError as error:
            message = collection.ftp_error(body["path"], "Path already exists")
            raise ApiError(502, "ExternalError.MkdirFailed.Exists", message) from error
        except OSError as error:
            message = collection.ftp_error(body["path"], str(error.strerror))
            raise ApiError(502, "ExternalError.MkdirFailed", message) from error
        message = "The directory was created successfully"
        answer = result(request, "DirectoryCreated", message, "mkdir_result")
        return JSONResponse(answer, status_code=202)

    async def rename(self, request: Request) -> Response:
        """``POST /v0.10/operation/endpoint/<id>/rename``; never over something that exists."""
        collection, body = self._collection(request), await json_body(request)
        old, new = collection.resolve(body.get("old_path")), collection.resolve(body.get("new_path"))
        if not old.exists():
            raise _not_found(collection, body["old_path"], "ClientError.NotFound")
        if new.exists():
            message = collection.ftp_error(body["new_path"], "Path already exists")
            raise ApiError(502, "ExternalError.RenameFailed.Exists", message)
        try:
            old.rename(new)
        except OSError as error:
            message = collection.ftp_error(body["new_path"], str(error.strerror))
            raise ApiError(502, "ExternalError.RenameFailed", message) from error
        self._service.collections.renamed(collection, old, new)
        return JSONResponse(result(request, "FileRenamed", "File or directory renamed successfully"))


def _not_found(collection: Collection, path: str, code: str) -> ApiError:
    """Message of the SDK's ``operation_stat`` test data, in short."""
    message = (
        f"Path not found, Error (list)\nEndpoint: {collection.name} ({collection.id})\n"
        f"Server: 127.0.0.1\nMessage: No such file or directory\n---\nDetails: Error: '{path}' not found\n"
    )
    return ApiError(404, code, message)


def _absolute(collection: Collection, folder: Path) -> str:
    inside = folder.relative_to(collection.root).as_posix()
    return "/" if inside == "." else f"/{inside}/"


def _file(path: Path) -> Document:
    """Keys of the SDK's ``operation_stat`` test data."""
    status = path.lstat()
    link = mode_bits.S_ISLNK(status.st_mode)
    if link and path.exists():
        status = path.stat()
    kind = "dir" if mode_bits.S_ISDIR(status.st_mode) else "file"
    moment = datetime.fromtimestamp(int(status.st_mtime), UTC)
    links = {f"link_{name}": None for name in ("group", "last_modified", "size", "target", "user")}
    return {
        "DATA_TYPE": "file",
        "name": path.name,
        "type": kind,
        "size": status.st_size,
        "permissions": f"{status.st_mode & 0o7777:04o}",
        "last_modified": str(moment),
        "user": "standin",
        "group": "standin",
        **links,
    }


def _wanted(request: Request, files: list[Document]) -> list[Document]:
    """Hidden files and ``filter=name:a/type:file``, where a name may begin with ``~`` for a pattern."""
    if request.query_params.get("show_hidden", "1").lower() in ("0", "false"):
        files = [file for file in files if not file["name"].startswith(".")]
    for clause in filter(None, request.query_params.get("filter", "").split("/")):
        name, _, text = clause.partition(":")
        if name not in ("name", "type"):
            raise bad_request(f"filter {name!r} is not known; use name or type")
        files = [file for file in files if _matches(str(file[name]), text)]
    return files


def _matches(value: str, text: str) -> bool:
    if text.startswith("~"):
        return fnmatch.fnmatchcase(value.lower(), text[1:].lower())
    return value in text.removeprefix("=").split(",")


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        raise bad_request(f"{name} must be a number, not {text!r}")
    return int(text)
