"""HTTP application of the labelling page."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName
from robo_reward.files import parse_json
from robo_reward.labelling.answers import NAME_LIMIT, BadAnswer
from robo_reward.labelling.exchange import iter_export_rows
from robo_reward.labelling.page.session import BadRequest, LabellingSession
from robo_reward.web.guard import Application
from robo_reward.web.page import make_page, read_json_body, respond_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

STATIC = {
    "index.html": "text/html",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        ("main.js", "server.js", "outbox.js", "player.js", "ranking.js", "summary.js", "dom.js"), "text/javascript"
    ),
}
_BODY_LIMIT = 64 * 1024
_QUERY_LIMIT = 20
_COUNTS = frozenset(map(str, range(1, _QUERY_LIMIT + 1)))


def make_app(session: LabellingSession, token: str, host: str) -> Application:
    """Returns the ASGI application of a labelling page.

    Args:
        session: the labelling session that it serves.
        token: the secret part of its address.
        host: host name or address that the server is bound to.

    Raises:
        MissingExtra: starlette is not installed.
    """
    gets = {
        "/clips/{clip}": partial(_serve_clip, session),
        "/preferences.jsonl": partial(_serve_export, session),
        "/api/state": partial(_respond_with, lambda ask: session.describe_state(ask.get("annotator", "")[:NAME_LIMIT])),
        "/api/queries": partial(_respond_with, partial(_next_queries, session)),
        "/api/summary": partial(_respond_with, lambda ask: session.summary()),
    }
    posts = {"/api/events": partial(_record_event, session)}
    folder = files("robo_reward.labelling.page") / "static"
    return make_page(folder, STATIC, gets, posts, token=token, host=host, verb="label", name="the labelling page")


def _next_queries(session: LabellingSession, ask: Any) -> list[dict[str, Any]]:
    annotator = ask.get("annotator", "").strip()[:NAME_LIMIT]
    if not annotator:
        raise BadRequest("annotator is missing; add annotator=NAME to the request")
    count = ask.get("count", "1")
    if count not in _COUNTS:
        raise BadRequest(f"count={count[:20]!r}: expected 1 to {_QUERY_LIMIT}")
    held = [key for key in ask.get("exclude", "").split(",") if key]
    return session.next_queries(annotator, ask.get("tab", ""), int(count), held)


async def _respond_with(answer: Callable[[Any], Any], request: Request) -> Response:
    """Returns the JSON response of `answer`, called with the query parameters in a worker thread."""
    from starlette.concurrency import run_in_threadpool

    return await _to_response(run_in_threadpool(answer, request.query_params))


async def _record_event(session: LabellingSession, request: Request) -> Response:
    """Records one event; the response is sent when it is on disk."""
    from starlette.concurrency import run_in_threadpool

    body = await read_json_body(request, _BODY_LIMIT)
    try:
        value = parse_json(body, dict[str, Any], "answer")
    except BadArtifact:
        return respond_json({"error": "expected a JSON object"}, 400)
    return await _to_response(run_in_threadpool(session.record_event, value))


async def _to_response(result: Any) -> Response:
    """Returns the JSON response of a result, or of its error: 400 and 422 are final, 503 asks to try again."""
    try:
        return respond_json(await result)
    except BadRequest as error:
        return respond_json({"error": str(error)}, 400)
    except RoboRewardError as error:
        return respond_json({"error": str(error)}, 422 if isinstance(error, BadAnswer | UnknownName) else 503)


async def _serve_clip(session: LabellingSession, request: Request) -> Response:
    from starlette.responses import FileResponse

    video = session.find_video(request.path_params["clip"])
    if video is None or not video.path.is_file():
        return respond_json({"error": "no such clip"}, 404)
    kind = "video/webm" if video.path.suffix == ".webm" else "video/mp4"
    headers = {"cache-control": "private, max-age=86400"}  # the id identifies the content
    return FileResponse(video.path, media_type=kind, headers=headers)


async def _serve_export(session: LabellingSession, request: Request) -> Response:
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response

    rows = await run_in_threadpool(lambda: list(iter_export_rows(session.store)))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    headers = {"content-disposition": 'attachment; filename="preferences.jsonl"', "cache-control": "no-store"}
    return Response(text, media_type="application/x-ndjson", headers=headers)
