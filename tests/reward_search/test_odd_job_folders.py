"""One odd job folder never ends a search: it becomes a failed candidate or is made again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.jobs.failures import JobFailed, JobTimedOut
from robo_reward.jobs.job import Job
from robo_reward.jobs.runner import run_job
from robo_reward.policies.policy import MLPPolicy
from robo_reward.reward_search.candidate import Candidate
from robo_reward.reward_search.eureka import Eureka
from robo_reward.reward_search.job_validation import check_outcome, require_usable_job
from robo_reward.reward_search.settings import SearchSettings
from robo_reward.reward_search.successive_halving import CandidateTrainer, run_successive_halving, train_with_new_seeds
from tests.policies.folders import small_policy
from tests.reward_search.test_search import GOOD, Scripted
from tests.tampering import JSON, places, put

POINT = {"steps": 10, "success": 0.5, "episode_return": 1.0, "terms": {"reach": 0.1}, "seconds": 1.0}
EVALUATION = {"episodes": 4, "successes": 2, "success": 0.5, "low": 0.1, "high": 0.9, "held": 0.2, "mean_return": None}
RESULT = {"task": "t", "steps": 10, "seconds": 1.0, "stopped": False, "points": [POINT], "evaluation": EVALUATION}
ONE_RUNG = SearchSettings(steps=10, rungs=(1.0,), final_seeds=2)
REWARD = {"kind": "program", "source": "# a program"}


@pytest.fixture(scope="module")
def policy() -> MLPPolicy:
    return small_policy()


@pytest.fixture(scope="module")
def finished(policy: MLPPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search whose jobs are all done."""
    folder = tmp_path_factory.mktemp("finished")
    compete(folder, Executor(policy))
    return folder


class Executor:
    """Finishes each job at once: with the result that stands in its folder, else with that of `results`."""

    def __init__(self, policy: MLPPolicy, results: dict[str, Any] | None = None) -> None:
        self.policy, self.results, self.ran = policy, results or {}, list[str]()
        self.timeouts: list[float | None] = []

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.shutdown()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass

    def submit_job(self, folder: Path | str, **options: Any) -> Future[dict[str, Any]]:
        folder, future = Path(folder), Future[dict[str, Any]]()
        self.timeouts.append(options["timeout"])
        found = Job(folder).load_result()
        if found is None:
            self.ran.append(folder.name)
            self.policy.save(folder / "policy")
            found = next((r for key, r in self.results.items() if folder.name.startswith(key)), RESULT)
            if isinstance(found, Exception):
                future.set_exception(found)
                return future
            (folder / "result.json").write_text(json.dumps(found))
        future.set_result(found)
        return future


def compete(folder: Path, executor: Executor) -> list[Candidate]:
    track = CandidateTrainer(executor, folder / "jobs", "t", {}, ONE_RUNG, lambda candidate, event: None)
    candidates = [Candidate(f"1.{i}", 0, i, status="training") for i in (1, 2)]
    run_successive_halving(track, candidates, {c.id: REWARD for c in candidates})
    train_with_new_seeds(track, candidates[0], REWARD)
    return candidates


def test_the_policy_is_of_the_winners_own_job(tmp_path: Path, policy: MLPPolicy) -> None:
    """Another folder whose name begins in the same way, as other settings leave it, is not taken for it."""
    (tmp_path / "jobs" / "1.1-rung1-00000000").mkdir(parents=True)
    once = replace(ONE_RUNG, candidates=1, rounds=1, least_rounds=1, final_seeds=0)
    writer = Scripted([[GOOD.format(gain=5.0)]])
    outcome = Eureka(make_task("panda/reach"), "", writer, Executor(policy), tmp_path, once).run()
    assert outcome.policy is not None
    assert (outcome.policy / "policy.json").is_file()


WRONG = [
    {},
    {"steps": 10},
    {**RESULT, "evaluation": None},
    {**RESULT, "steps": "x"},
    {**RESULT, "points": "abc"},
    {**RESULT, "points": [{"steps": 1, "success": 0.5}]},
    {**RESULT, "points": [POINT, {**POINT, "terms": {}}]},
    *({**RESULT, "evaluation": {**EVALUATION, "success": value}} for value in ("1.0", None, 5.0, [], float("nan"))),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_result_of_another_form_fails_its_candidate_alone(tmp_path: Path, policy: MLPPolicy, wrong: Any) -> None:
    good, bad = compete(tmp_path, Executor(policy, {"1.2": wrong, "final-2": wrong}))
    assert (good.status, bad.status) == ("finished", "failed")
    assert "result.json" in bad.note and "Delete the job's folder" in bad.note
    assert "result.json" in good.note  # the second final training


def spoil_policy(folder: Path) -> None:
    (folder / "policy" / "policy.json").write_text("garbage")


def spoil_weights(folder: Path) -> None:
    (folder / "policy" / "policy.safetensors").write_bytes(b"garbage")


def make_folder(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return spoil


def make_pipe(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def make_link(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder.parent.parent / "outside")

    return spoil


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else None
        (folder / name).write_bytes(content)

    return spoil


def make_large(folder: Path) -> None:
    with (folder / "result.json").open("wb") as file:
        file.truncate(70 << 20)


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


DEEP = b"[" * 100_000
NAMES = ("result.json", "error.json", "spec.json", "log.txt", "progress.jsonl", "reward.py", "STOP")
ODD = {
    **{f"{name} is a folder": make_folder(name) for name in NAMES},
    **{f"{name} is a pipe": make_pipe(name) for name in NAMES},
    **{f"{name} is a link": make_link(name) for name in (*NAMES, "tmp", "policy")},
    **{f"result.json holds {text[:12]!r}": write("result.json", text) for text in (b"", b"{}", b'{"a', b"[]", DEEP)},
    **{f"spec.json holds {text[:12]!r}": write("spec.json", text) for text in (b"", b'{"entry', b"\xff", DEEP)},
    "tmp is a file": write("tmp", b""),
    "policy is a file": write("policy", b""),
    "result.json has 70 MiB": make_large,
    "the folder is a file": replace_by_file,
    "garbage policy": spoil_policy,
    "garbage weights": spoil_weights,
}


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
def test_a_damaged_folder_is_set_aside_and_made_again(
    tmp_path: Path, finished: Path, policy: MLPPolicy, spoil: Callable[[Path], None]
) -> None:
    (tmp_path / "outside").mkdir()
    shutil.copytree(finished / "jobs", tmp_path / "jobs")
    victims = [next((tmp_path / "jobs").glob("1.2-*")), next((tmp_path / "jobs").glob("final-1-*"))]
    for victim in victims:
        spoil(victim)
    executor = Executor(policy)
    candidates = compete(tmp_path, executor)
    assert [c.status for c in candidates] == ["finished", "finished"]
    assert sorted(executor.ran) == sorted(victim.name for victim in victims)
    assert len(os.listdir(tmp_path / "damaged")) == 2
    assert os.listdir(tmp_path / "outside") == []


USABLE = ("policy", "weights", "reward.py", "b'{}'")  # nothing that the runner itself reads, or a result


@pytest.mark.parametrize("name", [name for name in ODD if not any(word in name for word in USABLE)])
def test_a_runner_names_what_it_cannot_use(tmp_path: Path, name: str) -> None:
    """`run_job` raises one kind of error, whatever stands in the folder."""
    job = Job.create(tmp_path / "jobs" / "j", {"entry": "tests.jobs.entries:no_such"})
    (tmp_path / "outside").mkdir()
    ODD[name](job.folder)
    with pytest.raises((JobFailed, UsageError)):
        run_job(job.folder, timeout=0.0)
    assert os.listdir(tmp_path / "outside") == []


def test_asking_a_job_to_stop_writes_nothing_elsewhere(tmp_path: Path) -> None:
    job = Job.create(tmp_path / "j", {"entry": "a:b"})
    job.stop_path.symlink_to(tmp_path / "elsewhere")
    job.request_stop()
    assert not (tmp_path / "elsewhere").exists()


def test_a_hanging_job_is_ended_after_a_limit_made_from_its_steps(tmp_path: Path, policy: MLPPolicy) -> None:
    executor = Executor(policy, {"1.2": JobTimedOut(tmp_path, "ran longer than its limit of 7 s")})
    _, late = compete(tmp_path, executor)
    assert executor.timeouts == [ONE_RUNG.compute_time_limit(10)] * 4
    assert 1800 < SearchSettings().compute_time_limit(160_000) < 86_400
    assert SearchSettings(timeout=7.0).compute_time_limit(160_000) == 7.0
    assert late.status == "failed" and "search.timeout" in late.note
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"search\.timeout"):
            SearchSettings(timeout=wrong)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(places(RESULT)), new=JSON, name=st.sampled_from(["result.json", "spec.json", "error.json"])
)
def test_any_json_in_a_job_folder_is_used_or_refused(
    tmp_path: Path, policy: MLPPolicy, place: tuple[Any, ...], new: Any, name: str
) -> None:
    folder = tmp_path / "j"
    if not (folder / "policy").exists():
        policy.save(folder / "policy")
    for left in NAMES:
        (folder / left).unlink(missing_ok=True)
    tampered = put(RESULT, place, new)
    (folder / name).write_text(json.dumps(tampered))
    try:
        require_usable_job(folder)
        if name == "result.json":
            rate = check_outcome(folder, tampered)["evaluation"]["success"]
            assert 0.0 <= rate <= 1.0 and np.isfinite(rate)
    except BadArtifact:
        pass
    with suppress(RoboRewardError):
        run_job(folder, timeout=0.0) if name == "result.json" else Job(folder).status


def test_a_missing_folder_is_sound(tmp_path: Path) -> None:
    require_usable_job(tmp_path / "none")
