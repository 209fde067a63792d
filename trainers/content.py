"""The files that a model is loaded from, and their hashes."""

from pathlib import Path

from data_mix.keys import file_hash

PARTS = {
    "weights": ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*", "adapter_model.bin"),
    "tokenizer": ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.tiktoken"),
    "template": ("chat_template*", "additional_chat_templates/*"),
    "config": ("config.json", "generation_config.json", "adapter_config.json"),
}
"""Files of a checkpoint's folder. A template may also stand inside tokenizer_config.json."""
CODE = ("*.py",)
"""What `model.trust_remote_code` runs of a model's folder."""


def model_files(name: str, revision: str | None = None) -> dict[str, str]:
    """File -> sha256 of a model's or adapter's folder; of a hub id its name -> the commit that is loaded."""
    folder = Path(name)
    if not folder.is_dir():
        return {name: commit_of(name, revision)}
    patterns = [pattern for part in (*PARTS.values(), CODE) for pattern in part]
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    return {str(file): file_hash(file) for file in files}


def commit_of(name: str, revision: str | None) -> str:
    """The commit of a hub id that lies in the hub's cache, else the revision asked for, or `newest`."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(file).parent.name if isinstance(file, str) else revision or "newest"
