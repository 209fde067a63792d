"""The tokenizer and template that all evaluations of a run folder read with: those of its first base, saved there."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval_hooks.files import read_json
from eval_hooks.json_text import json_text
from eval_hooks.ranks import from_writer
from eval_hooks.storage.inside import remove
from trainers.recipe import ModelSection
from trainers.template import saved_tokenizer

FOLDER = "eval_tokenizer"
KWARGS = "chat_template_kwargs.json"


def eval_tokenizer(root: Path, tokenizer: Any, model: ModelSection, main: bool) -> tuple[Any, Mapping[str, Any]]:
    """(tokenizer, arguments of its template): as saved in the folder, else the model's own, which are then saved.

    So a stage that brings a template, tokens or an end token of its own, or a recipe that was edited before it is
    resumed, is asked as the first base was.
    """
    folder = root / FOLDER
    if from_writer(main and folder.is_dir()):
        return saved_tokenizer(folder, model.trust_remote_code), read_json(folder / KWARGS)
    if main:
        part = folder.with_name(folder.name + ".part")
        remove(part, root)
        tokenizer.save_pretrained(part)
        (part / KWARGS).write_text(json_text(dict(model.chat_template_kwargs)), "utf-8")
        part.rename(folder)
    return copy.deepcopy(tokenizer), model.chat_template_kwargs
