"""The doctor's findings against this machine, and against machines that lack things."""

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import mujoco
import pytest

from robo_reward import doctor
from robo_reward.cli import main
from robo_reward.doctor import Finding, diagnose
from robo_reward.envs.rendering import gl
from robo_reward.envs.video import files as video
from robo_reward.errors import RoboRewardError


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    found = diagnose()
    assert len({f.name for f in found}) == len(found)
    return {f.name: f for f in found}


def test_it_says_what_is_here(findings: dict[str, Finding]):
    assert findings["python"].ok and findings["python"].value.startswith(platform.python_version())
    assert findings["mujoco"].value == mujoco.__version__
    assert findings["cores"].value.isdigit()
    assert float(findings["disk"].value.split()[0]) > 0
    assert findings["H.264 video"].ok and findings["drawing"].ok
    assert json.loads(json.dumps([asdict(f) for f in findings.values()]))


def test_what_is_not_ok_has_a_remedy_or_is_not_needed(findings: dict[str, Finding]):
    for finding in findings.values():
        assert finding.value and (finding.ok or finding.remedy or finding.name.startswith("drawing with"))
        assert not (finding.ok and finding.remedy)


@pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")
def test_sandbox_layers_are_tried_for_real(findings: dict[str, Finding]):
    layers = {name for name in findings if name.startswith("sandbox ")}
    assert layers == {"sandbox capabilities", "sandbox files", "sandbox calls", "sandbox network"}
    for name in layers:
        assert findings[name].ok == findings[name].value.endswith("holds")
    assert (Path(__file__)).read_text()  # this process is as free as before


def only(name: str, check) -> Finding:
    return next(f for f in check() if f.name == name)


def test_a_machine_without_gl(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gl, "probe", lambda name: gl.Backend(name, False, problem="no library"))
    monkeypatch.setattr(gl, "candidates", lambda: ("egl", "osmesa"))
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    gl.choose.cache_clear()
    found = list(doctor._check_rendering())
    assert not any(f.ok for f in found)
    assert "libegl1" in found[0].remedy and "libosmesa6" in found[1].remedy and "above" in found[2].remedy
    gl.choose.cache_clear()


def test_a_machine_without_video_or_extras(monkeypatch: pytest.MonkeyPatch):
    def fail(*args, **options):
        raise RoboRewardError("no PyAV")

    monkeypatch.setattr(video, "write_video", fail)
    assert only("H.264 video", doctor._check_video) == Finding(
        "H.264 video",
        False,
        "no PyAV",
        "pip install av (the wheel from PyPI, which has libx264)",
    )
    monkeypatch.setattr(doctor, "EXTRAS", {"flying": ("no-such-package",)})
    assert "robo-reward[flying]" in only("extra [flying]", doctor._check_extras).remedy


def test_a_sandbox_that_cannot_be_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "_LAYERS", "raise SystemExit('broken')")
    finding = only("sandbox", doctor._check_sandbox)
    assert not finding.ok and "broken" in finding.value and "unconfined" in finding.remedy


def test_the_verb_prints_remedies_as_they_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    finding = Finding("x", False, "not installed", "pip install 'robo-reward[franka]'")
    monkeypatch.setattr("robo_reward.cli.training.doctor.diagnose", lambda: [finding])
    assert main(["doctor"]) == 0
    assert "robo-reward[franka]" in capsys.readouterr().out


def install(folder: Path, name: str, number: str, *needs: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    metadata.mkdir(parents=True)
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}", *(f"Requires-Dist: {need}" for need in needs)]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n")


def test_a_second_opencv_is_named_with_what_brought_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert not list(doctor._check_opencv())
    install(tmp_path, "opencv-python", "5.0.0")
    install(tmp_path, "robosuite", "1.5.2", "numpy>=1.13", "opencv-python>=4")
    install(tmp_path, "sees-well", "1.0", "opencv-python-headless>=4")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = doctor._check_opencv()
    assert not finding.ok and "brought by robosuite" in finding.value and "sees-well" not in finding.value
    assert finding.remedy.startswith("pip uninstall -y opencv-python;") and "robosuite with --no-deps" in finding.remedy


def test_a_suite_that_does_not_fit_mujoco_is_no_complete_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(tmp_path, "metaworld", "3.0.0", "mujoco>=3.0.0")
    monkeypatch.syspath_prepend(tmp_path)
    found = {finding.name: finding for finding in doctor._check_extras()}
    assert (
        not found["extra [metaworld]"].ok
        and "pip install --upgrade 'metaworld>=3.1'" in found["extra [metaworld]"].remedy
    )
