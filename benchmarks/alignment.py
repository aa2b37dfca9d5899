"""Rankings until a policy does what a person prefers: `python -m benchmarks.alignment --policy RUN --json FILE`.

A clone of demonstrations in equal parts of two modes runs 100 episodes, which are filmed. A simulated person
ranks three of them at a time: success with the preferred mode before success with the other before failure. From the
first 20, 5, 10, 50 and 100 rankings each method makes a policy, which is measured over 100 fresh episodes:

  rapl_dpo         RAPL learns a reward from the rankings, the reward ranks all filmed episodes, Diffusion-DPO on their
                   pairs,
  human_dpo        Diffusion-DPO on the pairs of the rankings themselves,
  best_of_n        the best of 16 chunks by a value learnt from the pairs of the RAPL reward,
  clone_preferred  cloning of the episodes that win more than they lose in the rankings, starting from the policy,

and, where `--methods` names them, rapl_clone, rapl_kto, rapl_dro and rapl_rwr: other methods on the pairs of the RAPL
reward. `preferred_rate` is the share of the preferred mode among the episodes that used a mode. FILE is written after
each measurement; the same command goes on where it was stopped. With `--work` the filmed episodes are kept as well.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._alignment_cells import BEFORE, Cell, CellFile, format_table, plan_cells
from benchmarks.output import arguments, report
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import build_comparisons
from robo_reward.labelling.people import SimulatedPerson
from robo_reward.labelling.queries import RandomQueries
from robo_reward.policies.alignment import finetune
from robo_reward.policies.alignment.behaviour import Behaviour, find_modes, measure_behaviour
from robo_reward.policies.alignment.finetune_best_of_n import finetune_best_of_n
from robo_reward.policies.alignment.job import FinetuneJob, RankedEpisodes
from robo_reward.policies.alignment.ranked_episodes import (
    ROLLOUT_SEEDS,
    compute_win_shares,
    pair_by_scores,
    roll_out_twice,
)
from robo_reward.policies.alignment.settings import AlignmentSettings
from robo_reward.policies.policy import load_policy
from robo_reward.rewards.preference.align import learn_reward
from robo_reward.vision.choose import choose_encoder

LABELS = (20, 5, 10, 50, 100)
"""Numbers of rankings, in the order in which they are measured."""
ENCODER = {"kind": "colour_slots", "min_chroma": 0.12}
MEASURE_SEED = 5_000_000


@dataclass(frozen=True)
class TableSettings:
    """Everything that decides the numbers of a table but the clones.

    Args:
        episodes: that are filmed and ranked, two from each start; an even number.
        measured: episodes in which each policy is measured.
        size: of the frames [pixels].
        steps: updates of a method; 0: its default.
        changes: of the settings of the methods.
    """

    episodes: int = 100
    measured: int = 100
    size: int = 64
    steps: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns all settings as JSON."""
        own = {name: getattr(self, name) for name in ("episodes", "measured", "size", "steps")}
        return {**own, "changes": dict(self.changes)}


@dataclass(frozen=True, eq=False)
class LabelledPool:
    """Filmed episodes of a policy, and a person who ranks them.

    Args:
        task: of the episodes.
        policy: that made them.
        episodes: N, with frames.
        answers: the person's rankings of three, in order.
        shown: camera and size of the frames.
        demonstrations: that hold the policy.
    """

    task: Task
    policy: Any
    episodes: Sequence[Episode]
    answers: Sequence[Answer]
    shown: FrameSpec
    demonstrations: str

    @property
    def names(self) -> list[str]:
        """The clip of each episode."""
        return [f"clip{number}" for number in range(len(self.episodes))]


def build_pool(
    task: Task, policy: Any, folder: Path, labels: int, seed: int = 0, settings: TableSettings | None = None
) -> LabelledPool:
    """Returns filmed episodes of a policy, which are kept in a folder, and rankings of a simulated person.

    The person prefers success with the first mode to success with another, and this to failure.
    """
    settings = settings or TableSettings()
    shown = FrameSpec((task.cameras[0],), settings.size)
    store = EpisodeStore(folder, frames="exact")
    if len(store) < settings.episodes:
        made = roll_out_twice(task, policy, settings.episodes // 2, ROLLOUT_SEEDS + 100_000 * seed, shown, threads=1)
        known = set(store.keys())
        for number, episode in enumerate(made):
            if f"{number:06d}" not in known:
                store.append(episode, f"{number:06d}")
    found = [store.load(f"{number:06d}") for number in range(settings.episodes)]
    success = np.array([episode.is_successful for episode in found])
    values = np.where(success, np.where(find_modes(task, found) == 0, 2.0, 1.0), 0.0)
    names = [f"clip{number}" for number in range(len(found))]
    person = SimulatedPerson({name: np.array([value]) for name, value in zip(names, values, strict=True)})
    queries = RandomQueries(names, 3, seed, 0.0).next_queries(person.name, (), labels)
    demonstrations = str(policy.meta.get("data", ""))
    return LabelledPool(task, policy, found, [person(query) for query in queries], shown, demonstrations)


def rank_by_answers(pool: LabelledPool, labels: int, seed: int = 0) -> RankedEpisodes:
    """Returns the pairs of the first rankings themselves; the seed is not used."""
    pairs = build_comparisons(pool.answers[:labels], {name: i for i, name in enumerate(pool.names)})
    return RankedEpisodes(pool.episodes, pairs, compute_win_shares(pairs, len(pool.episodes)))


def rank_by_rapl(pool: LabelledPool, labels: int, seed: int = 0, share: float | None = None) -> RankedEpisodes:
    """Returns all episodes, ranked by a RAPL reward that has learnt from the first rankings alone."""
    answers = pool.answers[:labels]
    wanted = {clip for answer in answers for clip in answer.clips}
    both = zip(pool.names, pool.episodes, strict=True)
    frames = {name: episode.frames for name, episode in both if name in wanted and episode.frames is not None}
    encoder = choose_encoder(ENCODER, list(frames.values()), seed, len(pool.shown.cameras))
    reward = learn_reward(frames, answers, encoder, pool.shown, "rapl", {}, 0.0, seed).reward
    outputs = reward.batch(pool.episodes)
    scores = np.array([output.total.mean() for output in outputs])
    ranked = [replace(episode, reward=output) for episode, output in zip(pool.episodes, outputs, strict=True)]
    return RankedEpisodes(ranked, pair_by_scores(scores, share or AlignmentSettings().share), scores)


METHODS: dict[str, tuple[str, Callable[[LabelledPool, int, int], RankedEpisodes]]] = {
    "rapl_dpo": ("dpo", rank_by_rapl),
    "human_dpo": ("dpo", rank_by_answers),
    "best_of_n": ("best_of_n", rank_by_rapl),
    "clone_preferred": ("clone", rank_by_answers),
    "rapl_clone": ("clone", rank_by_rapl),
    "rapl_kto": ("kto", rank_by_rapl),
    "rapl_dro": ("dro", rank_by_rapl),
    "rapl_rwr": ("rwr", rank_by_rapl),
}
"""Name in the table -> method of `finetune`, and how the rankings become pairs."""
USUAL_METHODS = ("rapl_dpo", "human_dpo", "best_of_n", "clone_preferred")


def align_policy(pool: LabelledPool, ranked: RankedEpisodes, method: str, seed: int, settings: TableSettings) -> Any:
    """Returns the outcome of a method of `robo-reward finetune` on ranked episodes."""
    function = finetune_best_of_n if method == "best_of_n" else getattr(finetune, f"finetune_{method}")
    with tempfile.TemporaryDirectory() as folder:
        job = FinetuneJob(
            task=pool.task,
            policy=pool.policy,
            folder=Path(folder),
            ranked=ranked,
            data=pool.demonstrations,
            steps=settings.steps,
            seed=seed,
            settings=settings.changes,
        )
        return function(job)


class PreferenceBench:
    """Measures the cells of one task and seed; what several cells share is made once.

    Args:
        task: of the cells.
        policy: the clone that is aligned.
        seed: of the rollouts, the rankings, the methods, and the measured episodes.
        labels: the largest number of rankings.
        work: folder that keeps the filmed episodes.
        settings: of the table.
    """

    def __init__(self, task: Task, policy: Any, seed: int, labels: int, work: Path, settings: TableSettings) -> None:
        self.task, self.policy, self.seed, self.settings = task, policy, seed, settings
        self.fingerprint = fingerprint_policy(policy)
        name = task.id.replace("/", "-")
        self._folder, self._labels = work / f"episodes-{name}-{seed}-{self.fingerprint}", labels
        self._pool: LabelledPool | None = None
        self._ranked: dict[tuple[Any, int], RankedEpisodes] = {}

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Returns the behaviour of the cell's policy, as JSON, and what its method tells."""
        if cell.method == BEFORE:
            return {**self._measure(self.policy), "policy": self.fingerprint}
        if self._pool is None:
            self._pool = build_pool(self.task, self.policy, self._folder, self._labels, self.seed, self.settings)
        method, rank = METHODS[cell.method]
        key = (rank, cell.labels)
        if key not in self._ranked:
            self._ranked[key] = rank(self._pool, cell.labels, self.seed)
        outcome = align_policy(self._pool, self._ranked[key], method, self.seed, self.settings)
        return {**outcome.after, **self._measure(outcome.policy), "policy": self.fingerprint}

    def _measure(self, policy: Any) -> dict[str, Any]:
        first = MEASURE_SEED + 1000 * self.seed
        return measure_behaviour(self.task, policy, self.settings.measured, first, threads=1).to_json()


def fingerprint_policy(policy: Any) -> str:
    """Returns a short hash of a policy's files."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        saved = replace(policy, meta={}) if hasattr(policy, "meta") else policy
        for path in sorted(saved.save(Path(folder)).rglob("*.*")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def measure_table(
    cells: Sequence[Cell],
    found: CellFile,
    settings: TableSettings,
    make_policy: Callable[[str, int], Any],
    work: Path,
    minutes: float = float("inf"),
    tell: Callable[[str], None] = lambda line: print(line, flush=True),
) -> None:
    """Measures the cells that a file does not have yet.

    Args:
        cells: in order.
        found: gets the numbers of each.
        settings: of the table.
        make_policy: returns the clone of a task, such as `cup`, and a seed; called when a cell needs it.
        work: folder that keeps the filmed episodes.
        minutes: after which no cell begins.
        tell: called with a line after each measurement.

    Raises:
        UsageError: the file has a cell of this task and seed that another clone was measured in.
    """
    begun, benches = time.monotonic(), dict[tuple[str, int], PreferenceBench]()
    most = max(cell.labels for cell in cells)
    for cell in (cell for cell in cells if cell not in found):
        if time.monotonic() - begun > 60 * minutes:
            return
        key = (cell.task, cell.seed)
        if key not in benches:
            task = make_task(f"panda/{cell.task}")
            benches[key] = PreferenceBench(task, make_policy(*key), cell.seed, most, work, settings)
        bench = benches[key]
        for known, row in found.cells.items():
            if (known.task, known.seed) == key and row["policy"] != bench.fingerprint:
                raise UsageError(f"the cell {known} is that of another clone. Give another --json FILE")
        values = bench.measure(cell)
        found.add(cell, values)
        tell(f"{cell}: {Behaviour.from_json(values)}")


def find_methods(names: str) -> tuple[str, ...]:
    """Returns the methods that a list with commas names, the usual ones for an empty one.

    Raises:
        UnknownName: no such method.
    """
    found = tuple(names.split(",")) if names else USUAL_METHODS
    for name in found:
        if name not in METHODS:
            raise UnknownName("method", name, METHODS)
    return found


def main(argv: list[str] | None = None) -> None:
    """Measures and prints the table."""
    args = arguments(
        __doc__,
        argv,
        policy="folder of a clone of both modes",
        task="cup, bag or fork",
        seeds="such as 0,1,2: of the rollouts, the person and the methods; 0 if left out",
        labels="numbers of rankings, in the order in which they are measured; 20,5,10,50,100 if left out",
        methods="rows of the table; the first four if left out",
        minutes="no measurement begins after so many",
        work="folder that keeps the filmed episodes",
    )
    torch.set_num_threads(1)
    numbers = lambda text: tuple(int(part) for part in text.split(",") if part)  # noqa: E731
    settings = TableSettings(12, 10, steps=10) if args.quick else TableSettings()
    labels = numbers(args.labels) or ((5,) if args.quick else LABELS)
    task, methods = (
        args.task.removeprefix("panda/") or "cup",
        args.methods.split(",") if args.methods else USUAL_METHODS,
    )
    cells = list(plan_cells([task], numbers(args.seeds) or (0,), labels, methods))
    found = CellFile(args.json, settings.to_json())
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(args.work or temporary)
        policy = load_policy(args.policy)
        measure_table(cells, found, settings, lambda task, seed: policy, work, float(args.minutes or "inf"))
    print(format_table(found, cells))
    report(args, found.to_json())


if __name__ == "__main__":
    main()
