"""K proposals for a request: compositions in the first round, descendants of the best in later ones."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from robo_reward.code.offline.plan import compose, style
from robo_reward.code.offline.render import render
from robo_reward.code.offline.scene import Scene
from robo_reward.code.offline.sentence import read_sentence
from robo_reward.code.writers.writer import WriteRequest


class Proposal(NamedTuple):
    """A program and why it is proposed."""

    source: str
    reason: str


def proposals(request: WriteRequest, k: int) -> list[Proposal]:
    """K programs."""
    sentence = read_sentence(request.goal)
    scene = Scene(request.spec, request.action.names, request.action.kind)
    out = []
    for i in range(request.first, request.first + k):
        rng = np.random.default_rng(int(hashlib.sha256(f"{request.goal}{request.seed}{i}".encode()).hexdigest()[:12], 16))
        out.append(Proposal(render(compose(sentence, scene, style(i, rng), request.success_rule)), f"Composition {i}"))
    return out
