import time

import numpy as np
import pytest

from robo_reward.hardware import doctor
from robo_reward.hardware.doctor import diagnose_robot, wake_ups
from robo_reward.hardware.emulator.camera_server import CameraServer
from robo_reward.hardware.emulator.emulator import Emulator

pytest.importorskip("franky")
HOST = "127.0.4.51"
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
    late = wake_ups(0.05, period=0.01)
    assert len(late) == 5
    np.testing.assert_allclose(late, 0.002)
