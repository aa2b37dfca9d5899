import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli import main
from robo_reward.envs.arm.model import FR3
from robo_reward.hardware.arm import FaultKind
from robo_reward.hardware.deployment import doctor
from robo_reward.hardware.deployment.doctor import diagnose_robot, measure_wake_up_delays
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.world.cameras import CameraServer
from robo_reward.hardware.safety.fault_messages import KINDS
from robo_reward.hardware.safety.limits import official_limits

pytest.importorskip("franky")
HOST = "127.0.43.51"
OPTIONS = {"realtime": "ignore"}


def named(**arguments: object) -> dict[str, doctor.Finding]:
    found = diagnose_robot("fr3", HOST, OPTIONS, seconds=0.1, **arguments)  # type: ignore[arg-type]
    assert len({f.name for f in found}) == len(found)
    for finding in found:
        assert finding.value and not (finding.ok and finding.remedy)
    return {f.name: f for f in found}


def test_a_robot_that_is_ready_and_one_that_is_not() -> None:
    with Emulator("fr3", HOST) as emulator, CameraServer(emulator.plant, HOST, faults=emulator.faults):
        before = emulator.session.q_d.copy()
        found = named(cameras=("front", "uvc:77"))
        assert found["FCI"].ok and found["robot"].ok and found["robot"].value == "fr3, idle"
        assert found["joints"].ok and found["hand"].ok and found["camera front"].ok
        assert found["load"].ok and re.search(r"\d\.\d\d kg at .* external force at rest 0\.\d N", found["load"].value)
        assert not found["camera uvc:77"].ok
        np.testing.assert_array_equal(emulator.session.q_d, before)
        emulator.faults.user_stop(True)
        time.sleep(0.1)
        found = named()
        assert not found["robot"].ok and "user stop" in found["robot"].remedy


def test_nobody_there_and_no_address() -> None:
    found = named()
    assert not found["FCI"].ok and "Desk" in found["FCI"].remedy and not found["robot"].ok
    without = {f.name: f for f in diagnose_robot("fr3", "", OPTIONS, seconds=0.01)}
    assert not without["network"].ok and "host=" in without["network"].remedy


def test_jitter_is_how_late_a_loop_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds + 0.002

    monkeypatch.setattr(doctor.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(doctor.time, "sleep", sleep)
    late = measure_wake_up_delays(0.05, period=0.01)
    assert len(late) == 5
    np.testing.assert_allclose(late, 0.002)


@pytest.mark.parametrize(("kind", "speaks", "words"), [("fr3", "panda", "5"), ("panda", "fr3", "10")])
def test_another_robot_than_expected(kind: str, speaks: str, words: str) -> None:
    pytest.importorskip("franka")
    with Emulator(speaks, HOST):
        found = {f.name: f for f in diagnose_robot(kind, HOST, OPTIONS, seconds=0.01)}
    assert found["FCI"].ok and not found["robot"].ok
    assert f"server version {words}" in found["robot"].value
    assert f"robot={speaks}" in found["robot"].remedy and "protocol" not in found
    assert f"this library's is {5 if kind == 'panda' else 10}" in found["robot"].value


def test_server_version_5_is_that_of_system_4_2_1() -> None:
    """4.2.0 speaks version 4."""
    assert "4.2.1" in KINDS[FaultKind.VERSION].remedy and "4.2.1" in doctor.VERSIONS["panda"]


def test_a_panda_and_the_limits_that_hold_for_it() -> None:
    pytest.importorskip("franka")
    with Emulator("panda", HOST):
        found = {f.name: f for f in diagnose_robot("panda", HOST, OPTIONS, seconds=0.01)}
    assert found["robot"].ok and "version 5" in found["protocol"].value
    assert "joint 6: -0.0175 to 3.7525 rad" in found["joints"].value


def test_joints_near_an_end_and_beyond_it() -> None:
    limits = official_limits(FR3)
    q = np.array(FR3.home)
    q[5] = FR3.q_max[5] - 0.05
    assert "joint 6, by 0.05 rad" in doctor._check_joints(limits, q).value
    q[5] = 0.1  # fine for a Panda
    finding = doctor._check_joints(limits, q)
    assert not finding.ok and "joint 6 at 0.100 rad" in finding.value


def test_the_verb_says_whether_a_deployment_can_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = ["doctor", "robot=fr3", f"host={HOST}", "robot.realtime=ignore", f"json={tmp_path / 'found.json'}"]
    assert main(command) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "not ready: FCI, robot" in printed and "unlock the brakes" in printed
    assert not {f["name"]: f for f in json.loads((tmp_path / "found.json").read_text())}["FCI"]["ok"]
    with Emulator("fr3", HOST):
        assert main(command) == 0
    assert "ready for `robo-reward deploy`" in capsys.readouterr().out
    assert main(["doctor", f"host={HOST}"]) == 2
    assert "robot=fr3" in capsys.readouterr().err
