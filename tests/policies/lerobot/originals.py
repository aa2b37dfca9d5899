"""Programs for a Python that has lerobot: they make small policies and say what LeRobot itself answers."""

MAKE = """
import sys
import numpy as np
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

torch.manual_seed(3)
torch.set_num_threads(1)
rng = np.random.default_rng(3)
size = {"observation.state": 4, "observation.environment_state": 3, "action": 4}
cameras = ["observation.images.front", "observation.images.hand"]


def stats(dim):
    low, high = -rng.uniform(0.1, 1.0, dim), rng.uniform(0.1, 1.0, dim)
    return {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4}


def write(folder, kind, inputs, **settings):
    kinds = {"observation.state": FeatureType.STATE, "observation.environment_state": FeatureType.ENV}
    features = {name: PolicyFeature(kinds[name], (size[name],)) for name in inputs if name in size}
    features |= {name: PolicyFeature(FeatureType.VISUAL, (3, 32, 32)) for name in inputs if name in cameras}
    actions = {"action": PolicyFeature(FeatureType.ACTION, (4,))}
    config = make_policy_config(kind, input_features=features, output_features=actions, device="cpu",
                                pretrained_backbone_weights=None, push_to_hub=False, **settings)
    policy = get_policy_class(kind)(config)
    found = {name: stats(size[name]) for name in size}
    found |= {name: {"mean": rng.uniform(0.3, 0.6, (3, 1, 1)), "std": rng.uniform(0.1, 0.3, (3, 1, 1)),
                     "min": np.zeros((3, 1, 1)), "max": np.ones((3, 1, 1))} for name in cameras}
    before, after = make_pre_post_processors(config, dataset_stats=found)
    for part in (policy, before, after):
        part.save_pretrained(folder)


small = dict(horizon=8, n_action_steps=4, down_dims=(16, 32), n_groups=4, diffusion_step_embed_dim=16,
             num_train_timesteps=10)
root = sys.argv[1]
write(root + "/state", "diffusion", ["observation.state", "observation.environment_state"], **small)
write(root + "/looks", "diffusion", ["observation.state", *cameras], spatial_softmax_num_keypoints=4,
      use_group_norm=True, noise_scheduler_type="DDIM", num_inference_steps=4, **small)
write(root + "/act", "act", ["observation.state", cameras[0]], chunk_size=6, n_action_steps=3, dim_model=32, n_heads=2,
      dim_feedforward=32, n_encoder_layers=1, n_vae_encoder_layers=1, latent_dim=8)
"""

ANSWER = """
import sys
import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.utils import populate_queues

torch.set_num_threads(1)
root, out = sys.argv[1:]
given = np.load(root + "/inputs.npz")
answers = {}
for kind in ("state", "looks", "act"):
    folder = root + "/" + kind
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder)
    before, after = make_pre_post_processors(config, pretrained_path=folder)
    names = [name for name in given.files if name in config.input_features]
    policy.reset()
    rows = []
    # as in their evaluation: one observation at a time through the pre-processor, one action out of `select_action`
    for step in range(2 if kind != "act" else 1):
        batch = {}
        for name in names:
            values = torch.from_numpy(given[name][:, -1] if kind == "act" else given[name][:, step])
            batch[name] = values.permute(0, 3, 1, 2).float() / 255 if values.ndim == 4 else values
        batch = {name: values for name, values in before(batch).items() if name in names}
        if step + 1 < config.n_obs_steps:
            if config.image_features:
                batch["observation.images"] = torch.stack([batch[name] for name in config.image_features], dim=-4)
            policy._queues = populate_queues(policy._queues, batch)
    torch.manual_seed(int(given["seed"]))
    noise = {} if kind == "act" else {"noise": torch.from_numpy(given["noise"])}
    for k in range(config.n_action_steps):
        rows.append(after(policy.select_action(dict(batch), **noise)).numpy())
    answers[kind] = np.stack(rows, axis=1)
np.savez(out, **answers)
"""

OLD = """
import glob
import os
import shutil
from safetensors.numpy import load_file, save_file

shutil.copytree(root + "/state", root + "/old")
weights = load_file(root + "/old/model.safetensors")
for first, place in (("normalize_inputs", "preprocessor"), ("unnormalize_outputs", "postprocessor")):
    (path,) = glob.glob(root + "/old/policy_" + place + "_step_*.safetensors")
    for name, values in load_file(path).items():
        feature, _, key = name.rpartition(".")
        if (feature == "action") == (first == "unnormalize_outputs"):
            weights[first + ".buffer_" + feature.replace(".", "_") + "." + key] = values
save_file(weights, root + "/old/model.safetensors")
for path in glob.glob(root + "/old/policy_*"):
    os.remove(path)
answers = {**np.load(out)}
np.savez(out, **answers, old=answers["state"])
"""
"""Writes the first policy once more, as lerobot did before 0.4: with the statistics among the weights."""
