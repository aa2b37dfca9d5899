"""The streams of seeds do not meet."""

from robo_reward import seeds


def test_streams_are_a_million_apart() -> None:
    first = [
        seeds.FRESH_TRAINING_SEEDS,
        seeds.VALIDATION_SEEDS,
        seeds.WINNER_SEEDS,
        seeds.FILM_SEEDS,
        seeds.EVALUATION_SEEDS,
    ]
    assert first[0] < 1_000_000
    assert [value // 1_000_000 for value in first] == list(range(5))
    assert all(value % 1_000_000 == 0 for value in first[1:])
