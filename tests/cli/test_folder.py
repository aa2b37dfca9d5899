"""Which settings lead to which run folder."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from robo_reward.cli.folder import RunBusy, lock_run, open_run, prepare_run_folder
from robo_reward.errors import BadArtifact, RoboRewardError
from tests.house.source import modules


def config(runs: Path, run: str = "", **writer: Any) -> Any:
    settings = {"name": "openai", "model": "m", "budget": 0.0, "timeout": 300, **writer}
    return OmegaConf.create(
        {"task": {"id": "panda/lift"}, "seed": 0, "run": run, "runs": str(runs), "videos": 3, "writer": settings}
    )


def test_a_raised_budget_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    first = prepare_run_folder(config(tmp_path, budget=1.0), "search")
    assert (
        prepare_run_folder(config(tmp_path, budget=2.0, timeout=900, base_url="http://127.0.0.1:9/v1"), "search")
        == first
    )
    assert prepare_run_folder(config(tmp_path, model="other"), "search") != first


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    prepare_run_folder(config(tmp_path, run="mine", budget=1.0), "search")
    prepare_run_folder(config(tmp_path, run="mine", budget=2.0), "search")
    with pytest.raises(RoboRewardError, match=r"writer\.model was 'm', now 'other'(?!.*budget)"):
        prepare_run_folder(config(tmp_path, run="mine", model="other"), "search")


def test_a_lock_that_is_a_link_empties_no_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(BadArtifact, match="lock"), lock_run(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_no_file_is_named_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    with pytest.raises(BadArtifact, match=r"lock.*Delete it"), lock_run(tmp_path):
        pass


def test_a_run_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("what an earlier version wrote")
    with lock_run(tmp_path), pytest.raises(RunBusy, match="another process"), lock_run(tmp_path):
        pass
    with lock_run(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == "what an earlier version wrote"


def test_an_open_run_is_held_and_has_settings_and_provenance(tmp_path: Path) -> None:
    arguments = ["train", "task=panda/lift", "writer.api_key=sk-TOPSECRET"]
    with open_run(config(tmp_path, run="mine"), arguments, "train") as run:
        assert run.path == tmp_path / "mine"
        settings = (run.path / "config.yaml").read_bytes()
        other = config(tmp_path, run="mine", timeout=7)
        with pytest.raises(RunBusy), open_run(other, [], "train"):
            pass
        assert (run.path / "config.yaml").read_bytes() == settings
        run.save("result.json", {"success": 0.5})
        assert sorted(os.listdir(run.path)) == ["config.yaml", "lock", "provenance.json", "result.json"]
        provenance = json.loads((run.path / "provenance.json").read_text())
        assert provenance["command"].startswith("robo-reward train task=panda/lift")
        assert "sk-TOPSECRET" not in provenance["command"]
        assert {"created", "versions", "git", "machine"} <= provenance.keys()
        run.save_provenance(robot="fr3")
        assert json.loads((run.path / "provenance.json").read_text())["robot"] == "fr3"


def test_a_run_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), open_run(config(tmp_path, run="mine"), ["train"], "train"):
        raise ValueError("broken")
    with open_run(config(tmp_path, run="mine"), ["train"], "train"):
        pass


def test_the_provenance_is_of_the_last_start_or_of_the_first(tmp_path: Path) -> None:
    def read_command(*arguments: str, keep: bool) -> str:
        with open_run(config(tmp_path, run="mine"), arguments, "train", keep_provenance=keep) as run:
            return json.loads((run.path / "provenance.json").read_text())["command"]

    assert read_command("train", "seed=0", keep=True) == "robo-reward train seed=0"
    assert read_command("train", "videos=1", keep=True) == "robo-reward train seed=0"
    assert read_command("train", "videos=1", keep=False) == "robo-reward train videos=1"


def test_the_command_of_a_run_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    sentence = 'goal=Don\'t drop it (10 cm); lift, $HOME & `x` "y" *'
    arguments = ["search", "task=panda/lift", sentence, "success=norm(a - b) < 0.1 and c > 2", "runs=a b"]
    with open_run(config(tmp_path, run="mine"), arguments, "search") as run:
        command = json.loads((run.path / "provenance.json").read_text())["command"]
    script = command.replace("robo-reward", r"printf '%s\n'", 1)
    assert subprocess.check_output(["sh", "-c", script], text=True).splitlines() == arguments


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"a: ${oc.env:HOME", b"[" * 100_000, None])
def test_damaged_settings_of_a_run_are_named(tmp_path: Path, content: bytes | None) -> None:
    folder = prepare_run_folder(config(tmp_path, run="mine"), "search")
    (folder / "config.yaml").unlink()
    (folder / "config.yaml").mkdir() if content is None else (folder / "config.yaml").write_bytes(content)
    with pytest.raises(RoboRewardError, match=r"config\.yaml|other settings"):
        prepare_run_folder(config(tmp_path, run="mine"), "search")


def test_the_settings_of_a_run_are_not_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "sk-TOPSECRET")
    folder = prepare_run_folder(config(tmp_path, run="mine"), "search")
    (folder / "config.yaml").write_text("seed: ${oc.env:MY_SECRET}\n")
    with pytest.raises(RoboRewardError, match=r"oc\.env") as caught:
        prepare_run_folder(config(tmp_path, run="mine"), "search")
    assert "sk-TOPSECRET" not in str(caught.value)


def test_nobody_reads_the_settings_of_a_folder_with_omegaconf() -> None:
    """`OmegaConf.load` can read our environment variables for a stranger's file; `files.load_yaml` does not."""
    wrong = [name for name, path in modules().items() if "OmegaConf.load(" in path.read_text()]
    assert not wrong
