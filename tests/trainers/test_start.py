"""The start that a run compares with: a copy where the adapter, switched off, does not give it; one LoRA for all stages."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from launch.preflight import preflight
from launch.preflight.catalog import CHECKS
from tests.conftest import SMALL_VOCABULARY, tiny_llama
from tests.trainers.test_dpo import dpo  # noqa: F401  # the fixture
from tests.trainers.test_sft import logged, trained
from tests.trainers.test_unlearn import unlearn  # noqa: F401  # the fixture
from trainers.adapters import checkpoint_reentrantly, moves_the_base, with_adapter
from trainers.recipe import AdapterSection, Recipe
from trainers.reference import Reference, reference_copy

Load = Callable[..., Recipe]
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: Path) -> Path:
    """A tiny Llama whose projections have biases."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("biased")
    tiny_llama(SMALL_VOCABULARY, attention_bias=True).save_pretrained(folder)
    AutoTokenizer.from_pretrained(small_vocabulary).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": "all"}, {"bias": "lora_only"}, {"init_lora_weights": "pissa"}, {"init_lora_weights": "pissa_niter_4"},
     {"init_lora_weights": "olora"}, {"init_lora_weights": "gaussian"}, {"init_lora_weights": "orthogonal"},
     {"init_lora_weights": "mica"}, {"init_lora_weights": False}, {"use_dora": True}, {"modules_to_save": ["lm_head"]},
     {"modules_to_save": ["embed_tokens"]}, {"trainable_token_indices": [5, 6]}, {"lora_bias": True},
     {"use_rslora": True}, {"target_modules": ["embed_tokens", "q_proj"]}],
    ids=lambda options: " ".join(f"{key}={value}" for key, value in options.items()) or "plain",
)  # fmt: skip
def test_off_is_the_start_exactly_where_it_is_said_to_be(options: dict[str, Any]) -> None:
    """All that is trained is moved by 0.1; then with the adapter off the model gives what it gave, or it does not."""
    settings = {"attention_bias": True, "vocab_size": 300, "tie_word_embeddings": False}
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = tiny_llama(**settings)(ids).logits
    base = tiny_llama(**settings)
    why = moves_the_base(AdapterSection(kind="lora", options={**LORA, **options}), base)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **{**LORA, **options}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1
    with Reference(lambda: model, model) as start:
        off = start(ids).logits
    assert torch.allclose(off, before, atol=1e-5) == (why is None), why


def test_biases_that_are_not_there_are_not_trained() -> None:
    assert moves_the_base(AdapterSection(kind="lora", options={"bias": "all"}), tiny_llama(vocab_size=300)) is None
    assert moves_the_base(AdapterSection(), tiny_llama(vocab_size=300, attention_bias=True)) is None


@pytest.mark.parametrize("adapter", ["bias: all", "init_lora_weights: olora"])
def test_dpo_begins_at_ln_2_and_its_margin_is_against_the_start(dpo: Load, biased: Path, adapter: str) -> None:  # noqa: F811
    """With the adapter's own biases in the reference the margin stayed 0; with olora's residual the loss was not ln 2."""
    words = (f"model.path={biased}", f"adapter={{kind: lora, r: 4, target_modules: [q_proj], {adapter}}}",
             "train.learning_rate=0.05")  # fmt: skip
    run = trained(dpo(*words), "run")
    first, second = logged(run, "train/loss")
    assert first == pytest.approx(math.log(2), abs=1e-5) and abs(second - math.log(2)) > 1e-6
    assert abs(logged(run, "train/rewards/margins")[1]) > 1e-5


def test_npo_begins_at_two_over_beta_times_ln_2(unlearn: Load) -> None:  # noqa: F811
    run = trained(unlearn("adapter={kind: lora, r: 4, init_lora_weights: pissa}", "train.max_steps=1"), "run")
    assert logged(run, "train/loss_forget")[0] == pytest.approx(20 * math.log(2), rel=1e-5)


def test_a_copy_draws_the_rows_of_new_tokens_as_the_model_did(dpo: Load) -> None:  # noqa: F811
    """A row that holds the new token: its reference is the model's own start, so the first loss is ln 2."""
    recipe = dpo("model.add_tokens=['<|red|>']", "train.beta=50", "train.max_steps=1")
    file = Path("pairs.jsonl")
    file.write_text(file.read_text().replace("Say ", "<|red|> Say "))
    assert logged(trained(recipe, "run"), "train/loss")[0] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize(("adapter", "state"), [("bias: all", "warn"), ("r: 8", "ok")])
def test_check_says_that_a_copy_is_loaded(dpo: Load, biased: Path, adapter: str, state: str) -> None:  # noqa: F811
    recipe = dpo(f"model.path={biased}", f"adapter={{kind: lora, target_modules: [q_proj], {adapter}}}")
    found = preflight(recipe, checks={"adapter": CHECKS["adapter"]})
    assert found[-1].state == state and ("a frozen copy is loaded" in found[-1].found) == (state == "warn")


def test_sft_compares_with_nothing_so_check_is_silent(recipe: Load, biased: Path) -> None:
    made = recipe(f"model.path={biased}", "adapter={kind: lora, target_modules: [q_proj], bias: all}")
    assert [one.state for one in preflight(made, checks={"adapter": CHECKS["adapter"]})] == ["ok"]


@pytest.mark.parametrize(
    ("words", "copied"),
    [
        (("stage=rlvr", "method.name=rloo"), True),
        (("stage=rlvr", "method.name=grpo"), True),
        (("stage=rlvr", "method.name=grpo", "train.beta=0"), False),
        (("stage=rlvr", "method.name=dapo"), False),
        (("stage=rlvr", "method.name=dapo", "train.beta=0.1"), True),
        (("stage=rlvr", "method.name=rloo", "adapter.kind=lora"), False),
        (("stage=rlvr", "method.name=rloo", "adapter={kind: lora, init_lora_weights: olora}"), True),
        (("stage=dpo", "method.name=sigmoid"), True),
        (("stage=dpo", "method.name=sigmoid", "train.precompute_ref_log_probs=true"), False),
        (("stage=dpo", "method.name=sigmoid", "train.precompute_ref_log_probs=true",
          "adapter={kind: lora, init_lora_weights: olora}"), True),
        (("stage=dpo", "method.name=simpo"), False),
    ],
)  # fmt: skip
def test_a_copy_is_loaded_where_something_is_compared_with_it(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], copied: bool
) -> None:
    """A row's default counts: grpo has a KL of 0.04, rloo of 0.03, dapo none."""
    monkeypatch.setattr("trainers.reference.frozen_copy", lambda recipe, tokenizer: "copy")
    monkeypatch.setattr("trainers.reference.hash_of_start", lambda recipe: "hash")
    found = reference_copy(recipe(*words), None, tiny_llama(vocab_size=300))
    assert (found.get("reference_model") == "copy") == copied


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_rlvr_compares_with_our_start_and_not_with_what_the_models_name_loads(
    recipe: Load, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Every prompt holds a new token, whose row is no file's: KL to the start is 0 at the first step."""
    for name in ("grpo", "rloo"):
        monkeypatch.setattr(f"trl.trainer.{name}_trainer.create_model_from_path", None)
    rows = [{"prompt": f"<|sum|> {i} + 1", "verifier": "number", "answer": str(i + 1)} for i in range(2)]
    Path("sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("stage=rlvr", f"method.name={method}", "data.train=[{source: jsonl, path: sums.jsonl}]", "eval.retain=[]",
             "train.max_steps=1", "train.global_batch_size=4", "train.num_generations=4", "train.beta=0.1",
             "train.max_completion_length=3", "model.add_tokens=['<|sum|>']", "train.save_strategy=no")  # fmt: skip
    assert logged(trained(recipe(*words), "run"), "train/kl") == [pytest.approx(0, abs=1e-6)]


def zero3(stage: int | None, checkpointing: bool = True) -> Any:
    plugin = None if stage is None else SimpleNamespace(zero_stage=stage)
    return SimpleNamespace(deepspeed_plugin=plugin, activation_checkpointing=checkpointing,
                           activation_checkpointing_kwargs=None, gradient_checkpointing_kwargs=None)  # fmt: skip


@pytest.mark.parametrize(("stage", "dtype"), [(3, torch.bfloat16), (2, torch.float32), (None, torch.float32)])
def test_an_adapter_has_the_bases_type_where_weights_are_sharded(stage: int | None, dtype: torch.dtype) -> None:
    """Parameters of two types cannot be gathered into one buffer; else a LoRA is fp32. Its input has a gradient."""
    config = LoraConfig(task_type="CAUSAL_LM", **LORA)
    model = with_adapter(tiny_llama(vocab_size=300).bfloat16(), config, zero3(stage))
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {dtype}
    assert model.get_input_embeddings()(torch.tensor([[1]])).requires_grad


@pytest.mark.parametrize(
    ("stage", "checkpointing", "adapter", "due"),
    [(3, True, True, {"use_reentrant": True}), (2, True, True, None), (3, False, True, None), (3, True, False, None)],
)
def test_an_adapter_under_zero_3_is_checkpointed_reentrantly(
    stage: int, checkpointing: bool, adapter: bool, due: Any
) -> None:
    """In the name that transformers reads, whatever the stage's trainer."""
    args = zero3(stage, checkpointing)
    checkpoint_reentrantly(SimpleNamespace(**({"peft_config": {}} if adapter else {})), args)
    assert args.activation_checkpointing_kwargs == due
