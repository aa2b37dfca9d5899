"""Augmented random search (Mania et al. 2018) of sb3-contrib, as `policies.sb3` can watch, stop and resume it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sb3_contrib import ARS as ContribARS


class ARS(ContribARS):
    """Counts every step of every world once, reports ended episodes to callbacks and resumes from its policy's
    weights.

    `n_eval_episodes` episodes rate a candidate, so give as many of these as there are worlds, or a multiple.
    """

    def _trigger_callback(self, _locals: Any, _globals: Any, callback: Any, n_envs: int) -> None:
        """Counts one step of one world and calls the callback; sb3-contrib counts all worlds each time."""
        self.num_timesteps += 1
        callback.update_locals({"dones": np.array([_locals["done"]]), "infos": [_locals["info"]]})
        callback.on_step()

    def _do_one_update(self, callback: Any, async_eval: Any) -> None:
        self.weights = torch.nn.utils.parameters_to_vector(self.policy.parameters()).detach()  # from the checkpoint
        super()._do_one_update(callback, async_eval)

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Updates the progress with respect to the whole budget, not to what a resumed run has left."""
        super()._update_current_progress_remaining(num_timesteps, self._total_timesteps)
