"""Rankings until a policy does what a person prefers: `python -m benchmarks.alignment --policy RUN --json FILE`.

A clone of demonstrations in equal parts of two modes runs `EPISODES` episodes, which are filmed. A simulated person
ranks three of them at a time: success with the preferred mode before success with the other before failure. From the
first 5, 10, 20 and 50 rankings each method makes a policy, which is measured over `MEASURED` fresh episodes:

  rapl_dpo         RAPL learns a reward from the rankings, the reward ranks all filmed episodes, Diffusion-DPO on pairs
                   of the best and the worst,
  human_dpo        Diffusion-DPO on the pairs of the rankings themselves,
  best_of_n        the best of 16 chunks by a value learnt from the pairs of the RAPL reward,
  clone_preferred  cloning of the episodes that win more than they lose in the rankings, starting from the policy,
  rapl_clone       cloning of the better half by the RAPL reward.

`preferred_rate` is the share of the preferred mode among the episodes that used a mode.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import arguments, report
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import build_comparisons
from robo_reward.labelling.people import SimulatedPerson
from robo_reward.labelling.queries import RandomQueries
from robo_reward.policies.alignment import finetune
from robo_reward.policies.alignment.behaviour import Behaviour, find_modes, measure_behaviour, roll_out
from robo_reward.policies.alignment.finetune_best_of_n import finetune_best_of_n
from robo_reward.policies.alignment.job import FinetuneJob, RankedEpisodes
from robo_reward.policies.alignment.ranked_episodes import compute_win_shares, pair_by_scores
from robo_reward.policies.policy import load_policy
from robo_reward.rewards.preference.align import learn_reward
from robo_reward.vision.choose import choose_encoder

EPISODES, MEASURED = 100, 100
LABELS = (5, 10, 20, 50)
SHARE = 0.5
ENCODER = {"kind": "colour_slots", "min_chroma": 0.12}
ROLLOUT_SEED, QUERY_SEED, MEASURE_SEED = 500, 0, 5_000_000


@dataclass(frozen=True, eq=False)
class LabelledPool:
    """Filmed episodes of a policy, and a person who ranks them.

    Args:
        task: of the episodes.
        policy: that made them.
        episodes: N, with frames.
        values: (N,) 2 for success in the preferred mode, 1 for success in another, 0 for failure.
        answers: the person's rankings of three, in order.
        shown: camera and size of the frames.
        demonstrations: that hold the policy.
    """

    task: Task
    policy: Any
    episodes: Sequence[Episode]
    values: np.ndarray
    answers: Sequence[Answer]
    shown: FrameSpec
    demonstrations: str

    @property
    def names(self) -> list[str]:
        """The clip of each episode."""
        return [f"clip{number}" for number in range(len(self.episodes))]


def build_pool(
    task: Task, policy: Any, demonstrations: str, labels: int, seed: int = 0, episodes: int = EPISODES, size: int = 112
) -> LabelledPool:
    """Returns filmed episodes of a policy, and rankings of a simulated person."""
    shown = FrameSpec((task.cameras[0],), size)
    found = roll_out(task, policy, episodes, ROLLOUT_SEED + 10_000 * seed, shown, threads=1)
    success = np.array([episode.is_successful for episode in found])
    values = np.where(success, np.where(find_modes(task, found) == 0, 2.0, 1.0), 0.0)
    names = [f"clip{number}" for number in range(episodes)]
    person = SimulatedPerson({name: np.array([value]) for name, value in zip(names, values, strict=True)})
    queries = RandomQueries(names, 3, QUERY_SEED + seed, 0.0).next_queries(person.name, (), labels)
    return LabelledPool(task, policy, found, values, [person(query) for query in queries], shown, demonstrations)


def rank_by_answers(pool: LabelledPool, labels: int) -> RankedEpisodes:
    """Returns the pairs of the first rankings themselves."""
    pairs = build_comparisons(pool.answers[:labels], {name: i for i, name in enumerate(pool.names)})
    return RankedEpisodes(pool.episodes, pairs, compute_win_shares(pairs, len(pool.episodes)))


def rank_by_rapl(pool: LabelledPool, labels: int, seed: int = 0, share: float = SHARE) -> RankedEpisodes:
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
    return RankedEpisodes(ranked, pair_by_scores(scores, share), scores)


def align_policy(pool: LabelledPool, ranked: RankedEpisodes, method: str, seed: int = 0, **settings: Any) -> Any:
    """Returns the policy that a method of `robo-reward finetune` makes from ranked episodes."""
    steps = settings.pop("steps", 0)
    function = finetune_best_of_n if method == "best_of_n" else getattr(finetune, f"finetune_{method}")
    with tempfile.TemporaryDirectory() as folder:
        job = FinetuneJob(
            task=pool.task,
            policy=pool.policy,
            folder=Path(folder),
            ranked=ranked,
            data=pool.demonstrations,
            steps=steps,
            seed=seed,
            settings=settings,
        )
        return function(job)


METHODS: dict[str, tuple[str, Callable[..., RankedEpisodes]]] = {
    "rapl_dpo": ("dpo", rank_by_rapl),
    "human_dpo": ("dpo", lambda pool, labels, seed: rank_by_answers(pool, labels)),
    "best_of_n": ("best_of_n", rank_by_rapl),
    "clone_preferred": ("clone", lambda pool, labels, seed: rank_by_answers(pool, labels)),
    "rapl_clone": ("clone", rank_by_rapl),
}
"""Name in the table -> method of `finetune`, and how the rankings become pairs."""


def measure_preferred_rates(
    task_id: str,
    policy: Path | str,
    labels: Sequence[int] = LABELS,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
    episodes: int = EPISODES,
    measured: int = MEASURED,
    tell: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> dict[str, Any]:
    """Returns `{"before": behaviour, method: {labels: behaviour}}`, see the module; behaviours are JSON.

    Args:
        task_id: such as `panda/cup`.
        policy: folder of a clone of both modes; its `meta` names the demonstrations.
        labels: numbers of rankings.
        methods: names of `METHODS`.
        seed: of the rankings and the methods.
        episodes: that are filmed and ranked.
        measured: episodes in which each policy is measured.
        tell: called with a line after each measurement.
        settings: of the methods, and `steps`.
    """
    task, base = make_task(task_id), load_policy(policy)
    pool = build_pool(task, base, str(base.meta.get("data", "")), max(labels), seed, episodes)
    found: dict[str, Any] = {"before": _measure(task, base, measured, seed)}
    tell(f"before: {Behaviour.from_json(found['before'])}")
    known: dict[tuple[Any, int], RankedEpisodes] = {}
    for count in labels:
        for name in methods:
            method, rank = METHODS[name]
            key = (rank, count)
            known[key] = known[key] if key in known else rank(pool, count, seed)
            outcome = align_policy(pool, known[key], method, seed, **settings)
            after = _measure(task, outcome.policy, measured, seed)
            found.setdefault(name, {})[str(count)] = {**after, **outcome.after}
            tell(f"{name} {count}: {Behaviour.from_json(after)}")
    return found


def _measure(task: Task, policy: Any, episodes: int, seed: int) -> dict[str, Any]:
    return measure_behaviour(task, policy, episodes, MEASURE_SEED + 1000 * seed, threads=1).to_json()


def main(argv: list[str] | None = None) -> None:
    """Measures and prints the table."""
    args = arguments(__doc__, argv, policy="folder of a clone of both modes", task="such as panda/cup")
    labels = (5,) if args.quick else LABELS
    found = measure_preferred_rates(args.task or "panda/cup", args.policy, labels, tell=print)
    report(args, {k: v for k, v in found.items() if k != "before"})


if __name__ == "__main__":
    main()
