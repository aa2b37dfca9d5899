"""Which settings lead to which run folder."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from robo_reward.cli.folder import run_folder
from robo_reward.errors import RoboRewardError


def config(runs: Path, run: str = "", **writer: Any) -> Any:
    settings = {"name": "openai", "model": "m", "budget": 0.0, "timeout": 300, **writer}
    return OmegaConf.create(
        {"task": {"id": "panda/lift"}, "seed": 0, "run": run, "runs": str(runs), "videos": 3, "writer": settings}
    )


def test_a_raised_budget_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    first = run_folder(config(tmp_path, budget=1.0), "search")
    assert run_folder(config(tmp_path, budget=2.0, timeout=900, base_url="http://127.0.0.1:9/v1"), "search") == first
    assert run_folder(config(tmp_path, model="other"), "search") != first


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    run_folder(config(tmp_path, run="mine", budget=1.0), "search")
    run_folder(config(tmp_path, run="mine", budget=2.0), "search")
    with pytest.raises(RoboRewardError, match=r"writer\.model was 'm', now 'other'(?!.*budget)"):
        run_folder(config(tmp_path, run="mine", model="other"), "search")
