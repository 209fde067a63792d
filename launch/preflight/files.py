"""Keys and files: the recipe is read, and what it names is there and can be opened."""

from pathlib import Path

from eval_hooks.files import read_json
from launch.findings import Finding, bad, ok
from launch.preflight.subject import Subject
from trainers.models import locate


def check(subject: Subject) -> list[Finding]:
    """Model, tokenizer, and the first rows of every source; raises what they raise."""
    recipe = subject.recipe
    located = locate(recipe.model.path)
    folder = Path(located.base)
    if missing := missing_weights(folder) if folder.is_dir() else []:
        return [bad(f"{folder}: no {', '.join(missing[:3])}", "copy the model again, whole")]
    kind = subject.config.model_type
    tokens = len(subject.tokenizer)
    sources = [f"{name} ({len(rows)} rows looked at)" for name, rows in subject.sample.items()]
    return [ok(f"all keys known; {kind} model, tokenizer of {tokens:,} tokens; {', '.join(sources)}")]


def missing_weights(folder: Path) -> list[str]:
    """Files of weights that a model folder should have and has not, or has empty."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(map(str, read_json(index).get("weight_map", {}).values())))
    else:
        there = [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.gguf")]
        names = [file.name for file in there] or ["model.safetensors"]
    return [name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size]
