"""The page of scored episodes: the worst and the best with their pictures, and a table of all."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from robo_reward.report.render import read_asset, template_environment, write_page

MOST_ROWS = 1000


@dataclass(frozen=True)
class ScoresPage:
    """The content of the page.

    Args:
        result: content of the scores.json of `robo-reward score`.
        worst: name and PNG file of the worst episodes, the worst first.
        best: the same of the best ones, the best first.
        command: command line that made it.
    """

    result: Mapping[str, Any]
    worst: Sequence[tuple[str, Path]]
    best: Sequence[tuple[str, Path]]
    command: str


def write_scores_page(path: Path, page: ScoresPage) -> Path:
    """Writes the page with embedded pictures, atomically, and returns its path."""
    groups = [
        (title, note, [(name, _encode_picture(picture)) for name, picture in pictures])
        for title, note, pictures in (
            ("The worst", "Look at these first: the lowest scores.", page.worst),
            ("The best", "The highest scores.", page.best),
        )
        if pictures
    ]
    text = (
        template_environment()
        .get_template("scores.html.jinja")
        .render(
            style=Markup(read_asset("style.css")),
            page=page,
            result=page.result,
            groups=groups,
            rows=page.result["scores"][:MOST_ROWS],
            left_out=max(0, len(page.result["scores"]) - MOST_ROWS),
        )
    )
    return write_page(path, text)


def _encode_picture(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
