"""How much a pass of an evaluation takes at once, worked out for machines that are not here, and that it is obeyed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eval_hooks import CheckpointEval
from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.files import summary_of
from eval_hooks.known import Known
from eval_hooks.losses import token_losses
from eval_hooks.scoring import pass_size as module
from eval_hooks.scoring.options import score
from eval_hooks.scoring.pass_size import PassSize, current, pass_size, size_for, sized
from tests.conftest import tiny_llama

GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize(
    ("card", "gib", "width", "due"),
    [
        pytest.param("H100", 80, 4096, (4096, 1024), id="2 % are 1.6 GiB, of which 4096 x 64 x 4096 bytes take 1"),
        pytest.param("A100", 40, 4096, (2048, 512), id="0.8 GiB, of which 2048 x 256 KiB take half a GiB"),
        pytest.param("A100", 40, 576, (2048, 512), id="4096 tokens are more than 4 x 576"),
        pytest.param("T4", 15, 4096, (1024, 256), id="307 MiB, of which 1024 x 256 KiB take 256"),
        pytest.param("T4", 15, 64, (512, 256), id="a tiny model: never fewer than 512"),
        pytest.param("small", 2, 4096, (512, 64), id="a tiny GPU: never fewer than 512 and 64 MiB"),
        pytest.param("B200", 180, 16384, (2048, 1024), id="3.6 GiB: 2048 MiB, 4096 would take 4; logits at most 1 GiB"),
        pytest.param("CPU", 0, 4096, (512, 64), id="no GPU"),
    ],
)
def test_tokens_and_logits_by_hand(card: str, gib: int, width: int, due: tuple[int, int]) -> None:
    found = pass_size(gib * GIB, width)
    assert (found.tokens, found.logit_bytes // MIB) == due
    assert (f"{gib:.1f} GiB" in found.reason) is bool(gib)


def test_a_card_that_keeps_some_for_itself_is_the_size_that_is_written_on_it() -> None:
    """79.1 GiB that CUDA shows of an 80 GiB card, 14.6 of 16, 23.5 of 24, 47.4 of 48."""
    for written, shown in ((80, 79.1), (16, 14.6), (24, 23.5), (48, 47.4)):
        planned, here = pass_size(written * GIB, 4096), pass_size(int(shown * GIB), 4096)
        assert (planned.tokens, planned.logit_bytes) == (here.tokens, here.logit_bytes)


def test_places_are_logits_in_fp32() -> None:
    assert PassSize().places(49152) == 341 and PassSize().places(2**40) == 1


def test_ranks_take_what_suits_the_smallest_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpu_memory", lambda device: 80 * GIB)
    monkeypatch.setattr(module, "from_all", lambda own: {**own, 1: 15 * GIB})
    model: Any = SimpleNamespace(
        device=None, config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=4096))
    )
    assert size_for(model) == pass_size(15 * GIB, 4096)


def test_passes_are_as_large_as_is_said_and_the_numbers_are_the_same(tokenizer: Any) -> None:
    """20 questions: more logits make fewer passes, more tokens fewer still; a task's own number of tokens wins."""
    from eval_hooks.tasks.pocket import load

    spec = TaskSpec(task="pocket", variant="olmes_cf", shots=0, limit=20)
    items, model, calls = list(encode(load(spec), spec, tokenizer, 2048, {})), tiny_llama(), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    found = {}
    for name, size, own in (("cpu", PassSize(), None), ("gpu", PassSize(tokens=4096, logit_bytes=GIB), None),
                            ("own", PassSize(tokens=4096, logit_bytes=GIB), 512)):  # fmt: skip
        calls.clear()
        with sized(size):
            scores = score(model, items, own)
        found[name] = (len(calls), [one.logp for one in scores])
    assert found["gpu"][0] < found["own"][0] < found["cpu"][0] and current() == PassSize()
    for one, other in zip(found["gpu"][1], found["cpu"][1], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_held_out_rows_share_passes_of_that_size_too() -> None:
    from eval_hooks.items import LossItem

    rows = [LossItem(item_id=str(i), input_ids=list(range(3, 103)), labels=list(range(3, 103))) for i in range(12)]
    model, calls = tiny_llama(vocab_size=128), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    counts = []
    for tokens in (512, 4096):
        calls.clear()
        with sized(PassSize(tokens=tokens)):
            token_losses(model, rows)
        counts.append(len(calls))
    assert counts[1] < counts[0]


def test_a_table_of_other_passes_is_not_taken_for_the_same(tmp_path: Path) -> None:
    known, model = Known(folder=tmp_path, weights=lambda: "w"), tiny_llama()
    names = {known.file(model, "float32", "asked", size) for size in (
        PassSize(), PassSize(tokens=1024), PassSize(logit_bytes=128 * MIB), PassSize(reason="another machine"))}  # fmt: skip
    assert len(names) == 3


def test_a_task_that_says_nothing_is_the_same_entry_on_every_machine() -> None:
    """The number is not resolved into the recipe, by which runs are compared."""
    assert TaskSpec(task="pocket").batch_tokens is None


def test_in_somebodys_trainer_the_size_is_chosen_once_and_the_summary_has_it(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU of which other programs take more and more: both evaluations have the passes of the first."""
    from transformers import TrainerControl, TrainerState, TrainingArguments

    left = iter([80 * GIB, 2 * GIB, 2 * GIB])
    monkeypatch.setattr(module, "gpu_memory", lambda device: next(left))
    measure = CheckpointEval(
        retain=[{"task": "pocket", "variant": "olmes_cf", "shots": 0, "limit": 20}], every=1, out=tmp_path
    )
    args, state = TrainingArguments(str(tmp_path / "out"), use_cpu=True), TrainerState(max_steps=1)
    given = {"model": tiny_llama(hidden_size=256), "processing_class": tokenizer}
    measure.on_train_begin(args, state, TrainerControl(), **given)
    state.global_step = 1
    measure.on_step_end(args, state, TrainerControl(), **given)
    sizes = [summary_of(tmp_path / "evals" / f"step-{step}")["pass_size"] for step in (0, 1)]
    assert sizes[0] == sizes[1] and (sizes[0]["tokens"], sizes[0]["logit_bytes"]) == (1024, GIB)
