"""Streams of seeds for initial states: a policy is never measured on the states that it was trained or chosen on.

The seed of `BatchSim` decides the initial states and, where the task draws them, the physics. A run with the seed s
takes the s-th seed of each stream, counted from its first. The streams are disjoint for seeds below a million.

| first seed | used by |
|---|---|
| 0 | training |
| `FRESH_TRAINING_SEEDS` | the trainings of a search's winner with new seeds |
| `VALIDATION_SEEDS` | the evaluation at the end of a training, by which a search ranks and chooses |
| `WINNER_SEEDS` | the evaluation of the policy that a search has chosen |
| `FILM_SEEDS` | films |
| `EVALUATION_SEEDS` | `robo-reward evaluate`, `robo-reward compare` and `evaluate_policy` |
"""

FRESH_TRAINING_SEEDS = 100
VALIDATION_SEEDS = 1_000_000
WINNER_SEEDS = 2_000_000
FILM_SEEDS = 3_000_000
EVALUATION_SEEDS = 4_000_000
