"""Plain text has its end once, also with a tokenizer that puts one behind every text; a prompt has none."""

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from data_mix.forms import encode_pair, encode_prompt, prompt_ids
from data_mix.render import Rendering, tokenise
from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode, tokenised
from eval_hooks.items import ChoiceItem, ChoiceSet, RecallItem
from eval_hooks.recall import encode_recall

BEGIN, END, OTHER = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
FORMS = {"as T5": f"$A {END}", "as Llama with add_eos_token": f"{BEGIN} $A {END}"}
PLAIN = Rendering()


@pytest.fixture(params=FORMS, ids=list(FORMS))
def ending(request: pytest.FixtureRequest, tokenizer: Any) -> Any:
    """SmolLM2's tokenizer, whose post-processor now adds an end; `begin` is what it adds before a text."""
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (BEGIN, END)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=FORMS[request.param], special_tokens=special)
    assert tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id == special[1][1]
    tokenizer.begin = [special[0][1]] if BEGIN in FORMS[request.param] else []
    return tokenizer


def bare(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("text", ["Some words.", f"Some words.{END}"], ids=["without", "with its end"])
def test_a_text_ends_once(ending: Any, text: str) -> None:
    """Trained whole, its one end too; the same rows are held out."""
    (row,) = tokenise({"text": text}, ending, PLAIN)
    due = [*ending.begin, *bare(ending, "Some words."), ending.eos_token_id]
    assert row.input_ids == due  # type: ignore[union-attr]
    (pair,) = tokenise({"prompt": "Say it: ", "completion": text}, ending, PLAIN)
    assert pair.input_ids[-2:] == due[-2:] and pair.labels.count(ending.eos_token_id) == 1  # type: ignore[union-attr]


def test_another_end_of_the_recipes_is_the_only_one(ending: Any) -> None:
    """`model.eos_token`: the tokenizer's own end, which is no longer the end, does not stand behind it."""
    ending.eos_token = OTHER
    (row,) = tokenise({"text": "Some words."}, ending, PLAIN)
    assert row.input_ids == [*ending.begin, *bare(ending, f"Some words.{OTHER}")]  # type: ignore[union-attr]
    assert tokenised(["Some words."], ending, plain=True)[0].ids == row.input_ids[:-1]  # type: ignore[union-attr]


def test_the_answers_to_a_pairs_plain_prompt_end_once(ending: Any) -> None:
    (pair,) = encode_pair({"prompt": "Say it: ", "chosen": "yes", "rejected": "no"}, ending, PLAIN)
    for ids in (pair.chosen_ids, pair.rejected_ids):  # type: ignore[union-attr]
        assert ids.count(ending.eos_token_id) == 1 and ids[-1] == ending.eos_token_id


def test_an_answer_goes_on_behind_a_plain_prompt(ending: Any) -> None:
    """What a model is to write would stand behind an end otherwise: in rollouts, and in every kind of evaluation."""
    due = [*ending.begin, *bare(ending, "Say it:")]
    assert prompt_ids({"prompt": "Say it:"}, ending) == due
    (prompt,) = encode_prompt({"prompt": "Say it:", "verifier": "exact", "answer": "it"}, ending, PLAIN)
    assert prompt.tokens == len(due)  # type: ignore[union-attr]
    assert tokenised(["Say it:"], ending, plain=True)[0].ids == due
    known = RecallItem(item_id="1", prompt="Say it:", answer=" it", value="it")
    found = encode_recall(known, "Say it:", ending)
    assert [*found.shared, *found.branches[0]] == [*due, *bare(ending, " it")] and found.scored == (1,)
    item = ChoiceItem(item_id="1", subject="all", question="q", choices=("yes", "no"), gold=0)
    (choice,) = encode(ChoiceSet(items=(item,)), TaskSpec(task="mmlu", variant="olmes_cf", shots=0), ending, 512)
    assert ending.eos_token_id not in {*choice.shared, *choice.branches[0], *choice.branches[1]}


def test_nothing_but_the_tokenizers_own_end_is_taken_off(ending: Any) -> None:
    """An end that somebody wrote stays where it is; an empty prompt keeps a token to go on from."""
    assert tokenised([f"a{END}"], ending, plain=True)[0].ids == [*ending.begin, *bare(ending, f"a{END}")]
    assert len(tokenised([""], ending, plain=True)[0].ids) == 1
