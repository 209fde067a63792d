"""Whether texts share a row is tried on the live model: where the row says something else, each runs by itself."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import transformers as hf

from eval_hooks import EvalError
from eval_hooks.forward import Prefix, Row, scoring_mode
from eval_hooks.items import LossItem
from eval_hooks.losses import token_losses
from eval_hooks.preference import Answers
from eval_hooks.ready import reader_of
from eval_hooks.scoring import packing
from eval_hooks.scoring.options import sum_logp
from eval_hooks.scoring.packing import packs, unshared
from eval_hooks.trees import Texts, each_tree, layout, one_by_one
from tests.conftest import tiny_llama
from trainers.memory.live import counted

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


def test_a_cut_text_does_not_take_their_prefix_from_the_others() -> None:
    """Nine questions of 10 + 2 tokens after 1,000 that are the same, and one of 912 whose first 100 are gone."""
    stem = list(range(1000))
    whole = [Answers([*stem, *[2000 + i] * 10], ([1, 2], [1, 3]), group="one") for i in range(9)]
    jobs = layout([*whole, Answers([*stem[100:], *[3000] * 10], ([1, 2], [1, 3]), group="one")], 512)
    assert [(len(job.prefix), job.members) for job in jobs] == [(1000, list(range(9))), (0, [9])]
    assert sum(job.cost for job in jobs) == 1000 + 9 * 12 + 912
    passage = [Answers([*range(400), 500 + i], ([1, 2],), group="one") for i in range(3)]
    other = [Answers([*range(600, 1000), 500 + i], ([1, 2],), group="one") for i in range(3)]
    assert [len(job.prefix) for job in layout([*passage, *other], 512)] == [0, 0]  # a row holds a passage and its own


def test_options_that_run_alone_run_the_same_ids_once() -> None:
    """Four letters of one token each are read off one pass; of longer answers one that another begins with is, too."""
    model, run = made(hf.MistralConfig(**LLAMA, sliding_window=16)), []
    letters = [Answers([*range(3, 60), n], ([1], [2], [3], [4])) for n in range(60, 64)]
    longer = [Answers(range(5, 70), ([1], [1, 2], [1, 2, 3], [4, 5]))]
    each_tree(model, [*letters, *longer], sums, 512, nobody)
    model.register_forward_pre_hook(lambda *_: run.append(1))
    found = each_tree(model, [*letters, *longer], sums, 512, nobody)
    assert len(run) == 4 + 2
    with scoring_mode(model):
        for tree, own in zip([*letters, *longer], found, strict=True):
            for branch, logp in zip(tree.branches, own, strict=True):
                ids = torch.tensor([[*tree.shared, *branch]])
                every = model(ids, use_cache=False).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
                assert logp == pytest.approx(every[-len(branch) :].sum().item(), abs=1e-4)


def test_a_kept_prefix_holds_the_memory_that_is_counted() -> None:
    """After a long row rode on it, too: no view of a longer tensor stays."""
    model = made(hf.LlamaConfig(**LLAMA))
    with scoring_mode(model):
        prefix = Prefix.of(model, range(3, 43))
        row = Row([range(3, 100), range(5, 100)])
        first, second = (row.logits(model, [[90]], prefix)[0] for _ in range(2))
    parts = [part for layer in prefix.cache.layers for part in (layer.keys, layer.values)]
    assert sum(part.untyped_storage().nbytes() for part in parts) == prefix.bytes == 2 * 2 * 2 * 40 * 8 * 4
    assert torch.equal(first, second)


@pytest.mark.parametrize("shared, answer", [(2000, 10), (20, 1200)])
def test_a_long_text_with_its_answers_takes_no_wide_mask(
    shared: int, answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt of 2,000 tokens with two answers, and a short one with two of 1,200: masks of 16 MiB and 23 before."""
    monkeypatch.setattr("eval_hooks.trees.MASK_BYTES", 2**20)
    model, draw = made(hf.LlamaConfig(**LLAMA)), random.Random(0)
    texts = [draw.choices(range(3, VOCABULARY), k=n) for n in (shared, answer, answer)]
    asked = [Answers(texts[0], texts[1:])]
    with counted(model) as live:
        found = each_tree(model, asked, sums, 512, nobody)
    assert live.peak < 12 * 2**20
    with scoring_mode(model):
        alone = [sums(texts) for texts in one_by_one(model, asked)]
    assert found[0] == pytest.approx(alone[0], rel=1e-5)


@pytest.mark.parametrize(("units", "packed"), [(0.0, True), (2.9, True), (5.0, False)])
def test_a_first_text_that_is_equal_to_the_bit_does_not_make_rounding_a_fault(units: float, packed: bool) -> None:
    """In bf16, unit 2^-7; the last text's logits are off by so many units of their spread at every place, up and down."""
    alone = torch.randn(6, 4096, generator=torch.Generator().manual_seed(0))
    off = units * 2**-7 * torch.tensor([1.0, -1.0]).repeat(2048)
    found = packing.apart([alone, alone], [alone, alone + off], 2**-7)
    assert (found is None) == packed
