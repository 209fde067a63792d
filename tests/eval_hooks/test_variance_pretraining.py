"""Five small models trained from five seeds: in cloze form they know their corpus early, in letters they guess on.

Madaan et al. 2024's demonstration, smaller so that it takes seconds: a 0.5M-parameter Llama, 32 pairs of key and value, ten
checkpoints, the same four-option questions in both forms, scored, tabled and read as any run's are.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from eval_hooks.config import TaskSpec
from eval_hooks.items import ChoiceItem, ChoiceSet
from eval_hooks.measure import measure
from eval_hooks.ready import Ready, reader_of, ready
from eval_hooks.table import write_table
from eval_hooks.variance import Variance, variance
from eval_hooks.variance.words import doubts
from eval_hooks.variants import prompt
from tests.conftest import tiny_llama

pytestmark = pytest.mark.soak
PAIRS, STEPS, SEEDS = 32, tuple(range(0, 120, 12)), range(5)
FORMS = {"letters": "olmes_mcf", "cloze": "olmes_cf"}


def questions() -> ChoiceSet:
    rng = np.random.default_rng(0)
    value = rng.permutation(PAIRS)
    items = []
    for key in range(PAIRS):
        gold = int(rng.integers(4))
        options = [f"v{v}" for v in rng.choice(np.delete(np.arange(PAIRS), value[key]), 4, replace=False)]
        options[gold] = f"v{value[key]}"
        items.append(
            ChoiceItem(item_id=f"keys/{key}", subject="keys", question=f"k{key}", choices=tuple(options), gold=gold)
        )
    return ChoiceSet(items=tuple(items))


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A token a word."""
    header = (
        "The following are multiple choice questions (with answers) about keys. Question: Answer: A. B. C. D. A B C D"
    )
    words = [
        "<unk>",
        "<s>",
        "</s>",
        *dict.fromkeys(header.split()),
        *(f"{kind}{i}" for kind in "kv" for i in range(PAIRS)),
    ]
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", eos_token="</s>", pad_token="</s>")


def pretrain(folder: Path, seed: int, tokenizer: Any, data: ChoiceSet) -> None:
    """Weights and order of the rows from the seed; a table of both forms at each checkpoint."""
    model = tiny_llama(len(tokenizer), seed, hidden_size=128, intermediate_size=256)
    reader = reader_of(model, tokenizer, {})
    asked = [
        ready(TaskSpec(task="mmlu", name=name, variant=variant, shots=0), "retain", reader, data)
        for name, variant in FORMS.items()
    ]
    corpus = torch.tensor(
        tokenizer([f"{prompt(item, (), 'olmes_cf')} {item.choices[item.gold]}" for item in data.items])["input_ids"]
    )
    optimizer, rng = torch.optim.AdamW(model.parameters(), lr=2e-3), torch.Generator().manual_seed(seed)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            keep(folder / "evals" / f"step-{step}", step, asked, model, reader)
        batch = corpus[torch.randint(PAIRS, (16,), generator=rng)]
        model.train()
        model(input_ids=batch, labels=batch, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    (folder / "recipe.resolved.json").write_text(json.dumps({"train": {"seed": seed, "learning_rate": 2e-3}}))


def keep(folder: Path, step: int, asked: list[Ready], model: Any, reader: Any) -> None:
    folder.mkdir(parents=True)
    for task in asked:
        write_table(measure(task, model.eval(), reader), folder / f"{task.name}.parquet")
    tasks = {task.name: {"status": "ok", "prompt_hash": task.prompt_hash} for task in asked}
    (folder / "summary.json").write_text(json.dumps({"step": step, "tokens": step * 64 or None, "tasks": tasks}))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Variance:
    """The spread over the five runs."""
    root, tokenizer, data = tmp_path_factory.mktemp("seeds"), word_tokenizer(), questions()
    for seed in SEEDS:
        pretrain(root / f"run{seed}", seed, tokenizer, data)
    return variance([str(root / f"run{seed}") for seed in SEEDS], out=root / "out")


def accuracy(found: Variance, task: str) -> Any:
    return next(one for one in found.of(task) if one.metric == "accuracy")


def above_chance_from(found: Variance, task: str) -> int | None:
    """The step from which on the mean over runs is two standard errors of 5 x 32 guesses above a quarter: .318."""
    means = np.array(accuracy(found, task).scores).mean(axis=0)
    at_chance = [step for step, mean in zip(STEPS, means, strict=True) if mean <= 0.25 + 2 * np.sqrt(0.25 * 0.75 / 160)]
    return next((step for step in STEPS if step > max(at_chance, default=-1)), None)


def test_cloze_is_above_chance_long_before_letters(found: Variance) -> None:
    cloze, letters = (above_chance_from(found, task) for task in ("cloze", "letters"))
    assert cloze is not None and cloze <= 0.7 * STEPS[-1]
    assert letters is None or letters > cloze + 0.25 * STEPS[-1]


def test_cloze_is_the_more_monotone_and_has_the_stronger_signal(found: Variance) -> None:
    cloze, letters = accuracy(found, "cloze"), accuracy(found, "letters")
    assert cloze.monotonicity.value > 0.6 > letters.monotonicity.value
    assert cloze.snr_above_chance.value > 2 > letters.snr_above_chance.value


def test_letters_are_called_useless_here_and_cloze_is_not(found: Variance) -> None:
    said = [doubt for doubt in doubts(found) if "guessing" in doubt]
    assert [doubt.partition(":")[0] for doubt in said] == ["letters"]
