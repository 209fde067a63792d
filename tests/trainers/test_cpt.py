"""Continued pretraining: every token is trained, packed documents do not see each other, long ones are cut, not cut off."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_mix import DataError
from tests.trainers.conftest import resumed_is_unbroken
from tests.trainers.test_sft import logged, rows_loss, trained
from trainers import TrainError
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


STRATEGIES = ["wrapped", "bfd", "bfd_split"]
PACKED = ("train.packing=true", "train.max_length=128")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_packed_documents_have_the_loss_and_the_gradient_of_each_alone(cpt: Load, strategy: str) -> None:
    """Kept apart: the logged loss is the token mean of documents one by one, the gradient norm that of unpacked rows."""
    total, count = rows_loss(cpt(), 8)
    loose = trained(cpt("train.per_device_train_batch_size=8"), "loose")
    packed = trained(cpt(*PACKED, f"train.packing_strategy={strategy}", "data.across_documents=false"), strategy)
    if strategy == "wrapped":  # a document cut in two loses the prediction of its second piece's first token
        pieces = build_mix(cpt(*PACKED, "train.packing_strategy=wrapped"), load_tokenizer(cpt().model), show=False)
        assert sum(map(len, pieces.train["input_ids"])) == count + 8
        return
    assert logged(packed, "train/loss")[0] == pytest.approx(total / count, rel=1e-5)
    assert logged(packed, "train/grad_norm")[0] == pytest.approx(logged(loose, "train/grad_norm")[0], rel=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("across", [False, True])
def test_a_changed_document_moves_the_others_loss_only_where_they_see_each_other(
    cpt: Load, tmp_path: Path, strategy: str, across: bool
) -> None:
    """The longest document's words change, not its length; the loss of the labels of all others is computed."""
    losses = []
    for words in ("one two three", "six ten nines"):
        rows = [{"text": " ".join([words] * 20)}, *({"text": text} for text in TEXTS[:3])]
        (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        loaded = cpt("train.packing=true", "train.max_length=512", f"train.packing_strategy={strategy}",
                     f"data.across_documents={str(across).lower()}")  # fmt: skip
        losses.append(others_loss(loaded, words))
    assert (losses[0] == pytest.approx(losses[1], rel=1e-6)) != across


def others_loss(recipe: Recipe, words: str) -> float:
    """Summed loss of a packed batch as the trainer's collator lays it out, without the document that holds `words`."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from trainers.models import load_model

    tokenizer = load_tokenizer(recipe.model)
    mix, model = build_mix(recipe, tokenizer, show=False), load_model(recipe.model, tokenizer).eval()
    assert len(mix.train) == 1
    batch = DataCollatorForLanguageModeling(pad_token_id=2, padding_free=True)(list(mix.train))
    ids, labels = batch["input_ids"], batch["labels"].clone()
    own = tokenizer(" ".join([words] * 20))["input_ids"]
    begin = next(i for i in range(ids.shape[1]) if ids[0, i : i + len(own)].tolist() == own)
    labels[0, begin : begin + len(own) + 2] = -100  # its end token, and the next document's first
    with torch.no_grad():
        logits = model(ids, position_ids=batch["position_ids"], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum")
    return loss.item()


def test_resumed_is_unbroken(cpt: Load) -> None:
    resumed_is_unbroken(cpt, *PACKED, "train.global_batch_size=1", "train.learning_rate=1e-2", steps=3)


def test_until_tokens_is_the_length_of_the_run(cpt: Load) -> None:
    """One epoch over as many tokens; a number of steps beside it is refused."""
    run = trained(cpt("train.max_steps=null", "data.until_tokens=100", "train.global_batch_size=2"), "until")
    manifest = json.loads((run / "data.manifest.json").read_text())["mix"]
    assert 100 <= manifest["tokens"] < 200
    assert logged(run, "train/num_tokens")[-1] == manifest["tokens"]
    with pytest.raises(TrainError, match=r"train.max_steps: data.until_tokens says how long the run is"):
        train(cpt("data.until_tokens=100"))


def test_documents_that_are_not_packed_cannot_see_each_other(cpt: Load) -> None:
    with pytest.raises(TrainError, match="only packed documents can see each other"):
        train(cpt("data.across_documents=true"))


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


def test_rows_of_another_shape_are_refused_by_line(recipe: Load) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:1.*its shape is messages; this stage trains on text"):
        train(recipe("stage=cpt", "method.name=causal_lm"))
