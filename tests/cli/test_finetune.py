"""`robo-reward finetune` on a small policy of panda/reach, and input that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo_reward.cli.app import main
from robo_reward.data.episode import EpisodeStore
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.store import Clip, PreferenceStore
from robo_reward.policies.alignment.best_of_n import BestOfNPolicy
from robo_reward.policies.diffusion.networks.build import SIZES
from robo_reward.policies.policy import load_policy
from tests.policies.alignment.shifters import make_episodes, make_policy
from tests.policies.folders import small_policy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy and with a person's answers about four episodes."""
    monkeypatch.setitem(SIZES, ("mlp", "cpu"), {"width": 32, "blocks": 1})
    make_policy().save(tmp_path / "policy")
    store = EpisodeStore(tmp_path / "own")
    names = [store.append(episode, f"e{number}") for number, episode in enumerate(make_episodes(4))]
    (tmp_path / "own" / "labels").mkdir()
    with PreferenceStore(tmp_path / "own" / "labels" / "preferences.db") as answers:
        answers.add_clips([Clip(name, str(tmp_path / "own")) for name in names])
        answers.add(
            Answer(("e0", "e1", "e2"), "ann", (("e0", "e2"), ("e1",))), Answer(("e2", "e3"), "ann", (("e2",), ("e3",)))
        )
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    keys = [f"policy={folder / 'policy'}", f"runs={folder / 'runs'}", "run=a", "episodes=2", "videos=0", "threads=1"]
    return main(["finetune", *keys, *arguments])


def test_answers_align_a_policy_and_the_same_command_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (f"preferences={folder / 'own'}", "method=best_of_n", "steps=4", "settings.batch=4")
    assert run(folder, *arguments) == 0
    said = capsys.readouterr().out
    assert "before: " in said and "after: " in said and "preference accuracy: " in said
    result = json.loads((folder / "runs" / "a" / "result.json").read_text())
    assert result["verb"] == "finetune" and result["method"] == "best_of_n" and result["pairs"] == 4
    assert {"success", "preferred_rate", "preference_accuracy"} <= result["before"].keys() & result["after"].keys()
    assert isinstance(load_policy(folder / "runs" / "a"), BestOfNPolicy)
    page = (folder / "runs" / "a" / "report.html").read_text()
    assert "Before: success" in page and "\nAfter: success" in page and "steps of the fine-tuning" in page
    weights = (folder / "runs" / "a" / "policy" / "value.safetensors").read_bytes()
    assert run(folder, *arguments) == 0  # nothing is left to do
    assert (folder / "runs" / "a" / "policy" / "value.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("method=dop", "preferences=own"), "unknown method 'dop'. Did you mean 'dro' or 'dpo'?"),
        (("method=kto",), "nothing to learn from; give preferences=DIR or reward=RUN"),
        (("preferences=nowhere",), "no preferences at nowhere"),
        (("reward=sparse",), "ranks no episodes; give reward=RUN"),
        (("reward=expert", "settings.betta=2"), "Did you mean 'beta'"),
        (("reward=expert", "settings.rollouts=2"), "expected at least 4 episodes to rank"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    folder: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "runs" / "a" / "before.json").exists()


def test_a_policy_without_noise_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_policy().save(folder / "policy")
    assert run(folder, "reward=expert") == 2
    assert "needs a diffusion or flow policy, this one is MLPPolicy" in capsys.readouterr().err
