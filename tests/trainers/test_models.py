"""Loading: every form of path, every key of the section; new tokens, tied heads, precision."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from tests.conftest import tiny_llama
from trainers import TrainError
from trainers.adapters import lora_config, trainable_share
from trainers.catalog import METHODS
from trainers.memory.outline import Outline
from trainers.models import (
    check_precision,
    load_config,
    load_model,
    load_tokenizer,
    locate,
    skeleton,
    start_key,
    starting_point,
    stops,
)
from trainers.recipe import AdapterSection, MethodSection, ModelSection, Recipe
from trainers.reference import arithmetic, hash_of_start


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Any) -> Path:
    """A tiny model saved with SmolLM2's tokenizer."""
    out = tmp_path / "tiny"
    tiny_llama().save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def recipe(model: ModelSection, **more: Any) -> Recipe:
    from data_mix.config import DataConfig

    return Recipe(
        name="t",
        file=Path("t.yaml"),
        text="",
        stage="sft",
        model=model,
        method=MethodSection(name="nll"),
        data=DataConfig(train=()),
        **more,
    )


def test_the_embedded_model_is_tied_and_fp32(smollm2: Path) -> None:
    config = json.loads((smollm2 / "config.json").read_text())
    assert config["tie_word_embeddings"] and config["dtype"] == "float32"
    assert AutoTokenizer.from_pretrained(smollm2).model_max_length == 8192


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("./nowhere", "no such folder"),
        ("norun:30", "no run folder 'norun'"),
        ("{tmp}/empty", "neither config.json nor adapter_config.json"),
    ],
)
def test_a_path_that_is_nothing_is_named(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainError, match=message):
        locate(path.format(tmp=tmp_path))


def test_run_and_step_find_the_checkpoint_or_list_those_there_are(tmp_path: Path, folder: Path) -> None:
    checkpoint = tmp_path / "runs" / "mine" / "checkpoints" / "checkpoint-30"
    checkpoint.parent.mkdir(parents=True)
    folder.rename(checkpoint)
    assert locate("mine:30", runs=tmp_path / "runs").base == str(checkpoint)
    with pytest.raises(TrainError, match="there is: 30"):
        locate("mine:31", runs=tmp_path / "runs")


def test_an_offline_hub_gives_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TrainError, match=r"model\.path 'some-org/some-model'.*local folder"):
        load_tokenizer(ModelSection(path="some-org/some-model"))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("403 Client Error: gated repo", "hf auth login"),
        ("Max retries exceeded", "local folder"),
        ("RepositoryNotFoundError: 404", "spelling"),
    ],
)
def test_what_the_hub_refuses_becomes_the_next_step(text: str, advice: str) -> None:
    from trainers.models import _next_step

    assert advice in _next_step(OSError(text))


def test_every_key_of_the_section_reaches_the_loaded_model(folder: Path) -> None:
    section = ModelSection(
        path=str(folder),
        dtype="bfloat16",
        attn_implementation="eager",
        eos_token="<|endoftext|>",
        pad_token="<|im_start|>",
        chat_template="{{ messages[0].content }}",
    )
    tokenizer = load_tokenizer(section)
    model = load_model(section, tokenizer)
    assert model.dtype == torch.bfloat16 and model.config._attn_implementation == "eager"
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (0, 1)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "x"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"eos_token": "<|nope|>"}, "not a token"),
        ({"chat_template": "{% for %}"}, "not a Jinja template"),
        ({"chat_template": "no/such.jinja"}, "no such file"),
    ],
)
def test_bad_section_values_are_named(folder: Path, section: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        load_tokenizer(ModelSection(path=str(folder), **section))


@pytest.mark.parametrize("key", ["eos_token", "pad_token"])
def test_a_new_token_may_be_the_end_or_the_padding(folder: Path, key: str) -> None:
    """<|fin|> is token 49,152 of SmolLM2's; what the model writes is shown without it, and the model ends there."""
    section = ModelSection(path=str(folder), add_tokens=("<|fin|>", "<b>"), **{key: "<|fin|>"})
    tokenizer = load_tokenizer(section)
    assert getattr(tokenizer, f"{key}_id") == 49152
    assert tokenizer.decode(tokenizer("a<b><|fin|>")["input_ids"], skip_special_tokens=True) == "a<b>"
    config = load_model(section, tokenizer).generation_config
    assert getattr(config, f"{key}_id") == 49152


def test_new_tokens_resize_and_train_their_rows_and_heads_stay_tied_after_merge_and_reload(
    folder: Path, tmp_path: Path
) -> None:
    """One step on the new token alone moves its row; merged and reloaded, head and embedding are one tensor with that row."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    section = ModelSection(path=str(folder), add_tokens=("<|new|>",))
    tokenizer = load_tokenizer(section)
    new = tokenizer.convert_tokens_to_ids("<|new|>")
    model = load_model(section, tokenizer)
    assert new == 49152 and model.get_input_embeddings().num_embeddings == 49153
    before = model.get_input_embeddings().weight.detach().clone()
    adapter = AdapterSection(kind="lora", options={"r": 2, "target_modules": "all-linear"})
    peft = get_peft_model(model, lora_config(adapter, tokenizer, section, model))
    optimizer = torch.optim.SGD([p for p in peft.parameters() if p.requires_grad], lr=10.0)
    ids = torch.tensor([[5, new, 6, new]])
    peft(ids, labels=ids).loss.backward()
    optimizer.step()
    merged = peft.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    weight = again.get_input_embeddings().weight
    assert weight.data_ptr() == again.get_output_embeddings().weight.data_ptr()
    assert not torch.allclose(weight[new], before[new])
    assert torch.equal(weight[:49152], before[:49152])
    assert torch.allclose(again(ids).logits, merged(ids).logits, atol=1e-5)


def saved_adapter(folder: Path, out: Path) -> tuple[Any, Any]:
    """A LoRA that is not the identity, saved in `out`; the tokenizer and the peft model."""
    from peft import get_peft_model

    section = ModelSection(path=str(folder))
    tokenizer = load_tokenizer(section)
    base = load_model(section, tokenizer)
    adapter = AdapterSection(kind="lora", options={"init_lora_weights": False})
    peft = get_peft_model(base, lora_config(adapter, tokenizer, section, base))
    peft.save_pretrained(out)
    return tokenizer, peft


def test_whichever_rank_merges_an_adapter_first_writes_all_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipeline's second stage the ranks are a group already, in which transformers writes on rank 0 alone."""
    from transformers.distributed import mixin

    saved_adapter(folder, tmp_path / "adapter")
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mixin, "_is_torch_distributed_initialized", lambda: True)
    monkeypatch.setattr(mixin, "_get_torch_distributed_rank", lambda: 1)
    start = starting_point(ModelSection(path=str(tmp_path / "adapter")))
    assert load_model(start, load_tokenizer(start)).num_parameters() == tiny_llama().num_parameters()


def test_a_merged_start_is_made_anew_when_its_base_is_rewritten(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base in place, with other numbers, then with other settings; a touched file is the same start."""
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    shutil.copytree(folder, tmp_path / "base")
    saved_adapter(tmp_path / "base", tmp_path / "adapter")
    section = ModelSection(path=str(tmp_path / "adapter"))
    starts = [starting_point(section).path]
    os.utime(tmp_path / "base/model.safetensors")
    assert starting_point(section).path == starts[0]
    tiny_llama(seed=1).save_pretrained(tmp_path / "base")
    starts.append(starting_point(section).path)
    config = json.loads((tmp_path / "base/config.json").read_text())
    (tmp_path / "base/config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    starts.append(starting_point(section).path)
    assert len(set(starts)) == 3
    first, second = (load_model(replace(section, path=path), load_tokenizer(section)) for path in starts[:2])
    assert not torch.equal(first.get_input_embeddings().weight, second.get_input_embeddings().weight)


def test_a_merged_start_has_the_template_and_tokens_of_its_own_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first recipe brings a template and an end token, the second neither: it reads as without the cache."""
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    saved_adapter(folder, tmp_path / "adapter")
    plain = ModelSection(path=str(tmp_path / "adapter"))
    said = replace(plain, chat_template="{{ messages[0]['content'] }} mine", eos_token="<|endoftext|>")
    assert starting_point(said).path == starting_point(plain).path
    direct, cached = load_tokenizer(plain), load_tokenizer(starting_point(plain))
    assert (cached.chat_template, cached.eos_token, cached.pad_token) == (
        direct.chat_template, direct.eos_token, direct.pad_token,
    )  # fmt: skip
    assert stops(starting_point(plain), cached) == stops(plain, direct)
    assert load_tokenizer(starting_point(said)).chat_template.endswith("mine")


def test_a_start_is_known_by_the_content_of_its_files(folder: Path, tmp_path: Path) -> None:
    """Under another name it is the same; other weights (of the older kind too), settings or code make it another."""
    for name in ("a", "b"):
        shutil.copytree(folder, tmp_path / name)
    key = start_key(ModelSection(path=str(tmp_path / "a")))
    assert start_key(ModelSection(path=str(tmp_path / "b"))) == key
    keys = {key, start_key(ModelSection(path=str(tmp_path / "b")), "float16")}
    for name in ("pytorch_model.bin", "modeling.py", "generation_config.json", "chat_template.jinja"):
        (tmp_path / "b" / name).write_text("{ }")
        keys.add(start_key(ModelSection(path=str(tmp_path / "b"))))
    assert len(keys) == 6


def test_a_references_numbers_are_known_by_what_they_were_computed_with(folder: Path) -> None:
    """Weights in another type, other attention, autocast, new tokens and their seed: each is another reference."""
    base = recipe(ModelSection(path=str(folder)), train={"precompute_ref_log_probs": True})
    base = replace(base, stage="unlearn", method=MethodSection(name="npo", config=METHODS["npo"].config()))
    model, tokens = base.model, replace(base.model, add_tokens=("<x>",))
    seeded = {**base.train, "seed": 7}
    asked = [base, replace(base, model=replace(model, dtype="bfloat16")), replace(base, model=tokens),
             replace(base, model=tokens, train=seeded), replace(base, adapter=AdapterSection(kind="qlora"))]  # fmt: skip
    keys = {hash_of_start(one) for one in asked}
    assert len(keys) == 5 and hash_of_start(replace(base, train=seeded)) in keys
    numbers = []
    for attention, bf16 in (("sdpa", False), ("eager", False), ("sdpa", True)):
        args = SimpleNamespace(bf16=bf16, fp16=False, device=torch.device("cpu"))
        live = tiny_llama(attn_implementation=attention)
        numbers.append(arithmetic(SimpleNamespace(args=args, model=live, is_deepspeed_enabled=False)))
    assert numbers[0] != numbers[1] != numbers[2] != numbers[0]


def test_an_adapter_folder_loads_as_base_with_adapter_merged(folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    tokenizer, peft = saved_adapter(folder, tmp_path / "adapter")
    loaded = load_model(ModelSection(path=str(tmp_path / "adapter")), tokenizer)
    ids = torch.tensor([[5, 6, 7]])
    assert not isinstance(loaded, PeftModel)
    assert torch.allclose(loaded(ids).logits, peft.eval()(ids).logits, atol=1e-5)


def test_generation_config_is_saved_with_the_model(folder: Path, tmp_path: Path) -> None:
    section = ModelSection(path=str(folder), pad_token="<|endoftext|>")
    load_model(section, load_tokenizer(section)).save_pretrained(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["pad_token_id"] == 0


def test_pure_bf16_weights_are_refused_unless_forced_or_backed_by_fp32(folder: Path, tmp_path: Path) -> None:
    section = ModelSection(path=str(folder), dtype="bfloat16")
    model = load_model(section, load_tokenizer(section))
    with pytest.raises(TrainError, match=r"loses small updates.*float32"):
        check_precision(recipe(section), model, half=False)
    check_precision(recipe(ModelSection(path=str(folder), dtype="bfloat16", force_bf16_weights=True)), model, False)
    check_precision(recipe(section, adapter=AdapterSection(kind="lora")), model, half=False)
    config = tmp_path / "ds.json"
    config.write_text('{"bf16": {"enabled": "auto"}}')
    check_precision(recipe(section, deepspeed=config), model, half=True)  # said, or filled in on a GPU that has it
    with pytest.raises(TrainError, match="loses small updates"):
        check_precision(recipe(section, deepspeed=config), model, half=False)


def test_qlora_without_a_gpu_is_refused_with_the_alternative(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: qlora may work here")
    section = ModelSection(path=str(folder))
    with pytest.raises(TrainError, match=r"bitsandbytes.*kind: lora"):
        load_model(section, load_tokenizer(section), quantised=True)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"use_rslora": True}])
def test_peft_names_reach_peft(folder: Path, options: dict[str, Any]) -> None:
    from peft import get_peft_model

    section = ModelSection(path=str(folder))
    tokenizer = load_tokenizer(section)
    base = load_model(section, tokenizer)
    adapter = AdapterSection(kind="lora", options={"r": 4, "target_modules": "all-linear", **options})
    config = lora_config(adapter, tokenizer, section, base)
    model = get_peft_model(base, config)
    assert all(getattr(config, key) == value for key, value in options.items())
    trained, total = trainable_share(model)
    assert 0 < trained < total


def test_a_kernel_from_the_hub_is_the_recipes_to_ask_for(tmp_path: Path, tiny_folder: Path) -> None:
    """Transformers fetches and runs what config.json names as its attention; refused for a model and an outline."""
    shutil.copytree(tiny_folder, tmp_path / "theirs")
    file = tmp_path / "theirs" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attn_implementation": "stranger/kernel"}))
    section = ModelSection(path=str(tmp_path / "theirs"))
    for load in (load_config, lambda section: load_model(section, load_tokenizer(section)), skeleton,
                 lambda section: Outline(section, AdapterSection())):  # fmt: skip
        with pytest.raises(TrainError, match="asks for the attention 'stranger/kernel', code from the hub"):
            load(section)
    assert load_model(replace(section, attn_implementation="sdpa"), load_tokenizer(section)) is not None
