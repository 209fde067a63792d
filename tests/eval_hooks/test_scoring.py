"""Option log-probabilities: shared questions give what each option gives alone, and what plain transformers gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoTokenizer,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from eval_hooks import EvalError
from eval_hooks.config import TaskSpec, Variant
from eval_hooks.encode import encode
from eval_hooks.evaluate import Pass, evaluate
from eval_hooks.forward import Prefixes, Row, batches, block_attention, path_mask, scoring_mode
from eval_hooks.items import ChoiceItem, ChoiceSet
from eval_hooks.progress import silent_bar
from eval_hooks.ready import reader_of, ready
from eval_hooks.report.words import unshared_words
from eval_hooks.scoring.options import Scores, score, scores_of
from eval_hooks.scoring.packing import unshared
from eval_hooks.scoring.pass_size import PassSize, sized
from eval_hooks.table import read_table
from eval_hooks.trees import layout, one_by_one
from tests.conftest import tiny_llama


def item(question: str, *choices: str, subject: str = "geography", gold: int = 0) -> ChoiceItem:
    return ChoiceItem(item_id=f"{subject}/{question}", subject=subject, question=question, choices=choices, gold=gold)


DEV = (
    item("Capital of Italy?", "Rome", "Milan", "Turin", "Naples"),
    item("Capital of Spain?", "Porto", "Madrid", "Bilbao", "Vigo", gold=1),
)
DATA = ChoiceSet(
    items=(
        item("Capital of France?", "Paris", "Lyon", "the old city of Marseille", "Nice"),
        item("Largest ocean?", "Atlantic", "Pacific Ocean", "Indian", "Arctic", gold=1),
        item("Is water wet?", "yes", "no"),
    ),
    dev={"geography": DEV},
)


def by_hand(model: Any, tokenizer: Any, prompt: str, option: str) -> float:
    """Sum of the option tokens' log-probabilities from the full logits of one plain forward pass."""
    context, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + option)["input_ids"]
    with torch.no_grad():
        logp = model(torch.tensor([whole]), use_cache=False).logits.float().log_softmax(-1)[0]
    return sum(logp[i - 1, whole[i]].item() for i in range(len(context), len(whole)))


def alone_of(model: Any, encoded: list[Any]) -> list[Scores]:
    """Each option as a row of its own."""
    return [scores_of(texts) for texts in one_by_one(model, encoded)]


@pytest.mark.parametrize("variant", ["hendrycks", "lm_eval", "olmes_mcf", "olmes_cf"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_shared_questions_score_like_full_logits_one_by_one(tokenizer: Any, variant: Variant, attention: str) -> None:
    model = tiny_llama(attn_implementation=attention)
    encoded = encode(DATA, TaskSpec(task="mmlu", variant=variant, shots=2), tokenizer, 2048)
    scores = score(model, encoded, batch_tokens=10_000)
    for one, result in zip(encoded, scores, strict=True):
        options = (
            [f" {c}" for c in one.item.choices]
            if variant == "olmes_cf"
            else [" A", " B", " C", " D"][: len(one.item.choices)]
        )
        for option, logp in zip(options, result.logp, strict=True):
            assert logp == pytest.approx(by_hand(model, tokenizer, one.prompt, option), abs=2e-4)


MANY = ChoiceSet(
    items=tuple(
        item(f"{start} {thing}?", *choices, subject=subject)
        for subject in ("geography", "law")
        for start, choices in (("Largest", ("one", "a second one")), ("Which", ("three", "four")), ("And", ("a", "b")))
        for thing in ("river", "old town by the sea")
    ),
    dev={"geography": DEV, "law": DEV[::-1]},
)


@pytest.mark.parametrize("variant", ["lm_eval", "olmes_cf"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_questions_ride_on_their_subjects_examples(tokenizer: Any, variant: Variant, attention: str) -> None:
    """Two subjects with two examples each: the examples run once a subject, and every number is as alone."""
    model = tiny_llama(attn_implementation=attention)
    encoded = encode(MANY, TaskSpec(task="mmlu", variant=variant, shots=2), tokenizer, 2048)
    found = layout(encoded, 10_000)
    assert [sorted(batch.members) for batch in found] == [list(range(6)), list(range(6, 12))]
    for batch in found:
        assert len(batch.prefix) >= 32
        assert all(tuple(encoded[i].shared[: len(batch.prefix)]) == tuple(batch.prefix) for i in batch.members)
    score(model, encoded)  # whether the model shares rows is tried here
    run: list[int] = []
    model.register_forward_pre_hook(lambda m, args, kwargs: run.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    with scoring_mode(model):
        alone = alone_of(model, encoded)
    run.clear()
    for budget, passes in ((10_000, 4), (40, None)):  # a pass for each subject's examples, one for its questions
        scored = score(model, encoded, batch_tokens=budget)
        assert passes is None or len(run) == passes
        for a, b in zip(scored, alone, strict=True):
            assert a.logp == pytest.approx(b.logp, abs=2e-4)
        run.clear()


def test_texts_lie_in_a_row_as_a_tree() -> None:
    """By hand: 1 2 3, 1 5 and 1 2 4 are five tokens; 4 sees 1 and 2 and not the 3 that lies before it."""
    row = Row([(1, 2, 3), (1, 5), (1, 2, 4), (1, 2)])
    assert (row.ids, row.depth, row.end) == ([1, 2, 3, 4, 5], [0, 1, 2, 2, 1], [5, 4, 3, 4, 5])
    assert row.paths == [[0, 1, 2], [0, 4], [0, 1, 3], [0, 1]]
    looks = path_mask(row.end, torch.float32, prefix=1)[0, 0] == 0
    assert [look.nonzero().flatten().tolist() for look in looks] == [
        [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 5]
    ]  # fmt: skip


def test_a_passage_runs_once_for_its_questions(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    """Questions about two passages in turn, in batches that hold three: each passage runs in one batch or two."""
    passages = [
        f"{name} went to the harbour and counted the boats, {n} in all. " for name, n in (("Ann", 3), ("Bo", 5))
    ]
    data = ChoiceSet(items=tuple(item(f"{p}{q}?", "a", "b") for q in ("Who", "When", "Why") for p in passages))
    encoded = encode(data, TaskSpec(task="mmlu", variant="olmes_cf", shots=0), tokenizer, 2048)
    score(tiny, encoded)  # whether the model shares rows is tried here
    run: list[int] = []
    tiny.register_forward_pre_hook(lambda m, args, kwargs: run.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    scored = score(tiny, encoded, 80)
    texts = {tuple((*one.shared, *branch)[:n]) for one in encoded for branch in one.branches
             for n in range(1, len(one.shared) + len(branch))}  # fmt: skip
    assert len(texts) <= sum(run) < sum(one.tokens for one in encoded) and max(run) <= 80
    for a, b in zip(scored, alone_of(tiny, encoded), strict=True):
        assert a.logp == pytest.approx(b.logp, abs=2e-4)


@pytest.mark.parametrize(("room", "runs"), [(10**9, 1), (0, 2)])
def test_items_in_waves_score_as_all_at_once_and_run_their_examples_once_where_there_is_room(
    tokenizer: Any, tiny: LlamaForCausalLM, room: int, runs: int
) -> None:
    """Also where one item of a subject is asked alone: what is shared is what all of the subject's items begin with."""
    encoded = encode(MANY, TaskSpec(task="mmlu", variant="olmes_cf", shots=2), tokenizer, 2048)
    at_once, run = score(tiny, encoded, 10_000), []
    tiny.register_forward_pre_hook(lambda m, args, kwargs: run.append(kwargs["input_ids"].shape[1]), with_kwargs=True)
    prefixes, waves = Prefixes(room), ([0, 2, 6], [1, 3, 4, 5, 7, 8, 9, 10, 11])
    for wave in waves:
        for i, scores in zip(wave, score(tiny, encoded, 10_000, only=wave, prefixes=prefixes), strict=True):
            assert scores.logp == pytest.approx(at_once[i].logp, abs=1e-5)
    assert len(run) == 4 + 2 * runs


def test_a_changed_question_does_not_reach_the_others_of_its_subject(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    spec = TaskSpec(task="mmlu", variant="olmes_cf", shots=2)
    new = item("Something else altogether, and longer than it was?", "a", "b")
    other = ChoiceSet(items=(new, *MANY.items[1:]), dev=MANY.dev)
    before, after = (score(tiny, encode(data, spec, tokenizer, 2048), 10_000) for data in (MANY, other))
    assert before[0].logp != after[0].logp
    for a, b in zip(before[1:], after[1:], strict=True):
        assert a.logp == pytest.approx(b.logp, abs=1e-4)


def test_flash_attention_is_stood_in_for_and_comes_back(
    tiny: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself needs a GPU, and transformers checks for it: what is tested is what it is asked to switch to."""
    asked: list[str] = []
    monkeypatch.setattr(type(tiny), "set_attn_implementation", lambda self, name: asked.append(name))
    with block_attention(tiny):
        assert asked == []
    tiny.config._attn_implementation = "flash_attention_2"
    with pytest.raises(RuntimeError), block_attention(tiny):
        assert asked == ["sdpa"]
        raise RuntimeError
    assert asked == ["sdpa", "flash_attention_2"]


def test_numbers_do_not_depend_on_the_batch_budget(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    encoded = encode(DATA, TaskSpec(task="mmlu", variant="olmes_cf", shots=1), tokenizer, 2048)
    small, large = (score(tiny, encoded, batch_tokens=budget) for budget in (1, 10_000))
    for a, b in zip(small, large, strict=True):
        assert a.logp == pytest.approx(b.logp, abs=1e-4)


def test_a_changed_question_does_not_reach_its_neighbours_in_the_row(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    spec = TaskSpec(task="mmlu", variant="olmes_cf", shots=0)
    other = ChoiceSet(items=(item("Quite another question, and a longer one?", "a", "b"), *DATA.items[1:]))
    before, after = (score(tiny, encode(data, spec, tokenizer, 2048), 10_000) for data in (DATA, other))
    assert before[0].logp != after[0].logp
    for a, b in zip(before[1:], after[1:], strict=True):
        assert a.logp == pytest.approx(b.logp, abs=1e-4)


def tiny_mistral(window: int | None) -> MistralForCausalLM:
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=49152, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                           num_attention_heads=4, num_key_value_heads=2, sliding_window=window)  # fmt: skip
    return MistralForCausalLM(config).eval()


def test_the_summary_says_where_nothing_is_shared_and_the_numbers_are_those_of_one_by_one(
    tokenizer: Any, tmp_path: Path
) -> None:
    """A window of 16 tokens changes the numbers, so sharing over it would show; a Mistral without one does share."""
    found = {}
    for window in (16, None):
        model = tiny_mistral(window)
        reader = reader_of(model, tokenizer, {})
        task = ready(TaskSpec(task="mmlu", variant="olmes_cf", shots=2), "retain", reader, DATA)
        folder = tmp_path / str(window)
        run = Pass(tasks=[task], folder=folder, keep_going=False)
        summary = evaluate(run, model, reader, 0, None, silent_bar)
        found[window] = read_table(folder / "mmlu.parquet").column("logp").to_pylist()
        for one, logp in zip(task.choices, found[window], strict=True):
            due = [by_hand(model, tokenizer, one.prompt, f" {option}") for option in one.item.choices]
            assert logp == pytest.approx(due, abs=2e-4)
        assert summary["shared_prefix"] == (summary["unshared"] is None) == (window is None)
        assert window is None or f"since {summary['unshared']}: exact" in unshared_words(summary)
    assert found[16][0] != pytest.approx(found[None][0], abs=1e-2)


def test_a_model_with_sliding_windows_takes_the_unshared_path_and_agrees(tokenizer: Any) -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=16,
    )
    model = Gemma2ForCausalLM(config).eval()
    encoded = encode(DATA, TaskSpec(task="mmlu", variant="lm_eval", shots=2), tokenizer, 2048)
    scores = score(model, encoded)
    assert unshared(model)
    for one, result in zip(encoded, scores, strict=True):
        assert result.logp[0] == pytest.approx(by_hand(model, tokenizer, one.prompt, " A"), abs=2e-4)


def test_a_zeroed_head_gives_ties_everywhere(tokenizer: Any) -> None:
    """Logits 0 over V tokens: each letter has log-prob -ln V, and the letters' mass is 4/V."""
    model = tiny_llama(tie_word_embeddings=False)
    torch.nn.init.zeros_(model.lm_head.weight)
    encoded = encode(DATA, TaskSpec(task="mmlu", variant="lm_eval", shots=0), tokenizer, 2048)
    first = score(model, encoded)[0]
    assert first.logp == pytest.approx([-torch.log(torch.tensor(49152.0)).item()] * 4)
    assert first.mass == pytest.approx(4 / 49152)


def test_the_model_is_left_as_it_was(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    tiny.train()
    tiny.model.layers[0].eval()
    state, cache = torch.get_rng_state(), tiny.config.use_cache
    score(tiny, encode(DATA, TaskSpec(task="mmlu", shots=0), tokenizer, 2048))
    assert tiny.training and not tiny.model.layers[0].training and tiny.model.layers[1].training
    assert torch.equal(state, torch.get_rng_state())
    assert tiny.config.use_cache == cache
    assert all(p.grad is None and p.requires_grad for p in tiny.parameters())


def test_hendrycks_drops_the_last_shots_and_lm_eval_cuts_from_the_left(tokenizer: Any) -> None:
    full = encode(DATA, TaskSpec(task="mmlu", variant="hendrycks", shots=2), tokenizer, 2048)[0]
    limit = len(full.shared) - 3
    dropped = encode(DATA, TaskSpec(task="mmlu", variant="hendrycks", shots=2), tokenizer, limit)[0]
    assert dropped.cut == 1 and "Italy" in dropped.prompt and "Spain" not in dropped.prompt
    cut = encode(DATA, TaskSpec(task="mmlu", variant="lm_eval", shots=2), tokenizer, limit)[0]
    assert cut.cut > 0 and len(cut.shared) + 1 == limit
    assert tokenizer.decode(cut.shared).endswith("Answer:")


def test_prompts_hold_each_number_once(tokenizer: Any) -> None:
    """A token id above 256 is an object of 28 bytes; what two prompts have alike is the same objects."""
    one, other = encode(DATA, TaskSpec(task="mmlu", shots=2), tokenizer, 2048)[:2]
    assert all(a is b for a, b in zip(one.shared, other.shared, strict=False) if a == b) and max(one.shared) > 256


def test_with_a_chat_template_letters_lose_their_space(tokenizer: Any) -> None:
    one = encode(DATA, TaskSpec(task="mmlu", shots=0, chat_template=True), tokenizer, 2048)[0]
    assert tokenizer.decode(one.shared).endswith("<|im_start|>assistant\n")
    assert [tokenizer.decode(branch) for branch in one.branches] == ["A", "B", "C", "D"]


def test_a_chat_template_that_is_not_there_is_an_error(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(EvalError, match="chat_template"):
        encode(DATA, TaskSpec(task="mmlu", shots=0, chat_template=True), tokenizer, 2048)


def test_under_autocast_the_mask_has_the_type_that_attention_computes_in(
    tokenizer: Any, tiny: LlamaForCausalLM
) -> None:
    encoded = encode(DATA, TaskSpec(task="mmlu", variant="olmes_cf", shots=0), tokenizer, 2048)
    with torch.autocast("cpu", torch.bfloat16):
        shared = score(tiny, encoded)
        with scoring_mode(tiny):
            alone = alone_of(tiny, encoded)
    for a, b in zip(shared, alone, strict=True):
        assert a.logp == pytest.approx(b.logp, abs=0.2)


def test_smollm2_scores_real_questions_alike_shared_and_alone(smollm2: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    encoded = encode(DATA, TaskSpec(task="mmlu", variant="olmes_cf", shots=2), tokenizer, 8192)
    shared = score(model, encoded)
    with scoring_mode(model):
        alone = alone_of(model, encoded)
    for a, b in zip(shared, alone, strict=True):
        assert a.logp == pytest.approx(b.logp, abs=1e-3)
    assert max(shared[0].logp) == shared[0].logp[0]  # Paris


def test_batches_by_hand() -> None:
    """Budgets of 10 tokens and 3 scored places; an item above either is a batch of its own."""
    assert list(batches([4, 4, 4, 11, 2], 10)) == [[0, 1], [2], [3], [4]]
    assert list(batches([1, 1, 1, 1], 10, [1, 2, 1, 9], 3)) == [[0, 1], [2], [3]]


def test_logits_held_at_a_time_are_bounded_whatever_the_vocabulary(tokenizer: Any, tiny: LlamaForCausalLM) -> None:
    """Room for the logits of three places: no pass has more unless one question does; the numbers are the same."""
    encoded = encode(MANY, TaskSpec(task="mmlu", variant="lm_eval", shots=0), tokenizer, 2048)
    plain, rows = score(tiny, encoded, 10_000), []
    tiny.register_forward_hook(lambda m, args, out: rows.append(out.logits.shape[1]))
    with sized(PassSize(logit_bytes=3 * 4 * 49152)):
        few = score(tiny, encoded, 10_000)
    for a, b in zip(few, plain, strict=True):
        assert a.logp == pytest.approx(b.logp, abs=1e-4)
    assert max(rows) == 3 and sum(rows) == len(encoded)
