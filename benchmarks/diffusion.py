"""Diffusion policies: speed, success by sampling steps, alignment, and DSRL.

`python -m benchmarks.diffusion --json FILE [--quick] [--part NAME] [--work FOLDER] [--minutes N]`

Times are CPU times of one core, the best of several passes, which other processes disturb least.

  speed      `chunk_ms`: a chunk for one observation with the default settings; `samples_per_s`: training samples a
             second of each network, batches of 256 (of 16 for the size of the papers); `openvino_speedup`: the default
             chunk by torch over OpenVINO, one thread, `openvino_speedups` for each network,
  steps      `success_by_steps`: success of a clone of panda/push with 2 to 100 network evaluations per chunk,
  alignment  `preferred_rate_by_labels`: share of the preferred mode on panda/cup, bag and fork by method and number of
             rankings, see `benchmarks.alignment`; measurements that FILE has already are kept, and with `--minutes`
             none begins later than that. `--work` keeps the clones and their filmed episodes.
  dsrl       success on panda/push of a clone of few demonstrations: as it is, with the noise 0 instead of a random one,
             and after SAC on its noise with the expert reward.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks._alignment_cells import CellFile, format_table, plan_cells
from benchmarks.alignment import LABELS, USUAL_METHODS, TableSettings, measure_table
from benchmarks.cloning import CLONE
from benchmarks.output import arguments, report
from robo_reward.data.cloning.demonstrations import load_demonstration_set
from robo_reward.data.cloning.recording import RecordingSettings, make_expert, record_demonstrations
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.gym import resolve_reward
from robo_reward.envs.task import Task, make_task
from robo_reward.policies.diffusion.model import create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.runtime import with_runtime
from robo_reward.policies.diffusion.settings import DiffusionSettings, NetworkName
from robo_reward.policies.diffusion.train import clone_policy
from robo_reward.policies.dsrl.train import train_dsrl
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.seeds import EVALUATION_SEEDS

NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
STEPS = (2, 4, 8, 16, 100)
ALIGNED = ("cup", "bag", "fork")
ALIGNMENT_SEEDS = (0, 1, 2)
ALIGNED_NOISE = 0.04
"""Noise of the demonstrations of tasks with modes."""
TARGETS = {"chunk_ms": "<= 50", "dsrl.after": ">= 0.9"}


def make_policy(task: Task, **settings: Any) -> DiffusionPolicy:
    """Returns a policy with random weights, whose times are those of a trained one."""
    bounds = [MinMax(-torch.ones(n), torch.ones(n)) for n in (task.observation.dim, task.action.dim)]
    return DiffusionPolicy(
        create_model(DiffusionSettings(**settings), *bounds, seed=0), task.observation, task.action, {}
    )


def measure_seconds(call: Callable[[], object], passes: int) -> float:
    """Returns the CPU time of a call [s], the best of several passes after one warm-up pass."""
    call()
    found = []
    for _ in range(passes):
        begun = time.process_time()
        call()
        found.append(time.process_time() - begun)
    return min(found)


def measure_chunk(policy: DiffusionPolicy, passes: int) -> float:
    """Returns the time of a chunk for one observation [s]."""
    observation = np.zeros((1, policy.observation.dim), np.float32)
    noise = np.zeros((1, *policy.noise_shape), np.float32)
    return measure_seconds(lambda: policy.act(observation, noise), passes)


def measure_training(policy: DiffusionPolicy, batch: int, passes: int) -> float:
    """Returns training samples a second: loss, gradient and AdamW."""
    model = policy.model.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    rows, columns = policy.noise_shape
    actions, noise = torch.zeros(batch, rows, columns), torch.randn(batch, rows, columns)
    condition, times = torch.zeros(batch, model.condition_dim), model.objective.sample_time(batch)

    def update() -> None:
        optimiser.zero_grad()
        model.compute_errors(actions, condition, noise, times).mean().backward()
        optimiser.step()

    return batch / measure_seconds(update, passes)


def measure_speed(quick: bool) -> dict[str, Any]:
    """Returns the times of chunks and updates of every network."""
    task, passes = make_task("panda/push"), 3 if quick else 8
    found: dict[str, Any] = {"chunk_ms": 1000 * measure_chunk(make_policy(task), passes)}
    speedups, samples = {}, {}
    for network in NETWORKS:
        policy = make_policy(task, network=network)
        compiled = with_runtime(policy, "openvino")
        speedups[network] = measure_chunk(policy, passes) / measure_chunk(compiled, passes)
        samples[network] = {"cpu": measure_training(policy, 256, passes)}
        if not quick:
            paper = make_policy(task, network=network, size="paper", horizon=16)
            samples[network]["paper"] = measure_training(paper, 16, 2)
    default = DiffusionSettings().network
    return {**found, "openvino_speedup": speedups[default], "openvino_speedups": speedups, "samples_per_s": samples}


def clone(
    task: Task,
    folder: Path,
    demonstrations: int,
    updates: int,
    seed: int = 0,
    noise: float = RecordingSettings.noise,
    **settings: Any,
) -> DiffusionPolicy:
    """Returns a clone of the task's expert, or of the experts of all its modes; it goes on with one in the folder."""
    store = EpisodeStore(folder / "data")
    recording = RecordingSettings(modes=task.modes, noise=noise)
    record_demonstrations(task, make_expert(task), store, demonstrations, recording, threads=1)
    shown = load_demonstration_set(folder / "data", task)
    about = {"data": str(folder / "data")}
    made = clone_policy(
        task,
        shown,
        folder,
        DiffusionSettings(**settings),
        updates,
        seed=seed,
        evaluate_every=updates,
        episodes=1,
        meta=about,
    )
    return made.policy


def measure_steps(quick: bool, work: Path) -> dict[str, Any]:
    """Returns the success of one clone with more and fewer sampling steps, and the time of a chunk."""
    task = make_task("panda/push")
    policy = clone(task, work / "steps", *((20, 200) if quick else (200, 4000)))
    success, times = {}, {}
    for steps in STEPS[:2] if quick else STEPS:
        policy.model.settings = replace(policy.settings, sampling_steps=steps)
        success[str(steps)] = evaluate_policy(task, policy, 20 if quick else 200, EVALUATION_SEEDS, threads=1).success
        times[str(steps)] = 1000 * measure_chunk(policy, 3)
        print(f"{steps} sampling steps: success {success[str(steps)]:.3f}, {times[str(steps)]:.1f} ms", flush=True)
    return {"success_by_steps": success, "chunk_ms_by_steps": times}


def measure_alignment(quick: bool, work: Path, path: Path | None = None, minutes: float = math.inf) -> dict[str, Any]:
    """Returns the preferred mode's rate of each method, task and number of rankings, and the cells of the table.

    Args:
        quick: few updates and episodes, of panda/cup alone.
        work: keeps the clones and their filmed episodes.
        path: JSON file that keeps each cell; None: none.
        minutes: after which no cell begins.
    """
    demonstrations, updates = (20, 100) if quick else (200, 4000)
    settings = TableSettings(12, 10, steps=10) if quick else TableSettings()
    tasks, seeds, labels = (ALIGNED[:1], (0,), (5,)) if quick else (ALIGNED, ALIGNMENT_SEEDS, LABELS)
    cells = list(plan_cells(tasks, seeds, labels, USUAL_METHODS))
    about = {"demonstrations": demonstrations, "updates": updates, "noise": ALIGNED_NOISE, **CLONE}
    found = CellFile(path, {**settings.to_json(), "clone": about})

    def make(name: str, seed: int) -> DiffusionPolicy:
        task, folder = make_task(f"panda/{name}"), work / f"{name}-{seed}"
        return clone(task, folder, demonstrations, updates, seed, ALIGNED_NOISE, **CLONE)

    measure_table(cells, found, settings, make, work, minutes)
    print(format_table(found, cells))
    return found.to_json()


class ZeroNoise:
    """A chunk policy that always starts from the noise 0, the most likely one: the baseline of every actor.

    Args:
        policy: whose noise it is.
    """

    def __init__(self, policy: DiffusionPolicy) -> None:
        self._policy, self.noise_shape, self.observation = policy, policy.noise_shape, policy.observation
        self.history, self.chunk, self.execute = policy.history, policy.chunk, policy.execute

    def act(self, observations: Any, /, noise: np.ndarray) -> np.ndarray:
        """Returns chunks (B, H, A)."""
        return self._policy.act(observations, np.zeros_like(noise))


def measure_dsrl(quick: bool, work: Path) -> dict[str, Any]:
    """Returns the success of a weak clone before and after DSRL, and of the clone without any noise."""
    task = make_task("panda/push")
    policy = clone(task, work / "dsrl", *((10, 50) if quick else (30, 650)))

    def measure(each: Any) -> float:
        return evaluate_policy(task, each, 20 if quick else 200, EVALUATION_SEEDS, threads=1).success

    found = {"before": measure(policy), "zero_noise": measure(ZeroNoise(policy))}
    print(*(f"{name}: success {value:.3f}" for name, value in found.items()), sep="\n", flush=True)
    result = train_dsrl(
        task,
        policy,
        resolve_reward(task, "expert"),
        work / "dsrl" / "run",
        2_000 if quick else 40_000,
        episodes=1,
        report=lambda point: print(f"{point.steps} steps: success {point.success:.3f}", flush=True),
    )
    found |= {"after": measure(result.policy), "steps": result.steps, "seconds": result.seconds}
    return {"dsrl": found}


PARTS = ("speed", "steps", "alignment", "dsrl")


def measure_part(name: str, work: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Returns the numbers of a part."""
    if name == "speed":
        return measure_speed(args.quick)
    if name == "alignment":
        return measure_alignment(args.quick, work, args.json, float(args.minutes or math.inf))
    return (measure_steps if name == "steps" else measure_dsrl)(args.quick, work)


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(
        __doc__,
        part=f"only one part: {', '.join(PARTS)}",
        work="folder that keeps clones and filmed episodes",
        minutes="of the part alignment: no measurement begins after so many",
    )
    if args.part and args.part not in PARTS:
        raise SystemExit(f"--part {args.part}: choose from {', '.join(PARTS)}")
    torch.set_num_threads(1)
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary)
        for name in [args.part] if args.part else PARTS:
            values |= measure_part(name, work, args)
    report(args, values, {row: target for row, target in TARGETS.items() if row.partition(".")[0] in values})


if __name__ == "__main__":
    main()
