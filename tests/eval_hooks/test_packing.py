"""Whether texts share a row is tried on the live model: where the row says something else, each runs by itself."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import transformers as hf

from eval_hooks import EvalError
from eval_hooks.forward import scoring_mode
from eval_hooks.items import LossItem
from eval_hooks.losses import token_losses
from eval_hooks.preference import Answers
from eval_hooks.ready import reader_of
from eval_hooks.scoring import packing
from eval_hooks.scoring.options import sum_logp
from eval_hooks.scoring.packing import packs, unshared
from eval_hooks.trees import Texts, each_tree, one_by_one
from tests.conftest import tiny_llama

VOCABULARY = 128
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32}
LLAMA = {**SMALL, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
LOCAL = {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
APART: dict[str, Callable[[], Any]] = {
    "layers that look through a window": lambda: hf.GPTNeoConfig(**SMALL, **LOCAL, window_size=16),
    "a bias by distance in the row": lambda: hf.MptConfig(
        vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, expansion_ratio=2
    ),
    "a bias that takes no such mask": lambda: hf.BloomConfig(**SMALL, n_layer=2, n_head=4),
    "the same in Falcon": lambda: hf.FalconConfig(**SMALL, num_hidden_layers=2, num_attention_heads=4, alibi=True),
    "a state and no mask": lambda: hf.RwkvConfig(
        **SMALL, num_hidden_layers=2, attention_hidden_size=32, intermediate_size=64
    ),
    "a state in matrices": lambda: hf.xLSTMConfig(**SMALL, embedding_dim=32, num_hidden_layers=2, num_heads=4),
    "a state space": lambda: hf.MambaConfig(**SMALL, num_hidden_layers=2, state_size=8),
    "a configured window": lambda: hf.MistralConfig(**LLAMA, sliding_window=16),
}
TOGETHER: dict[str, Callable[[], Any]] = {
    "Llama": lambda: hf.LlamaConfig(**LLAMA),
    "a window that nothing reaches": lambda: hf.MistralConfig(**LLAMA, sliding_window=4096),
    "windows in some layers": lambda: hf.Gemma3TextConfig(**LLAMA, head_dim=8, sliding_window=512),
    "learned positions": lambda: hf.OPTConfig(
        **SMALL, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=32
    ),
    "GPT-2": lambda: hf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4),
}


def made(config: Any) -> Any:
    torch.manual_seed(0)
    return hf.AutoModelForCausalLM.from_config(config).eval()


def trees(length: int, group: str = "one") -> list[Answers]:
    """Four prompts of one group with two answers each, and one of none."""
    draw = random.Random(0)

    def tokens(n: int) -> list[int]:
        return draw.choices(range(3, VOCABULARY), k=n)

    stem = tokens(length - 20)
    grouped = [Answers([*stem, *tokens(10)], (tokens(8), tokens(10)), group=group) for _ in range(4)]
    return [*grouped, Answers(tokens(length // 2), (tokens(8), tokens(6)))]


def sums(texts: Texts) -> list[float]:
    return [float(sum_logp(logits, tokens)) for logits, tokens in texts]


def nobody(done: int) -> None: ...


def both_ways(model: Any, asked: Sequence[Answers]) -> tuple[list[list[float]], list[list[float]]]:
    with scoring_mode(model):
        alone = [sums(texts) for texts in one_by_one(model, asked)]
    return each_tree(model, asked, sums, 512, nobody), alone


@pytest.mark.parametrize("name", APART)
def test_a_model_that_reads_a_row_otherwise_scores_each_text_by_itself(name: str) -> None:
    model = made(APART[name]())
    found, alone = both_ways(model, trees(80))
    assert found == alone
    assert "a row of several" in str(unshared(model))
    rows = [LossItem(item_id=str(i), input_ids=tree.shared, labels=tree.shared) for i, tree in enumerate(trees(80))]
    packed, single = (token_losses(model, rows, batch_tokens=budget) for budget in (512, 1))
    assert packed == single


@pytest.mark.parametrize("name", TOGETHER)
def test_a_model_that_reads_a_row_as_its_texts_shares_it(name: str) -> None:
    """Also where the configuration names a window: no prompt is as long."""
    model, run = made(TOGETHER[name]()), []
    each_tree(model, trees(80), sums, 512, nobody)  # tried here
    model.register_forward_pre_hook(lambda m, args, kwargs: run.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    found, alone = both_ways(model, trees(80))
    assert unshared(model) is None and len(run) == 2 * 5 + 3  # what the group shares, its row, and the last tree's
    for one, other in zip(found, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_what_the_model_cannot_tell_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head of zeros says the same of every context; once it is trained, the window shows."""
    model = made(hf.GPTNeoConfig(**SMALL, **LOCAL, window_size=16, tie_word_embeddings=False))
    head = model.lm_head.weight.clone()
    torch.nn.init.zeros_(model.lm_head.weight)
    both_ways(model, trees(80))
    assert unshared(model) is None
    model.lm_head.weight.data.copy_(head)
    found, alone = both_ways(model, trees(80))
    assert found == alone and unshared(model)


def test_longer_texts_are_tried_anew_and_shorter_ones_are_not() -> None:
    """A window of 64 is nothing to texts of 40 tokens, which go on sharing a row after one of 200 could not."""
    model, ids = made(hf.MistralConfig(**LLAMA, sliding_window=64)), range(3, 100)
    run: list[int] = []
    model.register_forward_pre_hook(lambda *_: run.append(1))
    with scoring_mode(model):
        found = [packs(model, length, 512, ids) for length in (40, 30, 200, 300, 40)]
    assert found == [True, True, False, False, True] and len(run) == 2 * 3


def test_ranks_decide_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another rank found holds here too."""
    model = tiny_llama()
    monkeypatch.setattr(packing, "from_all", lambda found: {**found, 1: "a row is 0.5 nats away"})
    with scoring_mode(model):
        assert not packs(model, 40, 512, range(3, 100))
    assert unshared(model) == "a row is 0.5 nats away"


def test_an_encoder_decoder_is_refused() -> None:
    config = hf.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=2)
    with pytest.raises(EvalError, match="model t5: an encoder-decoder"):
        reader_of(hf.T5ForConditionalGeneration(config), None, {})
