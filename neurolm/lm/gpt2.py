"""GPT-2 checkpoints of transformers in our `Transformer`, and back.

The two differ in names, and in that transformers keeps linear maps transposed (its Conv1D is
x W, ours is x W^T).

References
----------
Radford et al. (2019), Language models are unsupervised multitask learners.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from neurolm.checks import bad, bad_file
from neurolm.lm.byte_pair_tokenizer import END_OF_TEXT, BytePairTokenizer
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.transformer import Transformer
from neurolm.lm.weights import fill_weights
from neurolm.storage import read_json, whole_file, write_json

SIZES = {  # published: width, layers, heads
    "gpt2": (768, 12, 12),
    "gpt2-medium": (1024, 24, 16),
    "gpt2-large": (1280, 36, 20),
    "gpt2-xl": (1600, 48, 25),
}
_NAMES = {  # transformers -> ours, within a block
    "ln_1": "norm_1",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_2": "norm_2",
    "mlp.c_fc": "mlp_in",
    "mlp.c_proj": "mlp_out",
}
_OUTSIDE = {
    "wte.weight": "embedding.weight",
    "wpe.weight": "positions.weight",
    "ln_f.weight": "norm.weight",
    "ln_f.bias": "norm.bias",
}
_BUFFERS = re.compile(r"\.attn\.(masked_)?bias$")  # the causal mask, which old checkpoints carry
_STANDARD = {  # settings that change the arithmetic, and what our Transformer computes
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}


def is_standard_gpt2(config: dict[str, Any]) -> bool:
    """Whether a transformers config describes exactly what our Transformer computes."""
    return config.get("model_type") == "gpt2" and all(config.get(name, values[0]) in values for name, values in _STANDARD.items())


def load_gpt2(folder: str | Path, *, tokenizer: Tokenizer | None = None, name: str | None = None) -> Transformer:
    """Read a GPT-2 folder of transformers (config.json and safetensors, in one file or several).

    Raises
    ------
    FileError
        If it is another architecture, a variant that computes something else, or damaged.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    if not is_standard_gpt2(config):
        problem = f"does not describe a standard GPT-2 (model_type {config.get('model_type')!r})"
        raise bad_file(folder / "config.json", problem, "Load it with implementation='transformers'.")
    tokenizer = tokenizer or gpt2_tokenizer(folder)
    with torch.device("meta"):  # no time is spent on weights that are replaced
        model = Transformer(
            tokenizer,
            width=config["n_embd"],
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            max_context=config["n_positions"],
            mlp_width=config.get("n_inner"),
            dropout=config.get("resid_pdrop", 0.1),
            eps=config.get("layer_norm_epsilon", 1e-5),
            name=name or folder.name,
        )
    fill_weights(model, from_transformers(_read_shards(folder)), folder, assign=True)
    return model


def save_gpt2(lm: Transformer, folder: str | Path) -> None:
    """Write a Transformer so that transformers reads it as GPT2LMHeadModel.

    Raises
    ------
    InputError
        If the model has no biases, which GPT-2 has.
    """
    from safetensors.torch import save_file

    if not lm.config["bias"]:
        raise bad("model", "have biases, as GPT-2 does", "one without", "Train it with bias=True.")
    folder = Path(folder)
    weights = {f"transformer.{key}": value for key, value in to_transformers(lm.state_dict()).items()}
    with whole_file(folder / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})
    if isinstance(lm.tokenizer, BytePairTokenizer):
        lm.tokenizer.save_for_transformers(folder)
    write_json(folder / "config.json", _transformers_config(lm))


def from_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of GPT2Model or GPT2LMHeadModel under our names, linear maps transposed."""
    ours = {}
    for name, tensor in weights.items():
        name = name.removeprefix("transformer.")
        if name == "lm_head.weight" or _BUFFERS.search(name):
            continue  # tied to wte, and masks
        ours[_our_name(name)] = tensor.T if _is_linear(name) else tensor
    return ours


def to_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of our Transformer under the names of GPT2Model, linear maps transposed."""
    outside = {ours: theirs for theirs, ours in _OUTSIDE.items()}
    theirs = {}
    for name, tensor in weights.items():
        if name in outside:
            theirs[outside[name]] = tensor.contiguous()
            continue
        _, index, rest = name.split(".", 2)
        part, kind = rest.rsplit(".", 1)
        their_part = next(key for key, value in _NAMES.items() if value == part)
        full = f"h.{index}.{their_part}.{kind}"
        theirs[full] = tensor.T.contiguous() if _is_linear(full) else tensor.contiguous()
    return theirs


def gpt2_tokenizer(folder: Path) -> BytePairTokenizer:
    """The byte-pair tokenizer of a GPT-2 folder: tokenizer.json, or vocab.json and merges.txt."""
    settings = folder / "tokenizer_config.json"
    eos = read_json(settings).get("eos_token", END_OF_TEXT) if settings.is_file() else END_OF_TEXT
    eos = eos["content"] if isinstance(eos, dict) else eos
    if (folder / "tokenizer.json").is_file():
        return BytePairTokenizer.from_tokenizers_file(folder / "tokenizer.json", eos=eos)
    if (folder / "vocab.json").is_file():
        return BytePairTokenizer.from_files(folder / "vocab.json", folder / "merges.txt", eos=eos)
    raise bad_file(folder, "holds no tokenizer", "Add tokenizer.json, or give `tokenizer`.")


def _our_name(name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    match = re.fullmatch(r"h\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None or match[2] not in _NAMES:
        return name  # unknown: `fill_weights` names it
    return f"blocks.{match[1]}.{_NAMES[match[2]]}.{match[3]}"


def _is_linear(name: str) -> bool:
    return re.search(r"\.c_(attn|proj|fc)\.weight$", name) is not None


def _read_shards(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise bad_file(folder, "holds no safetensors file", "Only safetensors are read; convert older weight files first.")
    weights: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            weights |= load_file(file)
        except (OSError, SafetensorError) as error:
            raise bad_file(file, f"is not a whole safetensors file ({error})", "Copy it anew.") from None
    return weights


def _transformers_config(lm: Transformer) -> dict[str, Any]:
    config, eos = lm.config, lm.tokenizer.eos_id
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "vocab_size": config["vocab_size"],
        "n_embd": config["width"],
        "n_layer": config["n_layers"],
        "n_head": config["n_heads"],
        "n_positions": config["max_context"],
        "n_inner": config["mlp_width"],
        "layer_norm_epsilon": config["eps"],
        "attn_pdrop": config["dropout"],
        "embd_pdrop": config["dropout"],
        "resid_pdrop": config["dropout"],
        "tie_word_embeddings": True,
        "bos_token_id": eos,
        "eos_token_id": eos,
        "dtype": str(lm.embedding.weight.dtype).removeprefix("torch."),
    }
