"""`temper export`: a checkpoint as a folder to publish, written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from eval_hooks import EvalError
from eval_hooks.certificate import FILE, failed, read
from eval_hooks.files import CALIBRATION, read_json, write_atomic, write_json
from eval_hooks.json_text import json_text
from trainers import TrainError, announce
from trainers.card import card
from trainers.certify_forms import merged
from trainers.certify_subject import Subject, open_checkpoint, open_subject
from trainers.content import PARTS
from trainers.hashes import changed, checkpoint_hashes, hashes_of
from trainers.impersonal import base_name, impersonal, impersonal_tree
from trainers.recipe import Recipe
from trainers.rundir import Place
from trainers.template import saved_tokenizer

CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
           "preprocessor_config.json", "processor_config.json")  # fmt: skip
"""Files in which transformers may write where a model was loaded from."""


def export(recipe: Recipe, place: Place, step: int, to: Path, *, force: bool = False) -> Path:
    """Write a checkpoint's merged model, tokenizer, certificate and card to a new or empty folder; return it.

    Raises TrainError for a folder in use, and, unless forced, for a checkpoint without a passing certificate or with
    other files than that one names.
    """
    if to.is_dir() and any(to.iterdir()):
        raise TrainError(f"--to {to}: not empty; name a new folder")
    if to.exists() and not to.is_dir():
        raise TrainError(f"--to {to}: a file; name a new folder")
    folder = place.folder / "checkpoints" / f"checkpoint-{step}"
    certificate = read(folder)
    doubt = _doubt(recipe, place, step, folder, certificate)
    if doubt and not force:
        raise TrainError(f"export {folder}: {doubt}; --force writes it all the same")
    scratch = to.resolve().with_name(f".{to.name}-{secrets.token_hex(4)}")
    try:
        scratch.mkdir(parents=True)  # new: what is removed below is this command's own
    except OSError as error:
        raise TrainError(f"--to {to}: cannot be made: {error.strerror}; name another folder") from error
    try:
        _write(open_checkpoint(recipe, place, step), certificate if not doubt else None, doubt, scratch)
        os.replace(scratch, to)
    except OSError as error:
        raise TrainError(f"--to {to}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if doubt:
        announce(f"warning   {doubt}; written all the same (--force)")
    return to


def _doubt(recipe: Recipe, place: Place, step: int, folder: Path, certificate: Mapping[str, Any] | None) -> str:
    """Why a checkpoint is not proven; empty where it is."""
    name = f"temper certify {quote(str(folder))}"
    if certificate is None:
        why = _why_none(recipe, place, step)
        return f"it has no certificate, and can have none: {why}" if why else f"it has no certificate; {name} makes one"
    if different := changed(certificate["hashes"], checkpoint_hashes(folder, place.folder, recipe)):
        return f"not the files that were certified {certificate['made']}: {'; '.join(different)}"
    if not certificate["passed"]:
        return f"its certificate did not pass: {', '.join(failed(certificate['rows']))}; {name} shows it"
    return ""


def _why_none(recipe: Recipe, place: Place, step: int) -> str:
    """What keeps a checkpoint from being certified; empty where nothing does before its weights are loaded."""
    try:
        open_subject(recipe, place, step)
    except (TrainError, EvalError) as error:
        return str(error)
    return ""


def _write(subject: Subject, certificate: Mapping[str, Any] | None, doubt: str, folder: Path) -> None:
    try:
        model = merged(subject)
    except Exception as error:
        raise TrainError(f"export {subject.folder}: its weights cannot be loaded: {error}") from error
    tokenizer = saved_tokenizer(subject.folder, subject.recipe.model.trust_remote_code)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    for name in CONFIGS:
        if (folder / name).is_file():
            _publish(folder / name)
    if (fitted := _calibration(subject)).is_file():
        write_json(folder / CALIBRATION, impersonal_tree(read_json(fitted)))
    (folder / "README.md").write_text(card(subject, certificate, doubt, has_temperature=fitted.is_file()), "utf-8")
    if certificate:
        write_json(folder / FILE, {**published(certificate), "exported": hashes_of(folder, PARTS)})
    for file in folder.iterdir():
        _to_disk(file)


def _publish(file: Path) -> None:
    """Take the places out of a configuration; everything else in it stays as it was written."""
    written = read_json(file)
    public = impersonal_tree(written, whole=True)
    if public != written:
        write_atomic(file, (json_text(public, indent=2, ensure_ascii=False) + "\n").encode())


def published(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate without the places of the machine that made it: names of files in place of their paths."""
    rows = [{**row, **{key: impersonal(row[key]) for key in ("reason", "why") if key in row}}
            for row in certificate["rows"]]  # fmt: skip
    hashes = {
        part: {base_name(name): value for name, value in files.items()} for part, files in certificate["hashes"].items()
    }
    return {**certificate, "run": Path(certificate["run"]).name, "rows": rows, "hashes": hashes}


def _calibration(subject: Subject) -> Path:
    """The temperatures fitted where the checkpoint was measured."""
    beside = subject.folder / CALIBRATION
    return beside if beside.is_file() else subject.evaluation / CALIBRATION


def _to_disk(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
