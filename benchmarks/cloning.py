"""Success of cloned policies: `python -m benchmarks.cloning --json FILE [--quick] [--work FOLDER] [--tasks lift,push]`.

Each task's scripted expert is recorded with noisy execution and clean labels; panda/stack, whose horizon is tight, with
less noise. A policy with the settings `CLONE`, which the documentation recommends, learns from 200 successful episodes,
and is measured over 100 episodes:

  success                    mean of the seeds 0, 1 and 2,
  success_by_demonstrations  seed 0, by the number of demonstrations,
  training_seconds           wall time of the training of seed 2, one thread, without evaluation [s].

With `--work`, recordings and runs are kept in that folder, and a benchmark that was stopped goes on where it stopped.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.output import arguments, report
from robo_reward.data.cloning.demonstrations import load_demonstration_set
from robo_reward.data.cloning.recording import RecordingSettings, make_expert, record_demonstrations
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.task import Task, make_task
from robo_reward.files import load_json, write_json
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.train import clone_policy

NOISE = {"lift": 0.2, "pick": 0.2, "push": 0.12, "stack": 0.12}
TARGETS = {"lift": 0.98, "pick": 0.97, "push": 0.95, "stack": 0.85}
SEEDS = (0, 1, 2)
CLONE: dict[str, Any] = {"objective": "flow", "prediction_type": "sample", "horizon": 4, "execute": 2}
UPDATES, BATCH = 4000, 128
DEMONSTRATIONS = (10, 50, 200)


def measure_clone(task: Task, work: Path, demonstrations: int, seed: int, steps: int) -> dict[str, float]:
    """Returns the success of a clone and the time of its training [s], measured once for each folder `work`."""
    folder = work / f"{task.id.replace('/', '-')}-{demonstrations}-{seed}-{steps}"
    if (known := load_json(folder / "measured.json", dict)) is not None:
        return known
    data = work / f"data-{task.id.replace('/', '-')}-{demonstrations}"
    settings = RecordingSettings(noise=NOISE[task.id.partition("/")[2]])
    record_demonstrations(task, make_expert(task), EpisodeStore(data), demonstrations, settings, threads=1)
    result = clone_policy(
        task,
        load_demonstration_set(data, task),
        folder,
        DiffusionSettings(**CLONE),
        steps,
        BATCH,
        seed=seed,
        evaluate_every=steps,
        evaluate_episodes=1,
    )
    if result.evaluation is None:
        raise SystemExit(f"{folder}: the training was stopped; run the benchmark again to go on")
    found = {"success": result.evaluation.success, "seconds": result.seconds}
    print(f"{folder.name}: success {found['success']:.2f}, {found['seconds']:.0f} s", flush=True)
    write_json(folder / "measured.json", found)
    return found


def measure_tasks(names: list[str], work: Path, quick: bool) -> dict[str, Any]:
    """Returns the keys of this benchmark for some tasks."""
    steps, most = (100, 20) if quick else (UPDATES, DEMONSTRATIONS[-1])
    success: dict[str, float] = {}
    by_number: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for name in names:
        task = make_task(f"panda/{name}")
        found = [measure_clone(task, work, most, seed, steps) for seed in SEEDS[: 1 if quick else None]]
        success[name] = float(np.mean([each["success"] for each in found]))
        seconds[name] = found[-1]["seconds"]
        by_number[name] = {
            str(number): measure_clone(task, work, number, 0, steps)["success"]
            for number in ([most] if quick else DEMONSTRATIONS)
        }
    return {"success": success, "success_by_demonstrations": by_number, "training_seconds": seconds}


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__, work="folder that keeps recordings and runs", tasks=f"of {', '.join(NOISE)}; all")
    names = args.tasks.split(",") if args.tasks else list(NOISE)
    if unknown := [name for name in names if name not in NOISE]:
        raise SystemExit(f"--tasks {','.join(unknown)}: choose from {', '.join(NOISE)}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        values = measure_tasks(names, Path(args.work or temporary), args.quick)
    report(args, values, {f"success.{name}": f">= {TARGETS[name]}" for name in names})


if __name__ == "__main__":
    main()
