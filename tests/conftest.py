"""What every test shares: one thread per process, offscreen rendering, no keys, no network look-ups by libraries."""

import ctypes
import ctypes.util
import os
import sys

# Before numpy, torch or mujoco are imported: they read these once.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TOKENIZERS_PARALLELISM"):
    os.environ.setdefault(_name, "0" if _name == "TOKENIZERS_PARALLELISM" else "1")
if sys.platform == "linux" and "MUJOCO_GL" not in os.environ:
    for _backend, _library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(_library):
            os.environ["MUJOCO_GL"] = _backend
            break

# As root, programs under test (Chromium, robot clients) could take real-time priority; one that spins then starves both
# cores and the whole run hangs. An ordinary user's programs cannot.
if sys.platform == "linux":
    PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)

import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.lerobot_environment import lerobot_python  # noqa: F401  a fixture of several folders

settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test ever reaches a paid server by accident: a test that needs a key sets its own."""
    for name in [name for name in os.environ if name.endswith("_API_KEY")] + ["OPENAI_BASE_URL", "HF_TOKEN"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Torch may have been imported with more threads by an embedding process; two cores are shared by many tests."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own, the same in every run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
