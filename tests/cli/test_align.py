"""From clips to answers, a reward, its check and a policy, as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import compose_config, main
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import make_task
from robo_reward.labelling.people import make_teacher
from robo_reward.labelling.queries import collect_answers, make_queries
from robo_reward.labelling.store import FILE, Clip, PreferenceStore
from robo_reward.language.language import compile_program

TASK = "panda/push"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of clips from good to bad, and a simulated person's answers where `robo-reward label` keeps them."""
    folder = tmp_path_factory.mktemp("clips")
    task, store = make_task(TASK), EpisodeStore(folder, frames="exact")
    truth = compile_program(task.expert_reward, task.spec, task.action.dim)
    rng, rewards = np.random.default_rng(0), {}
    for share in (0.0, 0.4, 0.8, 1.0):

        def act(state: State, share: float = share) -> np.ndarray:
            return share * task.expert(state) + (1 - share) * rng.uniform(-1, 1, (len(state), task.action.dim))

        for episode in collect_episodes(task, act, 5, int(10 * share), FrameSpec(("front",), 48)):
            rewards[store.append(episode)] = truth(episode.to_transitions()).total
    (folder / "labels").mkdir()
    with PreferenceStore(folder / "labels" / FILE) as preferences:
        preferences.add_clips(Clip(key, str(folder), {}) for key in rewards)
        collect_answers(make_teacher("oracle", rewards), make_queries("random", list(rewards), 3, 0), preferences, 60)
    return folder


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_answers_become_a_reward_that_trains_a_policy(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = f"runs={tmp_path}"
    for method in ("rapl", "bt"):
        code = run(
            "align", f"preferences={labelled}", f"method={method}", "size=48", "holdout=0.34", runs, f"run={method}"
        )
        assert code == 0
        result = json.loads((tmp_path / method / "result.json").read_text())
        assert result["cameras"] == ["front"] and result["counts"]["answers"] == 60
        assert result["pair_accuracy_held_out"] > 0.75
        low, high = result["pair_accuracy_held_out_interval"]
        assert low < result["pair_accuracy_held_out"] < high and result["folds"] == 3
        assert "with 3 rewards trained without them: 0." in capsys.readouterr().out

        assert run("check", str(tmp_path / method)) == 0
        checked = json.loads((tmp_path / method / "check.json").read_text())
        assert checked["pair_accuracy_held_out"] == pytest.approx(result["pair_accuracy_held_out"])
        assert checked["pair_accuracy_learnt"] == pytest.approx(result["pair_accuracy_train"])
        assert checked["pair_accuracy_new_answers_new_clips"] is None
        assert checked["spearman_with_peoples_order_learnt_clips"] > 0.6
        assert -1 <= checked["spearman_with_expert_reward_in_clips"] <= 1

    quick = ["steps=240", "episodes=2", "videos=0", "policy.params.worlds=2", "policy.params.batch_size=60"]
    for policy in ("ppo", "sac"):
        extra = [] if policy == "ppo" else ["policy.params.learning_starts=100", "policy.params.gradient_steps=1"]
        where = [f"reward={tmp_path / 'rapl'}", f"policy={policy}", runs, f"run=train-{policy}"]
        assert run("train", f"task={TASK}", *where, *quick, *extra) == 0
        assert "nothing in common" not in capsys.readouterr().out
        trained = json.loads((tmp_path / f"train-{policy}" / "result.json").read_text())
        assert trained["steps"] == 240 and "matching" in trained["points"][-1]["terms"]


def test_any_encoder_that_is_listed_can_be_chosen(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["align", f"preferences={labelled}", "encoder=pixels", "encoder.size=12", "size=48", "method=bt"]
    assert run(*words, "settings.steps=20", f"runs={tmp_path}", "run=pixels") == 0
    said = capsys.readouterr().out
    for what in ("best", "worst"):  # a person finds an episode by its number, not by its hash
        assert re.search(rf"{what} clip: episode \d+ of {re.escape(str(labelled))}, score ", said)
    assert compose_config("align", ["preferences=x"]).encoder.min_chroma == 0.12
    assert compose_config("discover", ["demos=x", "encoder=colour_slots"]).encoder.min_chroma == 0.0
    assert compose_config("align", ["preferences=x", "encoder.min_chroma=0.3"]).encoder.min_chroma == 0.3


def test_one_persons_answers_alone(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("align", f"preferences={labelled}", "annotator=oracl", "size=48", f"runs={tmp_path}") == 2
    assert "oracle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["align", "preferences=nowhere"], "robo-reward label"),
        (["align", "preferences={folder}", "method=rapll"], "Did you mean 'rapl'"),
        (["align", "preferences={folder}", "settings.stesp=3", "size=48"], "steps"),
        (["align", "preferences={folder}", "encoder=colourslots"], "colour_slots"),
        (["check", "{folder}"], "not a run of `robo-reward align`"),
    ],
)
def test_mistakes_name_the_remedy(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    arguments = [argument.format(folder=labelled) for argument in arguments]
    runs = [] if arguments[0] == "check" else [f"runs={tmp_path}"]
    assert run(*arguments, *runs) == 2
    assert said in capsys.readouterr().err


def test_a_store_without_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PreferenceStore(tmp_path / FILE).close()
    assert run("align", f"preferences={tmp_path}", f"runs={tmp_path}") == 2
    assert "no answers yet" in capsys.readouterr().err


def test_labels_added_later_are_new_and_never_learnt(labelled: Path, tmp_path: Path) -> None:
    """`check` goes by what the run says it has learnt, whatever the store holds by then."""
    store = tmp_path / "store"
    with PreferenceStore(labelled / "labels" / FILE) as old:
        clips, answers = list(old.load_clips().values()), old.load_answers()
    few = {clip.id for clip in clips[::2]}
    first = [a for a in answers if set(a.clips) <= few]
    store.mkdir()
    with PreferenceStore(store / FILE) as preferences:
        preferences.add_clips(clips)
        for answer in first:
            preferences.add(answer)
    settings = ["settings.steps=30", "settings.members=1", "size=48", "holdout=0"]
    where = [f"preferences={store}", f"runs={tmp_path}", "run=it"]
    assert run("align", "method=bt", *settings, *where) == 0
    result = json.loads((tmp_path / "it" / "result.json").read_text())
    assert set(result["answers"]["learnt"]) == {a.uuid for a in first}
    assert result["pair_accuracy_held_out"] is None and set(result["clips"]) <= few

    def checked(*words: str) -> dict:
        assert run("check", str(tmp_path / "it"), *words) == 0
        return json.loads((tmp_path / "it" / "check.json").read_text())

    before = checked()
    assert before["pair_accuracy_new_answers_learnt_clips"] is before["pair_accuracy_new_answers_new_clips"] is None
    with PreferenceStore(store / FILE) as preferences:
        for answer in answers:
            if answer not in first:
                preferences.add(answer)
    after = checked()
    assert (
        after["pair_accuracy_learnt"] == before["pair_accuracy_learnt"] == pytest.approx(result["pair_accuracy_train"])
    )
    low, high = after["pair_accuracy_new_answers_new_clips_interval"]
    assert low < after["pair_accuracy_new_answers_new_clips"] < high
    with PreferenceStore(tmp_path / "other.db") as preferences:
        preferences.add_clips(clips)
        for answer in answers:
            if not few & set(answer.clips):
                preferences.add(answer)
    other = checked(f"preferences={tmp_path / 'other.db'}")
    assert other["pair_accuracy_learnt"] is None and other["spearman_with_peoples_order_learnt_clips"] is None


def test_all_counts_as_learnt_where_a_run_does_not_say(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["settings.steps=5", "settings.members=1", "size=48", "holdout=0", f"runs={tmp_path}", "run=it"]
    assert run("align", f"preferences={labelled}", "method=bt", *words) == 0
    path = tmp_path / "it" / "result.json"
    old = json.loads(path.read_text())
    del old["answers"]
    path.write_text(json.dumps(old))
    assert run("check", str(tmp_path / "it"), f"preferences={labelled}") == 1
    assert "all count as training answers" in capsys.readouterr().err
    assert run("check", str(tmp_path / "it")) == 0
    assert "no answers are reported as held out" in capsys.readouterr().out
    found = json.loads((tmp_path / "it" / "check.json").read_text())
    assert found["pair_accuracy_learnt"] is not None
    assert found["pair_accuracy_held_out"] is found["pair_accuracy_new_answers_new_clips"] is None
