"""Runs a LeRobot policy in an environment that has lerobot but not robo-reward.

robo-reward starts this file with the Python of that environment: `python child.py SOCKET PARENT`, with the number of
an inherited Unix socket and of the parent's process. It imports the standard library, numpy, torch and lerobot only.
Messages in both directions are a JSON object and arrays; nothing in them is executed or unpickled:

    magic, size of the text, size of the arrays, CRC-32 of both
    text: JSON {"head": {...}, "arrays": [[name, dtype, shape], ...]}
    the bytes of the arrays

The parent sends `load`, then `act` as often as it likes; or `download`. Every message is answered by one message:
`ready`, `actions`, `folder`, or `failed` with the cause.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAGIC = b"rrl1"
PREFIX = struct.Struct("<4sIQI")
MAX_TEXT, MAX_ARRAYS = 1 << 20, 1 << 30  # [bytes]
DTYPES = ("float32", "float64", "int64", "uint8")
PICTURES, STATE, ENVIRONMENT = "observation.images.", "observation.state", "observation.environment_state"


class BadFrame(ValueError):
    """Bytes that are no message of this protocol."""


def pack_frame(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """Returns a message as bytes.

    Args:
        head: JSON values.
        arrays: float32, float64, int64 or uint8.
    """
    given = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.name, list(array.shape)] for name, array in given.items()]
    text = json.dumps({"head": dict(head), "arrays": listed}).encode()
    data = b"".join(array.tobytes() for array in given.values())
    return PREFIX.pack(MAGIC, len(text), len(data), zlib.crc32(data, zlib.crc32(text))) + text + data


def read_frame(receive: Callable[[int], bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the head and the arrays of the next message.

    Args:
        receive: returns exactly the given number of bytes of the stream.

    Raises:
        BadFrame: the stream holds something else.
    """
    magic, text_size, size, checksum = PREFIX.unpack(receive(PREFIX.size))
    if magic != MAGIC or text_size > MAX_TEXT or size > MAX_ARRAYS:
        raise BadFrame(f"bytes that are no message: {magic!r}")
    text, data = receive(text_size), receive(size)
    if zlib.crc32(data, zlib.crc32(text)) != checksum:
        raise BadFrame("a message whose checksum is wrong")
    try:
        value = json.loads(text)
        head, listed = value["head"], value["arrays"]
        arrays, at = {}, 0
        for name, dtype, shape in listed:
            if dtype not in DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
                raise BadFrame(f"an array {name!r:.40} of {dtype!r:.20} and shape {shape!r:.60}")
            end = at + math.prod(shape) * np.dtype(dtype).itemsize
            if end > size:
                raise BadFrame(f"an array {name!r:.40} that is cut short")
            arrays[str(name)] = np.frombuffer(data[at:end], dtype).reshape(shape)
            at = end
    except (LookupError, TypeError, RecursionError, ValueError) as error:
        raise error if isinstance(error, BadFrame) else BadFrame(f"a message that cannot be read: {error}") from error
    if not isinstance(head, dict) or at != size:
        raise BadFrame("a message with a part that is not described")
    return head, arrays


class LoadedPolicy:
    """A LeRobot policy with its pre- and post-processor.

    Args:
        folder: as `save_pretrained` writes it.
        device: `cpu`, `cuda`, ...; empty: the one of the checkpoint if it is here.
        sampling_steps: DDIM steps of a diffusion policy; 0: the sampler of the checkpoint.
    """

    def __init__(self, folder: str, device: str, sampling_steps: int) -> None:
        importlib.import_module("lerobot")
        self.torch = importlib.import_module("torch")
        configs = importlib.import_module("lerobot.configs.policies")
        factory = importlib.import_module("lerobot.policies.factory")
        config = configs.PreTrainedConfig.from_pretrained(folder)
        self.kind = str(config.type)
        if self.kind not in ("diffusion", "act"):
            raise ValueError(f"policies of type {self.kind!r} are not run, expected 'diffusion' or 'act'")
        config.device = device or config.device
        config.pretrained_path = folder
        config.pretrained_backbone_weights = None  # the checkpoint has them; otherwise they would be downloaded
        if sampling_steps:
            if sampling_steps > config.num_train_timesteps:
                raise ValueError(f"sampling_steps={sampling_steps}: it has {config.num_train_timesteps} in training")
            config.noise_scheduler_type, config.num_inference_steps = "DDIM", sampling_steps
        self.config = config
        stats = read_old_statistics(os.path.join(folder, "model.safetensors"))
        policy_class = factory.get_policy_class(self.kind)
        self.policy = policy_class.from_pretrained(folder, config=config, strict=not stats)
        self.policy.to(config.device)
        self.policy.eval()
        if stats:
            made = factory.make_pre_post_processors(config, dataset_stats=stats)
        else:
            moved = {"device_processor": {"device": str(config.device)}}
            made = factory.make_pre_post_processors(config, pretrained_path=folder, preprocessor_overrides=moved)
        self.before, self.after = made
        check_statistics(config, self.before, self.after)

    def describe(self) -> dict[str, Any]:
        """Returns what the parent needs to know of the policy."""
        config = self.config
        lerobot = importlib.import_module("lerobot")
        rows = config.n_action_steps if self.kind == "diffusion" else config.chunk_size
        dim = config.action_feature.shape[0]
        found = find_statistics(self.after).get("action", {})
        limits = [np.asarray(found[key], float).ravel().tolist() for key in ("min", "max") if key in found]
        return {
            "kind": "ready",
            "type": self.kind,
            "version": str(getattr(lerobot, "__version__", "unknown")),
            "history": int(config.n_obs_steps),
            "chunk": int(rows),
            "execute": int(config.n_action_steps),
            "action": int(dim),
            "horizon": int(config.horizon) if self.kind == "diffusion" else 0,
            "limits": limits if len(limits) == 2 else [],
        }

    def act(self, arrays: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        """Returns chunks (B, H, A) of actions as they were before LeRobot normalised them.

        Args:
            arrays: (B, To, ...) of each input, with pictures (B, To, h, w, 3) uint8; `noise` (B, Tp, A) or none.
            seed: of what the sampler draws beside the initial noise.
        """
        torch, config = self.torch, self.config
        inputs = {name: array for name, array in arrays.items() if name != "noise"}
        count, history = next(iter(inputs.values())).shape[:2]
        batch: dict[str, Any] = {}
        for name, array in inputs.items():
            values = torch.from_numpy(array.copy()).flatten(0, 1)
            batch[name] = values.permute(0, 3, 1, 2).float() / 255 if name.startswith(PICTURES) else values.float()
        batch = self.before(batch)
        batch = {name: batch[name].unflatten(0, (count, history)) for name in config.input_features}
        torch.manual_seed(seed)
        self.policy.reset()
        with torch.inference_mode():
            if self.kind == "diffusion":
                if config.image_features:
                    batch["observation.images"] = torch.stack([batch[name] for name in config.image_features], dim=-4)
                noise = arrays.get("noise")
                start = None if noise is None else torch.from_numpy(noise.copy()).to(config.device)
                chunk = self.policy.diffusion.generate_actions(batch, noise=start)
            else:
                chunk = self.policy.predict_action_chunk({name: values[:, -1] for name, values in batch.items()})
            rows = self.after(chunk.flatten(0, 1))
        return rows.unflatten(0, chunk.shape[:2]).float().cpu().numpy()


def read_old_statistics(path: str) -> dict[str, dict[str, Any]]:
    """Returns the normalisation statistics inside the weights of a checkpoint from before lerobot 0.4; else none."""
    safetensors = importlib.import_module("safetensors")
    found: dict[str, dict[str, Any]] = {}
    with safetensors.safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118  it is no mapping
            first, _, rest = name.partition(".buffer_")
            feature, _, key = rest.rpartition(".")
            if first in ("normalize_inputs", "unnormalize_outputs") and feature:
                found.setdefault(restore_dots(feature), {})[key] = file.get_tensor(name)
    return found


def restore_dots(name: str) -> str:
    """Returns the name of a feature whose dots were written as underscores."""
    for known in (PICTURES, STATE, ENVIRONMENT):
        if name.startswith(known.replace(".", "_")):
            return known + name[len(known) :]
    return name


def find_statistics(pipeline: Any) -> dict[str, dict[str, Any]]:
    """Returns feature -> statistic -> values of the step of a pipeline that normalises."""
    found: dict[str, dict[str, Any]] = {}
    for step in pipeline.steps:
        if getattr(step, "norm_map", None) is not None:
            found |= step.stats or {}
    return found


def check_statistics(config: Any, before: Any, after: Any) -> None:
    """Checks that each feature that is normalised has statistics; LeRobot passes it unchanged where there are none.

    Raises:
        ValueError: naming the feature.
    """
    for features, pipeline in ((config.input_features, before), (config.output_features, after)):
        known = find_statistics(pipeline)
        for name, feature in features.items():
            mode = str(getattr(config.normalization_mapping.get(feature.type.value), "value", "IDENTITY"))
            if mode != "IDENTITY" and name not in known:
                raise ValueError(f"the checkpoint has no statistics of {name}, which it normalises by {mode}")


def download(repository: str) -> str:
    """Returns the folder of a checkpoint of the Hugging Face hub, which is downloaded unless it is here already."""
    hub = importlib.import_module("huggingface_hub")
    return str(hub.snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))


def answer(message: tuple[dict[str, Any], dict[str, np.ndarray]], state: dict[str, LoadedPolicy]) -> bytes:
    """Returns the answer to a message of the parent."""
    head, arrays = message
    kind = head.get("kind")
    if kind == "load":
        # Set before huggingface_hub is imported: loading a folder never goes to the network.
        os.environ["HF_HUB_OFFLINE"] = "1"
        policy = LoadedPolicy(head["folder"], head["device"], head["sampling_steps"])
        state["policy"] = policy
        return pack_frame(policy.describe())
    if kind == "act":
        return pack_frame({"kind": "actions"}, {"actions": state["policy"].act(arrays, head["seed"])})
    if kind == "download":
        return pack_frame({"kind": "folder", "path": download(head["repository"])})
    raise BadFrame(f"a message of kind {kind!r}")


def follow_parent(parent: int) -> None:
    """Ends this process soon after its parent, also in the middle of a computation."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def serve(channel: socket.socket) -> None:
    """Answers the parent's messages until it closes the socket."""
    file = channel.makefile("rb")

    def receive(size: int) -> bytes:
        data = file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    state: dict[str, LoadedPolicy] = {}
    while True:
        try:
            message = read_frame(receive)
        except EOFError:
            return
        try:
            reply = answer(message, state)
        except Exception as error:  # noqa: BLE001  any error must be reported to the parent
            reply = pack_frame({"kind": "failed", "cause": f"{type(error).__name__}: {error}"[:4000]})
        channel.sendall(reply)


def main() -> None:
    """Serves the parent that started this program."""
    for number in (signal.SIGINT, signal.SIGHUP):  # they reach every process of the terminal; the parent ends this one
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=follow_parent, args=(int(sys.argv[2]),), daemon=True).start()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
