"""A page: its files, and the JSON requests and responses behind them, guarded by the token of its address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from robo_reward.errors import MissingExtra, RoboRewardError
from robo_reward.web.guard import AccessGuard, Application

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Endpoint = Callable[[Any], Awaitable[Any]]
"""From a `starlette.requests.Request` to its response."""


class RequestRefused(RoboRewardError):
    """A request whose body is not JSON, or is too long; the page answers with its status code.

    Args:
        status: HTTP status code.
        problem: what is wrong.
    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def make_page(
    folder: Traversable,
    types: Mapping[str, str],
    gets: Mapping[str, Endpoint],
    posts: Mapping[str, Endpoint],
    *,
    token: str,
    host: str,
    verb: str,
    name: str,
) -> Application:
    """Returns the ASGI application of a page.

    Args:
        folder: holds the files of the page.
        types: media type of each file by name; `index.html` is also served as `/`.
        gets: what answers GET requests, by path.
        posts: what answers POST requests, by path.
        token: the secret part of the page's address.
        host: host name or address that the server is bound to.
        verb: the command that prints the address.
        name: of the page, for the message of a missing package.

    Raises:
        MissingExtra: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError:
        raise MissingExtra("starlette", "label", name) from None
    files = {"/": "index.html", **{f"/{file}": file for file in types}}
    routes = [
        *(Route(path, partial(_serve_file, folder / file, types[file])) for path, file in files.items()),
        *(Route(path, endpoint) for path, endpoint in gets.items()),
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
    ]
    app = Starlette(routes=routes, exception_handlers={RequestRefused: _answer_refused})
    return AccessGuard(app, token, host, verb)


async def read_json_body(request: Request, limit: int) -> bytes:
    """Returns the body of a request that says that it is JSON.

    Args:
        request: the request.
        limit: the most bytes to read.

    Raises:
        RequestRefused: it says that it is something else, which a form of a foreign page does, or it is longer.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise RequestRefused(415, "expected application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise RequestRefused(413, f"more than {limit} bytes")
    return body


def respond_json(value: Any, status: int = 200) -> Response:
    """Returns a JSON response that no browser keeps."""
    from starlette.responses import JSONResponse

    return JSONResponse(value, status, headers={"cache-control": "no-store"})


async def _answer_refused(request: Request, error: Exception) -> Response:
    return respond_json({"error": str(error)}, getattr(error, "status", 500))


async def _serve_file(file: Traversable, kind: str, request: Request) -> Response:
    from starlette.responses import Response

    return Response(file.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})
