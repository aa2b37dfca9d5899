"""A simulated person compares 40 clips; the answers go into the store from which `align` learns a reward."""

import numpy as np

from robo_reward.labelling.people import make_teacher
from robo_reward.labelling.queries import RandomQueries, collect_answers
from robo_reward.labelling.store import PreferenceStore

rng = np.random.default_rng(0)
rewards = {f"clip-{i}": rng.normal(i / 40, 0.3, 20) for i in range(40)}  # the truth, step by step
with PreferenceStore("answers.db") as store:
    collect_answers(
        make_teacher("noisy", rewards, seed=1, beta=2.0), RandomQueries(list(rewards), k=2), store, count=60
    )
    answers = store.load_answers()
print(f"{len(answers)} answers, the first: {answers[0].clips} {answers[0].ranking}")
print("from real clips: rr.align('CLIPS', method='bt'), after `robo-reward label CLIPS`")
