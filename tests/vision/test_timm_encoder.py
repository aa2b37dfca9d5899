import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.testing.encoder import EncoderContract
from robo_reward.vision import encoder as module
from robo_reward.vision.encoder import EncoderMismatch, build_encoder
from robo_reward.vision.published import create_model
from robo_reward.vision.timm_encoder import TimmEncoder
from robo_reward.vision.views import camera_views

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 80, 3), np.uint8)


class TestPooled(EncoderContract):
    def make_encoder(self):
        return TimmEncoder(size=48, runtime="torch")  # no resizing in some tests


class TestMapsOfTwoViewsOnOpenVINO(EncoderContract):
    def make_encoder(self):
        views = camera_views(2)
        return TimmEncoder("test_resnet", "random", "stage2", grid=3, size=64, views=views, runtime="openvino")


class TestFromAFile(EncoderContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path):
        self.path = tmp_path / "model.safetensors"
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_file(create_model("test_resnet").state_dict(), self.path)

    def make_encoder(self):
        return TimmEncoder("test_resnet", source=str(self.path), size=32, runtime="torch")

    def test_the_file_is_not_needed_again(self):
        encoder = self.make_encoder()
        self.path.unlink()
        again = build_encoder(encoder.spec(), encoder.weights())
        np.testing.assert_allclose(again.encode(FRAMES), encoder.encode(FRAMES), atol=1e-5)


def test_it_is_the_model_on_normalised_pictures():
    """Against timm called as its documentation says."""
    encoder = TimmEncoder(size=40, views=[(0, 0, 0.5, 1)], runtime="torch")
    config = resolve_model_data_config(encoder.network.body)
    transform = create_transform(input_size=(3, 40, 40), mean=config["mean"], std=config["std"], crop_pct=1.0)
    body: Any = encoder.network.body
    pictures = torch.stack([transform(Image.fromarray(frame[:, :40])) for frame in FRAMES])  # type: ignore[operator]
    with torch.inference_mode():
        wanted = body(pictures).numpy()
    np.testing.assert_allclose(encoder.encode(FRAMES), wanted, atol=1e-4)


@pytest.mark.parametrize("layer", ["pooled", "stage3"])
def test_openvino_gives_torch_s_features(layer: str):
    """Equal to 1e-5 of the largest feature."""
    slow, fast = (TimmEncoder(layer=layer, size=64, runtime=runtime) for runtime in ("torch", "openvino"))
    wanted = slow.encode(FRAMES)
    np.testing.assert_allclose(fast.encode(FRAMES), wanted, atol=1e-5 * np.abs(wanted).max())
    assert slow.spec() == fast.spec()


def test_openvino_does_not_report_its_use(monkeypatch: pytest.MonkeyPatch):
    telemetry = importlib.import_module("openvino_telemetry.main").Telemetry

    def spoken(*arguments: object, **options: object) -> None:
        raise AssertionError("OpenVINO speaks to a server")

    for name in ("send_event", "start_session"):
        monkeypatch.setattr(telemetry, name, spoken)
    TimmEncoder("test_resnet", source="random", size=32, runtime="openvino").encode(FRAMES)


def test_a_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    encoder = TimmEncoder("test_resnet", source="random", size=32, runtime="openvino")
    with pytest.raises(MissingExtra, match=r"robo-reward\[fast\]"):
        encoder.encode(FRAMES)


@pytest.mark.parametrize(
    ("model", "layer", "shape"),
    [
        ("test_vit", "stage3", (1, 64, 3, 3)),
        ("test_convnext", "pooled", (1, 64)),
        ("test_resnet", "stage1", (1, 32, 12, 12)),
    ],
)
def test_other_families(model: str, layer: str, shape: tuple[int, ...]):
    encoder = TimmEncoder(model, source="random", layer=layer, size=48, runtime="torch")
    assert encoder.shape == shape
    assert encoder.encode(FRAMES).shape == (5, encoder.dim)


def test_a_map_is_averaged_to_the_grid():
    fine, coarse = (TimmEncoder(layer="stage2", grid=grid, size=64, runtime="torch") for grid in (0, 2))
    maps = fine.encode(FRAMES).reshape(-1, *fine.shape[1:])
    means = maps.reshape(*maps.shape[:2], 2, maps.shape[2] // 2, 2, maps.shape[3] // 2).mean(axis=(3, 5))
    np.testing.assert_allclose(coarse.encode(FRAMES), means.reshape(5, -1), atol=1e-4)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    TimmEncoder("test_resnet", source="random", size=32, threads=2, runtime="torch").encode(FRAMES)
    assert torch.get_num_threads() == before


def test_bad_options_are_answered():
    with pytest.raises(UnknownName, match="tf_efficientnet_lite0"):
        TimmEncoder("tf_efficientnet_lite_0")
    with pytest.raises(UnknownName, match="stage4"):
        TimmEncoder(layer="stage5")
    with pytest.raises(UnknownName, match="openvino"):
        TimmEncoder(runtime="openvin")
    with pytest.raises(UsageError, match="size=4"):
        TimmEncoder(size=4)
    with pytest.raises(UnknownName, match="colour_slots"):
        build_encoder({"kind": "color_slots"})


def test_published_weights_that_changed_are_refused_with_both_fingerprints():
    spec = TimmEncoder("test_resnet", source="random", size=32).spec()
    with pytest.raises(EncoderMismatch, match=f"0123456789abcdef.*{spec['published']}"):
        build_encoder({**spec, "published": "0123456789abcdef"})


def test_importing_the_contract_imports_no_torch():
    script = f"import sys, {module.__name__}; print([m for m in ('torch', 'timm', 'openvino') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
