"""From a run folder to its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robo_reward.errors import UsageError
from robo_reward.report.data import (
    CandidateRow,
    Clip,
    Costs,
    Curve,
    Headline,
    RefusedRow,
    Reproduce,
    RunReport,
    Series,
    Timing,
    Winner,
)
from robo_reward.report.render import save_report

STATUSES = {"duplicate": "refused", "training": "running", "accepted": "running"}


def report_run(folder: Path) -> Path:
    """Writes `report.html` of any run folder and returns its path.

    Raises:
        UsageError: the folder holds no run that has a report.
    """
    if (folder / "search.json").is_file():
        return report_search(folder)
    if (folder / "result.json").is_file() and (folder / "config.yaml").is_file():
        return report_train(folder)
    raise UsageError(f"{folder} holds no finished run: expected search.json, or result.json and config.yaml")


def report_search(folder: Path) -> Path:
    """The page of a search, finished or not."""
    search, config = _json(folder / "search.json"), _config(folder)
    candidates = search["candidates"]
    winner = next((c for c in candidates if c["id"] == search["winner"]), None)
    evaluation = _json(folder / "evaluation.json") if (folder / "evaluation.json").is_file() and winner else None
    sittings = _json(folder / "sittings.json") or []
    report = RunReport(
        title=f"{config['task']['id']}: {len(candidates)} reward programs",
        goal=_goal(config),
        task=config["task"]["id"],
        kind="search",
        headline=_headline(evaluation, search, sum(sittings), candidates),
        candidates=tuple(_row(c, winner) for c in candidates),
        refused=tuple(row for c in candidates for row in _refusals(c)),
        winner=_winner(winner, candidates) if winner else None,
        curves=tuple(curve for c in candidates for curve in _curve(c)),
        rungs=tuple(round(config["search"]["steps"] * share) for share in config["search"]["rungs"]),
        videos=_videos(folder),
        costs=_costs(folder, config),
        timings=tuple(
            Timing(f"sitting {i + 1}" if len(sittings) > 1 else "whole run", s) for i, s in enumerate(sittings)
        ),
        **_origin(folder, config),
    )
    return save_report(report, folder)


def report_train(folder: Path) -> Path:
    """The page of one training run on a given reward."""
    result, config = _json(folder / "result.json"), _config(folder)
    evaluation, points = result["evaluation"], result["points"]
    program = folder / "reward" / "reward.py"
    source = program.read_text() if program.is_file() else f"# reward: {config['reward']['kind']}"
    seconds = result["seconds"]
    report = RunReport(
        title=f"{config['task']['id']} with {config['policy']['algorithm']}",
        goal=_goal(config),
        task=config["task"]["id"],
        kind="train",
        headline=Headline(**_rate(evaluation), seconds=seconds, steps=result["steps"]),
        winner=Winner(source, terms=_terms(points)),
        curves=(Curve("policy", _series(points, "success"), config["policy"]["algorithm"]),),
        videos=_videos(folder),
        timings=(Timing("training", seconds),),
        **_origin(folder, config),
    )
    return save_report(report, folder)


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _config(folder: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)  # type: ignore[return-value]


def _goal(config: dict[str, Any]) -> str:
    if config.get("goal"):
        return config["goal"]
    from robo_reward.envs.task import make_task

    return make_task(config["task"]["id"], **config["task"]["options"]).goal


def _rate(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {key: evaluation[key] for key in ("success", "low", "high", "episodes")}


def _headline(
    evaluation: dict[str, Any] | None, search: dict[str, Any], seconds: float, candidates: list[dict[str, Any]]
) -> Headline:
    if evaluation is None:
        trained = sum(bool(c["rungs"]) for c in candidates)
        return Headline(
            seconds=seconds,
            message=f"No final policy yet: {trained} of {len(candidates)} programs were trained.",
            next_step="Start the same command again to go on, or read below why programs were refused.",
        )
    finals = search["finals"]
    rates = ", ".join(f"{r['evaluation']['success']:.2f}" for r in finals)
    message = f"The winning program, trained afresh with {len(finals)} other seeds: {rates}." if finals else ""
    steps = finals[0]["steps"] if finals else None
    spent = [c["rungs"][-1]["steps"] for c in candidates if c["rungs"]]  # a rung goes on where the last one ended
    total = sum(spent) + sum(r["steps"] for r in finals)
    next_step = "" if evaluation["successes"] else "Try more steps, more rounds or another writer."
    return Headline(
        **_rate(evaluation), seconds=seconds, steps=steps, total_steps=total, message=message, next_step=next_step
    )


def _row(candidate: dict[str, Any], winner: dict[str, Any] | None) -> CandidateRow:
    rungs = candidate["rungs"]
    status = "winner" if winner and candidate["id"] == winner["id"] else candidate["status"]
    stage = f"rung {len(rungs)}" if rungs else (candidate["refusals"][-1]["stage"] if candidate["refusals"] else "")
    return CandidateRow(
        id=candidate["id"],
        round=candidate["round"] + 1,
        parent=candidate["parent"],
        stage=stage,
        rung=len(rungs),
        steps=rungs[-1]["steps"] if rungs else None,
        success=rungs[-1]["evaluation"]["success"] if rungs else None,
        status=STATUSES.get(status, status),  # type: ignore[arg-type]
        note=candidate["note"],
    )


def _refusals(candidate: dict[str, Any]) -> list[RefusedRow]:
    rows = [
        RefusedRow(candidate["id"], r["reason"], r["remedy"], r["line"], r["stage"], r["source"])
        for r in candidate["refusals"]
    ]
    if candidate["status"] == "failed":
        rows.append(RefusedRow(candidate["id"], candidate["note"], stage="training", source=candidate["source"]))
    return rows


def _winner(winner: dict[str, Any], candidates: list[dict[str, Any]]) -> Winner:
    parent = next((c for c in candidates if c["id"] == winner["parent"]), None)
    return Winner(
        source=winner["source"],
        id=winner["id"],
        parent=winner["parent"],
        parent_source=parent["source"] if parent else None,
        terms=_terms(winner["rungs"][-1]["points"]),
    )


def _terms(points: list[dict[str, Any]]) -> dict[str, Series]:
    steps = tuple(p["steps"] for p in points)
    names = points[0]["terms"] if points else {}
    return {name: Series(steps, tuple(p["terms"][name] for p in points)) for name in names}


def _series(points: list[dict[str, Any]], key: str) -> Series:
    return Series(tuple(p["steps"] for p in points), tuple(p[key] for p in points))


def _curve(candidate: dict[str, Any]) -> list[Curve]:
    if not candidate["rungs"]:
        return []
    return [Curve(candidate["id"], _series(candidate["rungs"][-1]["points"], "success"))]


def _videos(folder: Path) -> tuple[Clip, ...]:
    films = _json(folder / "videos.json") or []
    names = {True: "goal fulfilled", False: "goal missed"}
    return tuple(
        Clip(Path(f["path"]), f"Episode {i + 1}: {names[f['success']]}", f["success"]) for i, f in enumerate(films)
    )


def _costs(folder: Path, config: dict[str, Any]) -> Costs:
    """What the writer used, from the ledger."""
    from robo_reward.code.ledger import Ledger

    writer = config["writer"]
    path = folder / "ledger.jsonl"
    usages = [entry.usage for entry in Ledger(path, "replay").entries()] if path.is_file() else []
    return Costs(
        writer=writer["name"],
        model=writer.get("model", ""),
        requests=len(usages),
        prompt_tokens=sum(u.prompt_tokens for u in usages),
        completion_tokens=sum(u.completion_tokens for u in usages),
        dollars=sum(u.cost or 0.0 for u in usages),
    )


def _origin(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """How to reproduce the run."""
    origin = _json(folder / "provenance.json") or {}
    git = origin.get("git", {})
    machine = {k: v for k, v in origin.get("machine", {}).items() if k != "executable"}
    return {
        "reproduce": Reproduce(
            command=origin.get("command", ""),
            seed=config.get("seed"),
            git_revision=git.get("revision", ""),
            git_dirty=git.get("dirty", False),
            folder=folder.name,
        ),
        "config_text": (folder / "config.yaml").read_text(),
        "versions": origin.get("versions", {}),
        "environment": machine,
        "created": origin.get("created", ""),
    }
