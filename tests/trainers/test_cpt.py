"""Continued pretraining: every token is trained, packed documents do not see each other, long ones are cut, not cut off."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_mix import DataError
from tests.trainers.test_sft import logged, rows_loss, trained
from trainers.data import build_mix
from trainers.models import load_tokenizer
from trainers.recipe import Recipe
from trainers.run import train

Load = Callable[..., Recipe]
TEXTS = [f"Document {i}. " + f"It says {i} things, one after the other. " * (i % 4 + 1) for i in range(8)]


@pytest.fixture
def cpt(recipe: Load, tmp_path: Path) -> Load:
    """The tiny recipe as continued pretraining on eight documents."""
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    words = ("stage=cpt", "method.name=causal_lm", "data.train=[{source: jsonl, path: docs.jsonl}]", "eval.retain=[]",
             "train.max_steps=1", "train.learning_rate=0.0", "train.save_strategy=no", "train.global_batch_size=8")  # fmt: skip
    return lambda *more: recipe(*words, *more)


def test_every_token_of_every_document_is_trained_its_end_too(cpt: Load) -> None:
    """The first token has nothing before it; all others count, the end token among them."""
    loaded = cpt()
    tokenizer = load_tokenizer(loaded.model)
    mix = build_mix(loaded, tokenizer, show=False)
    assert all(row["labels"] == row["input_ids"] for row in mix.train)
    assert sorted(tokenizer.decode(row["input_ids"]) for row in mix.train) == sorted(
        text + tokenizer.eos_token for text in TEXTS
    )
    total, count = rows_loss(loaded, 8)
    assert logged(trained(loaded, "a"), "train/loss")[0] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split"])
def test_packed_documents_have_the_loss_of_each_alone(cpt: Load, strategy: str) -> None:
    total, count = rows_loss(cpt(), 8)
    packed = cpt("train.packing=true", f"train.packing_strategy={strategy}", "train.max_length=128")
    assert logged(trained(packed, strategy), "train/loss")[0] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("strategy", ["wrapped", "bfd_split"])
def test_a_long_document_loses_no_token(cpt: Load, strategy: str) -> None:
    """Pieces of 16 tokens: as many tokens as without packing; `wrapped` may drop less than one piece at the end."""
    loose = cpt()
    tokenizer = load_tokenizer(loose.model)
    tokens = build_mix(loose, tokenizer, show=False).manifest["mix"]["tokens"]
    packed = cpt("train.packing=true", f"train.packing_strategy={strategy}", "train.max_length=16")
    mix = build_mix(packed, tokenizer, show=False).manifest
    assert mix["train"]["jsonl"]["dropped"] == {}
    assert tokens - 16 < mix["mix"]["tokens"] <= tokens
    if strategy == "bfd_split":
        assert mix["mix"]["tokens"] == tokens


def test_rows_of_another_shape_are_refused_by_row(recipe: Load) -> None:
    with pytest.raises(
        DataError, match=r"jsonl \(.*rows\.jsonl\) row 1: its shape is messages; this stage trains on text"
    ):
        train(recipe("stage=cpt", "method.name=causal_lm"))
