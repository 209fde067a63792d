"""In which order the rows of a mix are trained: what the trainer's own loader yields, on one rank and on two."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from accelerate.data_loader import BatchSamplerShard

from trainers import TrainError
from trainers.arguments import training_arguments
from trainers.assemble import trainer_of
from trainers.models import load_model
from trainers.recipe import Recipe
from trainers.run import prepare

Load = Callable[..., Recipe]
MIX = (
    "data.train=[{source: jsonl, name: a, path: rows.jsonl, weight: 3}, {source: jsonl, name: b, path: b.jsonl, "
    "weight: 1}]",
    "eval.retain=[]",
    "train.per_device_train_batch_size=4",
)


@pytest.fixture
def trainer(recipe: Load, tmp_path: Path) -> Callable[..., Any]:
    """Words -> the recipe's trainer on a mix of 16 rows and 5: three of the first source, then one of the second."""
    chats = [[{"role": "user", "content": f"b{i}"}, {"role": "assistant", "content": str(i)}] for i in range(5)]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))

    def made(*words: str) -> Any:
        run = prepare(recipe(*MIX, *words))
        model = load_model(run.recipe.model, run.tokenizer)
        return trainer_of(run.recipe, run.arguments, run.mix.train, run.tokenizer, model, {})

    return made


def rows_of(loader: Any, mix: Sequence[Any], epochs: int = 1) -> list[list[int]]:
    """Places in the mix of the rows that each epoch yields."""
    found = []
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        batches = [(ids, mask) for batch in loader
                   for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]  # fmt: skip
        found.append([mix.index(ids[mask.bool()].tolist()) for ids, mask in batches])
    return found


def test_in_sequence_the_mix_is_trained_as_it_lies_every_epoch_alike(trainer: Callable[..., Any]) -> None:
    made = trainer("train.train_sampling_strategy=sequential")
    mix = list(made.train_dataset["input_ids"])
    due = list(range(len(mix)))
    assert rows_of(made.get_train_dataloader(), mix, epochs=2) == [due, due]


def test_as_a_rule_each_epoch_shuffles_the_mix_anew_by_the_runs_seed(trainer: Callable[..., Any]) -> None:
    import transformers

    found = []
    for seed in (7, 7, 8):
        made = trainer(f"train.seed={seed}")
        mix = list(made.train_dataset["input_ids"])
        transformers.set_seed(seed)
        first, second = rows_of(made.get_train_dataloader(), mix, epochs=2)
        assert sorted(first) == sorted(second) == list(range(len(mix)))
        assert first != second and sorted(first) not in (first, second)
        found.append((first, second))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("strategy", ["sequential", "random"])
def test_two_ranks_take_together_what_one_takes(trainer: Callable[..., Any], strategy: str) -> None:
    """Micro-batches of 2 on either rank: step by step the rows of one rank's 4, in their order."""
    import transformers

    def batches(rows: int) -> list[list[int]]:
        made = trainer(f"train.train_sampling_strategy={strategy}", f"train.per_device_train_batch_size={rows}",
                       "train.global_batch_size=4")  # fmt: skip
        transformers.set_seed(7)
        sampler = made.get_train_dataloader().batch_sampler
        if rows == 4:
            return list(sampler)
        plain = list(sampler)
        shards = [list(BatchSamplerShard(plain, num_processes=2, process_index=rank)) for rank in (0, 1)]
        return [a + b for a, b in zip(*shards, strict=True)]

    assert batches(4)[:5] == batches(2)[:5]  # the sixth is one row, which ranks fill up to a micro-batch each


def test_packed_in_sequence_documents_lie_as_in_the_mix(recipe: Load, tmp_path: Path) -> None:
    """Laid end to end in rows of 8; as a rule they are shuffled before. 24 documents of their own words."""
    texts = [f"document {i} of {i}" for i in range(24)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    words = ("stage=cpt", "data.train=[{source: jsonl, path: texts.jsonl}]", "eval.retain=[]", "train.packing=true",
             "train.packing_strategy=wrapped", "train.max_length=8")  # fmt: skip
    found = {}
    for strategy in ("sequential", "random"):
        run = prepare(recipe(*words, f"train.train_sampling_strategy={strategy}"))
        ids = [token for row in run.mix.train["input_ids"] for token in row]
        said = run.tokenizer.decode(ids, skip_special_tokens=False).split(run.tokenizer.eos_token)
        found[strategy] = [text for text in said if text]
    plain = prepare(recipe(*words, "train.packing=false", "train.packing_strategy=null", "train.max_length=32"))
    due = [plain.tokenizer.decode(row, skip_special_tokens=True) for row in plain.mix.train["input_ids"]]
    assert found["sequential"] == due
    assert sorted(found["random"]) == sorted(due) and found["random"] != due


def test_prompts_are_asked_as_they_lie_where_trls_shuffle_is_off(recipe: Load) -> None:
    """Two prompts a step, four answers each."""
    words = ("stage=rlvr", "method.name=dr_grpo", "data.train=[{source: curriculum, n: 6, kinds: [sum]}]",
             "eval.retain=[]", "train.global_batch_size=8", "train.num_generations=4")  # fmt: skip
    for shuffle, as_they_lie in ((False, True), (True, False)):
        run = prepare(recipe(*words, f"train.shuffle_dataset={str(shuffle).lower()}"))
        model = load_model(run.recipe.model, run.tokenizer)
        made = trainer_of(run.recipe, run.arguments, run.mix.train, run.tokenizer, model, {})
        asked = list(made._get_train_sampler())
        prompts = list(dict.fromkeys(asked))
        assert sorted(prompts) == list(range(6)) and all(asked.count(i) % 4 == 0 for i in prompts)
        assert (prompts == list(range(6))) == as_they_lie


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage=rlvr", "data.train=[{source: curriculum}]", "train.train_sampling_strategy=sequential"),
         "train.train_sampling_strategy 'sequential': stage rlvr has random .*train.shuffle_dataset: false"),
        (("stage=dpo", "data.train=[{source: sql_pairs}]", "train.train_sampling_strategy=group_by_length"),
         "'group_by_length': stage dpo has random .*sequential"),
        (("train.train_sampling_strategy=sequental",), "'sequental': stage sft has random .*batch_rebalance"),
    ],
    ids=["rlvr", "dpo", "misspelt"],
)  # fmt: skip
def test_an_order_that_would_be_passed_over_is_refused(recipe: Load, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(TrainError, match=said):
        training_arguments(recipe(*words))
