"""Stands in for the program that LeRobot's Python runs: the same messages, and the faults that a message asks for."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np

from robo_reward.policies.lerobot.child import MAGIC, PREFIX, pack_frame, read_frame

channel = socket.socket(fileno=int(sys.argv[1]))
file = channel.makefile("rb")
config = {}
sys.stdout.write("fake lerobot starts\n")
while True:
    try:
        head, arrays = read_frame(file.read)
    except Exception:  # noqa: BLE001  the connection ended
        sys.exit(0)
    kind = head["kind"]
    fault = os.environ.get("FAKE_FAULT", "") if kind == "act" else head.get("fault", "")
    if fault == "crash":
        os.write(2, b"out of memory on device 0\n")
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "exit":
        sys.exit("Traceback: no module named lerobot")
    elif fault == "hang":
        time.sleep(60)
    elif fault == "garbage":
        channel.sendall(b"Loading weights from local directory\n" * 9)
    elif fault == "damage":
        data = bytearray(pack_frame({"kind": "actions"}, {"actions": np.ones(3)}))
        data[-1] ^= 1
        channel.sendall(bytes(data))
    elif fault == "half":
        channel.sendall(PREFIX.pack(MAGIC, 10, 1000, 0) + b"{")
        sys.exit(3)
    elif fault == "failed":
        channel.sendall(pack_frame({"kind": "failed", "cause": "RuntimeError: sizes 3 and 4"}))
    elif kind == "load":
        config = json.loads((Path(head["folder"]) / "config.json").read_text())
        is_diffusion = config["type"] == "diffusion"
        ready = {
            "kind": "ready", "type": config["type"], "version": "0.6.1", "history": config["n_obs_steps"],
            "chunk": config["n_action_steps"] if is_diffusion else config["chunk_size"],
            "execute": config["n_action_steps"], "action": config["output_features"]["action"]["shape"][0],
            "horizon": config["horizon"] if is_diffusion else 0, "limits": config["limits"],
        }  # fmt: skip
        channel.sendall(pack_frame({**ready, "chunk": ready["chunk"] + (fault == "chunk")}))
    elif kind == "act":
        state = arrays["observation.state"]
        rows = config["n_action_steps"] if config["type"] == "diffusion" else config["chunk_size"]
        actions = np.zeros((len(state), rows, config["output_features"]["action"]["shape"][0]), np.float32)
        actions[:, :, 0] = state[:, -1, :1]
        if "observation.images.top" in arrays:
            actions[:, :, 1] = arrays["observation.images.top"].mean((1, 2, 3, 4))[:, None] / 255
        actions[:, :, 2] = 7.0 if fault == "far" else np.nan if fault == "nan" else head["seed"] % 1000 / 1000
        if "noise" in arrays:
            actions[:, :, 3] = arrays["noise"][:, :1, 3]
        channel.sendall(pack_frame({"kind": "actions"}, {"actions": actions}))
    elif kind == "download":
        channel.sendall(pack_frame({"kind": "folder", "path": "/cache/" + head["repository"]}))
    else:
        channel.sendall(pack_frame({**head, "environment": sorted(os.environ)}, arrays))
