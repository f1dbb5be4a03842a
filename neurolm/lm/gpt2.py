"""GPT-2 checkpoints of transformers in our `Transformer`, and back.

The two differ in names, and in that transformers keeps linear maps transposed (its Conv1D is
x W, ours is x W^T).

References
----------
Radford et al. (2019), Language models are unsupervised multitask learners.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import torch

from neurolm.checks import InputError, bad, bad_file
from neurolm.lm.byte_pair_tokenizer import END_OF_TEXT, BytePairTokenizer
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.transformer import Transformer
from neurolm.lm.transformers_folder import check_weight_files, load_transformers_tokenizer, reading
from neurolm.lm.transformers_tokenizer import TransformersTokenizer
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
    "quantization_config": (None,),
}
_SIZES = ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions")
_ASKS_MORE = ("add_prefix_space", "add_bos_token", "add_eos_token", "auto_map")  # of a tokenizer
_OTHER_NAMES = {"hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"}


def is_standard_gpt2(config: dict[str, Any]) -> bool:
    """Whether a transformers config describes exactly what our Transformer computes, in GPT-2's own names."""
    return (
        config.get("model_type") == "gpt2"
        and all(type(config.get(name)) is int for name in _SIZES)
        and not _OTHER_NAMES & config.keys()
        and all(config.get(name, values[0]) in values for name, values in _STANDARD.items())
    )


def load_gpt2(folder: str | Path, *, tokenizer: Tokenizer | None = None, name: str | None = None) -> Transformer:
    """Read a GPT-2 folder of transformers (config.json and safetensors, in one file or several).

    The weights are those that transformers would take: model.safetensors, or else the files that
    model.safetensors.index.json names.

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
    weights = _read_weights(folder)
    head, embedding = weights.get("lm_head.weight"), weights.get("transformer.wte.weight")
    if head is not None and (embedding is None or not torch.equal(head, embedding)):
        raise bad_file(folder, "has an output map of its own (lm_head.weight)", "Load it with implementation='transformers'.")
    tokenizer = tokenizer or gpt2_tokenizer(folder)
    with torch.device("meta"):  # no time is spent on weights that are replaced
        model = Transformer(
            tokenizer,
            width=config["n_embd"],
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            max_context=config["n_positions"],
            n_rows=config["vocab_size"],
            mlp_width=config.get("n_inner"),
            dropout=config.get("resid_pdrop", 0.1),
            eps=config.get("layer_norm_epsilon", 1e-5),
            name=name or folder.name,
        )
    fill_weights(model, from_transformers(weights), folder, assign=True)
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
    if isinstance(lm.tokenizer, (BytePairTokenizer, TransformersTokenizer)):
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


def gpt2_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a GPT-2 folder: our byte pairs where it is exactly GPT-2's, else whatever transformers reads.

    Ours needs no transformers, which takes seconds to import. It is taken only where nothing in the folder
    asks for more than GPT-2's own splitting, merges and one special token.
    """
    with contextlib.suppress(InputError):
        eos = _plain_separator(folder)
        if eos is not None and (folder / "tokenizer.json").is_file():
            return BytePairTokenizer.from_tokenizers_file(folder / "tokenizer.json", eos=eos)
        if eos is not None:
            return BytePairTokenizer.from_files(folder / "vocab.json", folder / "merges.txt", eos=eos)
    return load_transformers_tokenizer(folder)


def _plain_separator(folder: Path) -> str | None:
    """The one special token of a tokenizer that is exactly GPT-2's in kind; None for any other."""
    settings = {**_json_of(folder / "special_tokens_map.json"), **_json_of(folder / "tokenizer_config.json")}
    if any(settings.get(key) for key in _ASKS_MORE) or (folder / "added_tokens.json").is_file():
        return None
    of_gpt2 = settings.get("tokenizer_class") in (None, "GPT2Tokenizer", "GPT2TokenizerFast")
    if not of_gpt2 and settings.get("tokenizer_class") not in ("PreTrainedTokenizerFast", "TokenizersBackend"):
        return None
    named = {key: value for key, value in settings.items() if key.endswith(("_token", "_tokens")) and value}
    tokens = {**(dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT) if of_gpt2 else {}), **named}
    texts = {_content(token) for token in [*tokens.values(), *settings.get("added_tokens_decoder", {}).values()]}
    eos = texts.pop() if len(texts) == 1 and "eos_token" in tokens else None
    if eos is None:
        return None
    if (folder / "tokenizer.json").is_file():
        return eos if _is_plain(_json_of(folder / "tokenizer.json"), eos) else None
    return eos if of_gpt2 and eos in _json_of(folder / "vocab.json") else None


def _content(token: Any) -> str | None:
    """The text of a token in a tokenizer's settings; None for anything else."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _is_plain(pipeline: dict[str, Any], eos: str) -> bool:
    """Whether a tokenizer.json is GPT-2's pipeline with one special token."""
    model, before = pipeline.get("model") or {}, pipeline.get("pre_tokenizer") or {}
    added = pipeline.get("added_tokens") or []
    options = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
    return (
        (model.get("type"), before.get("type")) == ("BPE", "ByteLevel")
        and before.get("use_regex", True)
        and not before.get("add_prefix_space")
        and not pipeline.get("normalizer")
        and not any(model.get(name) for name in options)
        and (pipeline.get("decoder") or {}).get("type") == "ByteLevel"
        and (pipeline.get("post_processor") or {}).get("type", "ByteLevel") == "ByteLevel"
        and [token["content"] for token in added if token.get("special")] == [eos]
        and not any(token.get(name) for token in added for name in ("lstrip", "rstrip", "single_word"))
        and len(added) == 1
    )


def _json_of(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; an empty one where the file is missing or something else."""
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _our_name(name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    match = re.fullmatch(r"h\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None or match[2] not in _NAMES:
        return name  # unknown: `fill_weights` names it
    return f"blocks.{match[1]}.{_NAMES[match[2]]}.{match[3]}"


def _is_linear(name: str) -> bool:
    return re.search(r"\.c_(attn|proj|fc)\.weight$", name) is not None


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    check_weight_files(folder)
    files = ["model.safetensors"]
    if not (folder / files[0]).is_file():
        index = read_json(folder / "model.safetensors.index.json")
        files = sorted(set(index["weight_map"].values())) if isinstance(index.get("weight_map"), dict) else []
    weights: dict[str, torch.Tensor] = {}
    for file in files:
        with reading(folder / file, "is not a whole safetensors file", "Copy or download it again."):
            weights |= load_file(folder / file)
    return weights


def _transformers_config(lm: Transformer) -> dict[str, Any]:
    config, eos = lm.config, lm.tokenizer.eos_id
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "vocab_size": lm.n_rows,
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
        "bos_token_id": lm.tokenizer.bos_id,
        "eos_token_id": eos,
        "dtype": str(lm.embedding.weight.dtype).removeprefix("torch."),
    }
