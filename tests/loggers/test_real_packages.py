"""One search, logged by the real packages without a network, and read back from what they wrote."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.extra_packages import install_packages, list_requirements

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KEY = "0123456789abcdef0123456789abcdef01234567"
DEAD = "http://127.0.0.1:9"  # nothing listens there: whatever uses a network fails

READ_WANDB = """
import glob, json, struct, sys
from wandb.proto import wandb_internal_pb2
data = open(glob.glob(sys.argv[1] + "/wandb/offline-run-*/run-*.wandb")[0], "rb").read()
records, part, at = [], b"", 7  # behind the header of the file; then LevelDB's log format
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768  # the rest of a block is padding
        continue
    _, length, kind = struct.unpack("<IHB", data[at : at + 7])
    if kind == 0:
        break
    part += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # a full record, or the last part of one
        record = wandb_internal_pb2.Record()
        record.ParseFromString(part)
        records.append(record)
        part = b""
found = {"points": [], "config": {}, "summary": {}, "name": ""}
for record in records:
    kind = record.WhichOneof("record_type")
    if kind == "history":
        found["points"].append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
    elif kind == "run":
        found["name"] = record.run.display_name
        found["config"] |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
    elif kind == "summary":
        found["summary"] |= {u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in record.summary.update}
print(json.dumps(found))
"""

READ_TRACKIO = """
import json
from trackio.sqlite_storage import SQLiteStorage
(name,) = SQLiteStorage.get_runs("robo-reward")
found = {"name": name, "points": SQLiteStorage.get_logs("robo-reward", name)}
print(json.dumps({**found, "config": SQLiteStorage.get_run_config("robo-reward", name)}))
"""

READ_RERUN = """
import json, sys
from rerun.chunk import RrdReader
found = {"points": [], "texts": {}, "videos": []}
for chunk in RrdReader(sys.argv[1] + "/rerun/1.rrd").stream():
    batch = chunk.to_record_batch()
    columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "log_time"}
    for step, value in zip(columns.get("steps", ()), columns.get("Scalars:scalars", ())):
        found["points"].append([chunk.entity_path, step, value[0]])
    if "TextDocument:text" in columns:
        found["texts"][chunk.entity_path] = json.loads(columns["TextDocument:text"][0][0])
    if "AssetVideo:blob" in columns:
        found["videos"].append(chunk.entity_path)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("loggers")
    found = install_packages(folder, list_requirements("wandb", "trackio", "rerun"))
    return {**found, "TRACKIO_DIR": str(folder / "trackio"), "HTTPS_PROXY": DEAD, "HTTP_PROXY": DEAD}


@pytest.fixture(scope="module")
def run(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that was logged three times."""
    folder = tmp_path_factory.mktemp("runs")
    small = ["search.steps=2000", "search.rounds=1", "search.candidates=2", "search.episodes=2", "search.final_seeds=1"]
    fast = [f"policy.params.{text}" for text in ("worlds=8", "n_steps=30", "batch_size=240")]
    words = ["search", "task=panda/reach", "videos=1", f"runs={folder}", "run=it", "logger=[wandb,trackio,rerun]"]
    offline = {**environment, "WANDB_MODE": "offline", "WANDB_API_KEY": KEY}
    done = execute(offline, "-m", "robo_reward.cli", *words, *small, *fast)
    assert "trackio show --project robo-reward" in done.stdout and "rerun/1.rrd" in done.stdout
    return folder / "it"


def execute(environment: dict[str, str], *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == status, (done.stdout + done.stderr)[-3000:]
    return done


def expected_points(run: Path) -> dict[tuple[str, int], tuple[float, dict[str, float]]]:
    """Return and terms by curve and step, from the curve that each job wrote itself."""
    found = {}
    for path in run.glob("jobs/*/curve.csv"):
        curve = path.parent.name.rpartition("-")[0].partition("-rung")[0]
        for row in csv.DictReader(path.read_text().splitlines()):
            terms = {name.removeprefix("term_"): float(row[name]) for name in row if name.startswith("term_")}
            found[curve, int(row["steps"])] = float(row["return"]), terms
    assert {curve for curve, _ in found} == {"1.1", "1.2", "final-1"}
    return found


def check_points(run: Path, points: dict[tuple[str, int], dict[str, Any]]) -> None:
    expected = expected_points(run)
    assert points.keys() == expected.keys()
    for (curve, step), (episode_return, terms) in expected.items():
        values = points[curve, step]
        assert values[f"{curve}/return"] == pytest.approx(episode_return)
        assert {
            f"{curve}/terms/{name}": pytest.approx(value) for name, value in terms.items()
        }.items() <= values.items()


def test_wandb_s_folder_holds_curves_settings_result_and_film(run: Path, environment: dict[str, str]) -> None:
    found = json.loads(execute(environment, "-c", READ_WANDB, str(run)).stdout)
    points = {}
    for row in found["points"]:
        for name in row:
            if name.endswith("/steps"):
                points[name.removesuffix("/steps"), row[name]] = row
    check_points(run, points)
    assert found["name"] == "it" and found["config"]["task"]["id"] == "panda/reach"
    result = json.loads((run / "result.json").read_text())
    assert found["summary"]["evaluation"] == result["evaluation"]
    assert list(run.glob("wandb/offline-run-*/files/media/videos/videos/episode1*.mp4"))


def test_trackio_s_database_holds_them(run: Path, environment: dict[str, str]) -> None:
    found = json.loads(execute(environment, "-c", READ_TRACKIO).stdout)
    points: dict[tuple[str, int], dict[str, Any]] = {}
    for row in found["points"]:
        for name in row:
            if name.endswith("/return"):
                points[name.removesuffix("/return"), row["step"]] = row
    check_points(run, points)
    assert found["config"]["task"]["id"] == "panda/reach"
    evaluation = json.loads((run / "result.json").read_text())["evaluation"]
    assert any(row.get("result/evaluation/success") == evaluation["success"] for row in found["points"])
    assert any("videos/episode1" in row for row in found["points"])


def test_rerun_s_file_holds_them(run: Path, environment: dict[str, str]) -> None:
    found = json.loads(execute(environment, "-c", READ_RERUN, str(run)).stdout)
    points: dict[tuple[str, int], dict[str, Any]] = {}
    for entity, step, value in found["points"]:
        name = entity.removeprefix("/").replace("\\", "")
        points.setdefault((name.partition("/")[0], step), {})[name] = value
    check_points(run, points)
    assert found["texts"]["/config"]["task"]["id"] == "panda/reach"
    assert found["texts"]["/result"] == json.loads((run / "result.json").read_text())
    assert found["videos"] == ["/videos/episode1"]


def test_no_file_holds_the_key(run: Path, environment: dict[str, str]) -> None:
    files = [path for folder in (run, Path(environment["TRACKIO_DIR"])) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_missing_key_is_told_before_training(environment: dict[str, str], tmp_path: Path) -> None:
    words = ["train", "task=panda/reach", f"runs={tmp_path}", "run=it", "logger=wandb"]
    done = execute(environment, "-m", "robo_reward.cli", *words, status=2)
    assert "has no API key: run `wandb login`, set WANDB_API_KEY" in done.stderr
    assert not (tmp_path / "it" / "log").exists() and not (tmp_path / "it" / "policy").exists()
