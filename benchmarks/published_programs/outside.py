"""Programs that stay outside the language: each must be refused with the remedy that helps."""

from benchmarks.published_programs.program import PublishedProgram


def _program(name: str, refused: str, source: str) -> PublishedProgram:
    return PublishedProgram(name, "lift", source, refused=refused)


PROGRAMS = [
    _program(
        "memory_of_the_last_distance",
        r"previous\.FIELD",
        """\
import numpy as np

def compute_reward(self, state, action):
    d = np.linalg.norm(state.hand_position - state.cube_position)
    reward = self.last_distance - d
    self.last_distance = d
    return reward
""",
    ),
    _program(
        "memory_of_steps",
        r"previous\.FIELD",
        """\
import numpy as np

def compute_reward(self, state, action):
    self.steps += 1
    return -np.linalg.norm(state.hand_position - state.cube_position) - 0.01 * self.steps
""",
    ),
    _program(
        "memory_in_a_global",
        r"previous\.FIELD",
        """\
import numpy as np

best = 0.0

def compute_reward(state, action, previous):
    global best
    best = max(best, state.cube_position[2])
    return best
""",
    ),
    _program(
        "noise_of_numpy",
        r"same number|noise",
        """\
import numpy as np

def compute_reward(state, action, previous):
    d = np.linalg.norm(state.hand_position - state.cube_position)
    return -d + 0.01 * np.random.randn()
""",
    ),
    _program(
        "noise_of_random",
        r"same number|noise",
        """\
import random
import numpy as np

def compute_reward(state, action, previous):
    d = np.linalg.norm(state.hand_position - state.cube_position)
    if random.random() < 0.1:
        d = 2 * d
    return -d
""",
    ),
    _program(
        "noise_of_torch",
        r"same number|noise",
        """\
import torch

def compute_reward(state, action, previous):
    d = torch.norm(state.hand_position - state.cube_position, dim=-1)
    return -d + 0.01 * torch.randn_like(d)
""",
    ),
    _program(
        "a_file",
        r"no files|numbers into the program",
        """\
import json
import numpy as np

def compute_reward(state, action, previous):
    with open("weights.json") as f:
        w = json.load(f)
    return -w["reach"] * np.linalg.norm(state.hand_position - state.cube_position)
""",
    ),
    _program(
        "a_file_of_numpy",
        r"no files|numbers into the program",
        """\
import numpy as np

def compute_reward(state, action, previous):
    target = np.load("target.npy")
    return -np.linalg.norm(state.cube_position - target)
""",
    ),
    _program(
        "the_clock",
        r"same number|previous\.FIELD",
        """\
import time
import numpy as np

def compute_reward(state, action, previous):
    return -np.linalg.norm(state.cube_position - state.hand_position) - 0.01 * time.time()
""",
    ),
    _program(
        "a_loop_without_end",
        r"for i in range",
        """\
import numpy as np

def compute_reward(state, action, previous):
    d = np.linalg.norm(state.cube_position - state.hand_position)
    n = 0
    while d > 0.1:
        d = d / 2
        n += 1
    return -n
""",
    ),
]
