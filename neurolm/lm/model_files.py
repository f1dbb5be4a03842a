"""The files that `load` reads for a language model, found on this machine without downloading anything."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from neurolm.storage import cache_folder

HUB_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
}
SHIPPED = Path(str(resources.files("neurolm.lm") / "shipped"))
MODEL_FILES = (  # that our own loader or transformers' ones read; of a hub model nothing else is fetched, and no code
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "tokenizer*.model",
    "*.model",
    "*.tiktoken",
    "vocab*",
    "merges.txt",
    "special_tokens*.json",
    "added_tokens.json",
    "adapter_config.json",
)
NOT_READ = "checkpoint.safetensors"  # of a training that goes on in the same folder


def model_files(name: str) -> list[Path]:
    """Weights, config and tokenizer of a model by the names that `load` takes; none where it is not on this machine yet."""
    folder = _local_folder(name)
    return [] if folder is None else model_files_in(folder)


def model_files_in(folder: Path) -> list[Path]:
    """Weights, config and tokenizer in a model folder."""
    found = {path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file() and path.name != NOT_READ}
    return sorted(found)


def _local_folder(name: str) -> Path | None:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name == "smollm2-135m":
        return cache_folder("models") / name
    if name.startswith("neurolm/"):
        return SHIPPED / name.removeprefix("neurolm/")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        return None
    return _hub_snapshot(HUB_NAMES.get(name, name))


def _hub_snapshot(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repository, "config.json")
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None
