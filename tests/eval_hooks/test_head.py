"""The loss of a long row: no mask, few logits at a time, and the numbers of all logits at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from peft import LoraConfig, get_peft_model

from eval_hooks.forward import scoring_mode
from eval_hooks.items import LossItem
from eval_hooks.losses import token_losses
from eval_hooks.scoring.pass_size import PassSize, sized
from tests.conftest import tiny_llama
from tests.eval_hooks.test_packing import LLAMA, SMALL, VOCABULARY, made
from trainers.memory.live import counted

MODELS: dict[str, Callable[[], Any]] = {
    "Llama": lambda: made(hf.LlamaConfig(**LLAMA)),
    "capped logits": lambda: made(hf.Gemma2Config(**LLAMA, head_dim=8, final_logit_softcapping=0.1, sliding_window=16)),
    "scaled logits": lambda: made(hf.GraniteConfig(**LLAMA, logits_scaling=8.0)),
    "a state": lambda: made(hf.MambaConfig(**SMALL, num_hidden_layers=2, state_size=8)),
    "a head that says nothing of places": lambda: made(
        hf.RwkvConfig(**SMALL, num_hidden_layers=2, attention_hidden_size=32, intermediate_size=64)
    ),
    "an adapter on the head": lambda: get_peft_model(
        made(hf.LlamaConfig(**LLAMA, tie_word_embeddings=False)),
        LoraConfig(target_modules=["q_proj", "lm_head"], init_lora_weights=False),
    ).eval(),
    "no head to be found": lambda: headless(),
}


def headless() -> Any:
    model = made(hf.LlamaConfig(**LLAMA))
    model.get_output_embeddings = lambda: None
    return model


@pytest.mark.parametrize("name", MODELS)
def test_a_rows_loss_in_pieces_is_that_of_all_its_logits(name: str) -> None:
    """Of 60 labelled tokens 7 at a time; the model is called once for its body, and once a piece: 1 + 9."""
    model, run = MODELS[name](), []
    ids = torch.randint(3, VOCABULARY, (70,), generator=torch.Generator().manual_seed(0)).tolist()
    item = LossItem(item_id="x", input_ids=ids, labels=[-100] * 10 + ids[10:])
    model.register_forward_pre_hook(lambda *_: run.append(1))
    with sized(PassSize(logit_bytes=7 * 4 * VOCABULARY)):
        ((nll, n),) = token_losses(model, [item])
    assert len(run) == 10
    with scoring_mode(model):
        logp = model(torch.tensor([ids]), use_cache=False).logits[0, 9:-1].float().log_softmax(-1)
    assert n == 60 and nll == pytest.approx(-logp.gather(1, torch.tensor(ids[10:])[:, None]).sum().item(), rel=1e-5)


def test_a_long_row_takes_neither_a_mask_nor_all_its_logits() -> None:
    """2,048 tokens of a vocabulary of 2,048: a mask is 16 MiB and all logits are 16; one MiB of them is held at a time."""
    model = tiny_llama(vocab_size=2048)
    ids = torch.arange(2048).tolist()
    with sized(PassSize(logit_bytes=2**20)), counted(model) as live:
        token_losses(model, [LossItem(item_id="x", input_ids=ids, labels=ids)])
    assert live.peak < 8 * 2**20
