"""Model folders of strangers."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import torch

from tests.hostile.folders import DEEP, ESCAPES, PLUGIN

Make = Callable[[Path], None]
"""Spoils a model folder that was right."""


class Theirs:
    """Runs a command when it is unpickled."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"echo run > {self.canary}",)


def pickled(folder: Path) -> None:
    """Weights that are a pickle with a command in it, in torch's own format and bare."""
    (folder / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": Theirs("$CANARY")}, folder / "pytorch_model.bin")


def bare_pickle(folder: Path) -> None:
    """The same without a zip file around it."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Theirs("$CANARY")))


def with_code(folder: Path) -> None:
    """Configuration, model and tokenizer name classes in a Python file of the folder."""
    (folder / "modeling_theirs.py").write_text(PLUGIN + "class Theirs: pass\n")
    for name, key in (("config.json", "AutoModelForCausalLM"), ("config.json", "AutoConfig"),
                      ("tokenizer_config.json", "AutoTokenizer")):  # fmt: skip
        whole = json.loads((folder / name).read_text())
        reference = "modeling_theirs.Theirs"
        whole.setdefault("auto_map", {})[key] = [reference, reference] if key == "AutoTokenizer" else reference
        whole["model_type"] = "theirs"
        (folder / name).write_text(json.dumps(whole))


def written(name: str, content: str | bytes) -> Make:
    """A file with other content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: None if (folder / name).write_bytes(data) else None


def configured(**changed: object) -> Make:
    """config.json with other values."""

    def make(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))

    return make


def templated(text: str) -> Make:
    """Another chat template."""
    return written("chat_template.jinja", text)


CHECKPOINTS: dict[str, Make] = {
    "weights are a pickle": pickled,
    "weights are a bare pickle": bare_pickle,
    "code beside the model": with_code,
    "weights cut short": written("model.safetensors", b"\xff" * 100),
    "a header of all memory": written("model.safetensors", (2**62).to_bytes(8, "little") + b"{}"),
    "deep JSON in config.json": written("config.json", DEEP),
    "a list for config.json": written("config.json", "[1]"),
    "deep JSON in tokenizer.json": written("tokenizer.json", DEEP),
    "deep JSON in tokenizer_config.json": written("tokenizer_config.json", DEEP),
    "deep JSON in generation_config.json": written("generation_config.json", DEEP),
    "another number of layers": configured(num_hidden_layers=3),
    "sizes that do not fit": configured(hidden_size=48, num_attention_heads=7),
    "an architecture that there is not": configured(model_type="nothing", architectures=["Nothing"]),
    "a kernel from the hub": configured(attn_implementation="stranger/kernel", _attn_implementation="stranger/kernel"),
    "a template that never ends": templated("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
    "a template of all memory": templated("{{ 'x' * 99999999999 }}"),
    "a template that reaches for Python": templated("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "a template with a big number": templated("{{ 9**(9**(9**9)) }}"),
    "a template of escapes": templated("{% for m in messages %}" + ESCAPES + "{{ m.content }}{% endfor %}"),
    "an adapter of a base that is a path": written("adapter_config.json", json.dumps(
        {"base_model_name_or_path": "../../../home/precious/checkpoint-1", "peft_type": "LORA"})),
    "an adapter of other types": written("adapter_config.json", "[1]"),
    "an adapter of itself": written("adapter_config.json", json.dumps({"base_model_name_or_path": ".", "peft_type": "LORA"})),
}  # fmt: skip
