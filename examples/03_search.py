"""From a sentence to a reward program: the offline writer proposes, short trainings decide."""

import robo_reward as rr

run = rr.search(
    "panda/reach",
    goal="Move the hand to the goal.",
    videos=0,
    run="example-search",
    settings={"search.rounds": 1, "search.candidates": 2, "search.steps": 40_000, "search.final_seeds": 1},
)
print(run.result)
print(run.load_reward().canonical)
