"""Found rewards against Meta-World's own: `python -m benchmarks.metaworld --json FILE [--quick]`.

For five tasks, `search writer=offline` writes programs from the goal sentence and keeps the best of a short training.
That program and the environment's own reward then train one policy each with the same algorithm, settings, steps and
seed. Success is the environment's, at the last step of 20 new episodes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import robo_reward as rr
from benchmarks.output import arguments, report

TASKS = ("reach-v3", "drawer-close-v3", "handle-press-v3", "faucet-open-v3", "window-open-v3")
HORIZON = 200
"""Control steps of an episode; the scripted policies need at most about 100 in these tasks."""
SETTINGS: dict[str, Any] = {
    "task.options.horizon": HORIZON,
    "policy": "sac",
    "policy.params.worlds": 8,
    "policy.params.gradient_steps": 2,
    "policy.params.batch_size": 128,
    "policy.params.learning_starts": 1600,
    "policy.params.gamma": 0.95,
    "policy.params.ent_coef": "auto_0.02",
    "policy.params.policy_kwargs": {"net_arch": [64, 64]},
    "videos": 0,
}


def find_program(name: str, candidates: int, steps: int, seed: int, runs: Path) -> Path:
    """Returns the folder of the best of a few programs of the offline writer, each trained for a short time."""
    settings = {
        **SETTINGS,
        "writer": "offline",
        "search.rounds": 1,
        "search.candidates": candidates,
        "search.rungs": [1.0],
        "search.steps": steps,
        "search.final_seeds": 0,
        "search.episodes": 5,
        "executor.workers": 1,
        "runs": str(runs),
    }
    return rr.search(f"metaworld/{name}", settings, seed=seed).folder / "reward"


def measure_success(name: str, reward: str | Path, steps: int, seed: int, runs: Path) -> dict[str, float]:
    """Trains a policy on a reward and returns its success, and the share of steps in which it holds."""
    settings = {**SETTINGS, "steps": steps, "episodes": 20, "runs": str(runs), "threads": 1}
    found = rr.train(f"metaworld/{name}", reward, settings, seed=seed).result
    return {"success": found["evaluation"]["success"], "held": found["evaluation"]["held"], "seconds": found["seconds"]}


def main() -> None:
    """Runs the benchmark."""
    args = arguments(
        __doc__,
        steps="training steps of each policy (100000); a program of the search has a quarter",
        candidates="programs of the search (2)",
        tasks="names with commas between",
    )
    steps = int(args.steps or (4000 if args.quick else 100_000))
    candidates = int(args.candidates or (1 if args.quick else 2))
    search_steps = steps // 4 if candidates > 1 else 500  # one program needs no comparison
    values: dict[str, Any] = {"steps": steps, "horizon": HORIZON, "candidates": candidates}
    with tempfile.TemporaryDirectory(prefix="robo-reward-metaworld-") as folder:
        for name in args.tasks.split(",") if args.tasks else TASKS[:1] if args.quick else TASKS:
            runs = Path(folder) / name
            program = find_program(name, candidates, search_steps, 0, runs)
            values[name] = {
                "found": measure_success(name, program, steps, 0, runs),
                "own": measure_success(name, "expert", steps, 0, runs),
            }
            report(args, values)  # after each task: a run that is stopped has measured something


if __name__ == "__main__":
    main()
