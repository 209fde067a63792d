"""Sampler against trainer: how far apart their log-probabilities of the same tokens are."""

import json
from typing import Any

from data_mix.forms import prompt_ids

PROMPTS, NEW_TOKENS = 2, 16


def largest_difference(trainer: Any) -> dict[str, float]:
    """Sample a few tokens as rollouts are, keeping the sampler's log-probabilities, and score them as the trainer does.

    Returns `sampler/logp_difference_max` and `_mean`, in nats. Under ZeRO-3 the weights are gathered for sampling, as
    for rollouts. A large difference means that updates are made for another policy than the one that answered.
    """
    import torch
    from trl.models import unwrap_model_for_generation

    ids = _prompts(trainer)
    gather = bool(getattr(trainer.args, "ds3_gather_for_generation", True))
    with (
        torch.no_grad(),
        unwrap_model_for_generation(
            trainer.model_wrapped, trainer.accelerator, gather_deepspeed3_params=gather
        ) as model,
    ):
        training = model.training
        model.eval()
        state = torch.get_rng_state()
        out = model.generate(
            **ids, do_sample=True, temperature=trainer.temperature, top_k=0, top_p=1.0, max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        torch.set_rng_state(state)
        model.train(training)
    new = out.sequences[:, ids["input_ids"].shape[1] :]
    logits = torch.stack(out.logits, 1).float() / trainer.temperature
    sampled = torch.log_softmax(logits, -1).gather(-1, new[..., None])[..., 0]  # (B, NEW_TOKENS)
    mask = torch.cat([ids["attention_mask"], torch.ones_like(new)], 1)
    with torch.no_grad():
        scored = trainer._get_per_token_logps_and_entropies(trainer.model, out.sequences, mask, new.shape[1])[0]
    far = trainer.accelerator.gather((scored - sampled).abs())
    return {"sampler/logp_difference_max": far.max().item(), "sampler/logp_difference_mean": far.mean().item()}


def _prompts(trainer: Any) -> Any:
    """The first prompts of the data as rollouts read them, padded on the left."""
    tokenizer = trainer.processing_class
    rows = [trainer.train_dataset[i] for i in range(min(PROMPTS, len(trainer.train_dataset)))]
    ids = [prompt_ids(json.loads(row["row"]), tokenizer) for row in rows]
    found = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
    return {key: found[key].to(trainer.args.device) for key in ("input_ids", "attention_mask")}
