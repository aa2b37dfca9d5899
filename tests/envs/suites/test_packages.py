"""What is said when a suite is missing, too old, or made for another MuJoCo."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from robo_reward.envs.suites import packages
from robo_reward.envs.suites.packages import VersionClash, check_versions, import_suite
from robo_reward.errors import MissingExtra


def pretend(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], needs: list[str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(packages, "version", version)
    monkeypatch.setattr(packages, "requires", lambda name: needs)


@pytest.mark.parametrize(
    ("package", "found", "mujoco", "needs", "said"),
    [
        # The pair that `pip install metaworld` chose while mujoco 4 was installed.
        ("metaworld", "3.0.0", "4.0.0", ["mujoco>=3.0.0"], "'metaworld>=3.1' mujoco"),
        ("metaworld", "3.1.1", "4.0.0", ["numpy>=1.18", "mujoco==3.3.0"], "'metaworld==3.1.1' 'mujoco==3.3.0'"),
        # Both name no newest MuJoCo, and fail with it.
        ("gymnasium-robotics", "1.4.2", "3.17.0", ["mujoco>=2.2.0"], "'gymnasium-robotics==1.4.2' 'mujoco<3.12'"),
        ("dm-control", "1.0.50", "4.0.0", ["mujoco>=3.3.6"], "'dm-control==1.0.50' 'mujoco<4'"),
    ],
)
def test_a_clash_names_a_pair_that_works(
    monkeypatch, package: str, found: str, mujoco: str, needs: list[str], said: str
):
    pretend(monkeypatch, {package: found, "mujoco": mujoco}, needs)
    with pytest.raises(VersionClash) as caught:
        check_versions(package)
    for text in (f"{package} {found}", f"mujoco {mujoco}", said):
        assert text in str(caught.value)


@pytest.mark.parametrize("needs", [["mujoco==3.3.0"], ['mujoco>=9; extra == "testing"'], ["mujoco>=3.2.7,<4"]])
def test_a_pair_that_fits_is_accepted(monkeypatch, needs: list[str]):
    pretend(monkeypatch, {"metaworld": "3.1.1", "mujoco": "3.3.0"}, needs)
    check_versions("metaworld")


def test_a_missing_package_names_the_extra(monkeypatch):
    pretend(monkeypatch, {"mujoco": "3.3.0"}, [])
    with pytest.raises(MissingExtra, match=r"pip install 'robo-reward\[metaworld\]'"):
        import_suite("no_such_module_of_a_suite", "metaworld", "metaworld")
