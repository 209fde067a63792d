"""The benchmark for GPUs goes through all its parts with a tiny model, so that it works on the day there is one."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from eval_hooks.scoring.pass_size import current, size_for
from tests.benchmarks import gpu
from tests.benchmarks.gpu_parts import choices, scoring
from tests.benchmarks.gpu_parts.mmlu_lengths import subjects
from tests.benchmarks.gpu_parts.row import Numbers, Row, measured, table
from tests.benchmarks.gpu_parts.shapes import LLAMA_1B, LLAMA_8B, SMALL, TINY, Models, Shape
from tests.benchmarks.gpu_parts.training import Clock


@pytest.fixture
def rows(smollm2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What all parts print as JSON, on a machine without a GPU; the steps of `choices` are not made again."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(choices, "trained", lambda shape, model, *words: {"words": " ".join(words)})
    assert gpu.main([]) == 0
    said = capsys.readouterr().out
    assert "no GPU, a tiny model: its figures say nothing of a GPU" in said
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_every_part_has_its_rows_and_their_numbers_agree(rows: list[dict[str, Any]]) -> None:
    """By hand of tiny (49,152 x 32 embeddings, tied; a layer 32 x 32 x 3 + 3 x 32 x 64 + 2 x 32; a norm of 32).

    A layer has 9,280 parameters, the model 1,591,456; all are trained: 6 operations a parameter and token.
    """
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    assert all(row["machine"] and row["case"] and "failed" not in row for row in rows)
    off, on, *_ = [row for row in rows if row["part"] == "mfu"]
    assert (off["checkpointing"], on["checkpointing"]) == ("off", "on")
    assert off["steps"] == 1 and 64 < off["tokens a step"] <= 128
    assert off["tokens/s"] == pytest.approx(off["tokens a step"] / off["s a step"])
    assert off["model TFLOP/s"] == pytest.approx(6 * 1_591_456 * off["tokens/s"] / 1e12)
    assert off["MFU"] is None and off["peak GiB"] is None

    scored = [row for row in rows if "items/s" in row]
    assert [row["part"] for row in scored] == ["mmlu"] * 2 + ["attention"] + ["choices"] * 5
    for row in scored:
        assert row["items"] == 6 and row["items/s"] == pytest.approx(6 / row["s"])
        assert row["tokens run / needed"] == 1.0
        assert row["s for 14,042"] > 100 * row["s"] and row["of all tokens"] == "extrapolated from 0.1%"

    notes = {row["case"]: row["note"] for row in rows if "note" in row}
    assert notes.get("flash_attention_3") == "not installed: flash_attn_interface"
    written = [row for row in rows if row["part"] == "vllm" and "new tokens" in row]
    assert [row["new tokens"] for row in written[:2]] == [8, 8]
    assert [row["words"] for row in rows if "words" in row] == [
        "", "train.activation_checkpointing=false", "train.activation_checkpointing=true"
    ]  # fmt: skip


@pytest.mark.parametrize(("shape", "due"), [(LLAMA_1B, 1_235_814_400), (LLAMA_8B, 8_030_261_248)])
def test_shapes_have_as_many_parameters_as_llama_3(shape: Shape, due: int) -> None:
    """As Meta's checkpoints.

    8B by hand: 2 x 128256 x 4096 + 32 x (2 x 4096^2 + 2 x 4096 x 1024 + 3 x 4096 x 14336 + 2 x 4096) + 4096.
    """
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**shape.config))
    assert sum(parameter.numel() for parameter in model.parameters()) == due


def test_items_are_as_many_and_as_long_as_mmlus() -> None:
    """57 subjects, 14,042 items; half of a subject's questions are shorter than its median, and none longer than its longest."""
    every = subjects()
    assert len(every) == 57 and sum(subject.items for subject in every) == 14_042
    (law,) = [subject for subject in every if subject.name == "professional_law"]
    assert law.items == 1534 and max(law.lengths) <= law.quantiles[-1]
    assert sorted(law.lengths)[767] == pytest.approx(law.quantiles[3], abs=1)
    (small,) = [subject for subject in every if subject.name == "anatomy"]
    items = small.drawn(1000)
    assert sorted(len(item.shared) - small.beginning for item in items) == sorted(small.lengths)
    assert len({item.shared[: small.beginning] for item in items}) == 1
    assert small.tokens == small.beginning + sum(len(item.shared) - small.beginning for item in items)


def test_a_steps_numbers_by_hand() -> None:
    """Two warm-up steps are left out: 3 steps of 2 s with 3 x 10,000 tokens are 5,000 tokens/s.

    8e9 parameters, 1e9 of them trained, cost 4 x 8e9 + 2 x 1e9 = 3.4e10 a token: 1.7e14 a second, .17189 of 989e12.
    """
    clock = Clock(
        seconds=[50.0, 9.0, 2.0, 2.0, 2.0],
        tokens=[1e4, 2e4, 3e4, 4e4, 5e4],
        sizes=(10**9, 8 * 10**9),
        checkpointing=True,
        peak=989e12,
        memory=70.0,
    )
    found = clock.numbers
    assert (found["tokens a step"], found["s a step"], found["tokens/s"]) == (10_000, 2.0, 5000.0)
    assert found["model TFLOP/s"] == pytest.approx(170)
    assert found["MFU"] == pytest.approx(0.171891, abs=1e-6)


def test_what_is_not_scored_is_extrapolated_by_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of all tokens in 6 s is a minute for all, however few items that were."""
    every = sum(subject.tokens for subject in subjects())
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    done = scoring.Done(items=7, tokens=every // 10, seconds=6.0)
    found = scoring.numbers_of(done, [every // 10], model)
    assert found["s for 14,042"] == pytest.approx(60, rel=1e-4)
    assert found["model TFLOP/s"] == pytest.approx(2 * 1_591_456 * (every // 10) / 6 / 1e12)


def test_what_does_not_fit_is_a_finding_and_what_breaks_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raised(error: Exception) -> Numbers:
        raise error

    full = measured("p", "a", lambda: raised(torch.OutOfMemoryError("CUDA out of memory. Tried")))
    broken = measured("p", "b", lambda: raised(KeyError("x")))
    assert set(full.numbers) == {"note"} and broken.numbers == {"failed": "KeyError: 'x'"}

    def part(scale: object, models: Models) -> Iterator[Row]:
        yield full
        raise OSError("No space left on device")

    monkeypatch.setattr(gpu, "PARTS", {"one": lambda *_: iter([full]), "two": part})
    assert gpu.main(["one", "--tiny"]) == 0
    assert gpu.main(["--tiny"]) == 1
    assert "all that was to follow" in capsys.readouterr().out


def test_a_table_has_a_column_for_every_number() -> None:
    lines = table([
        Row(part="p", case="a", numbers={"s": 0.12345, "n": 14042}), Row(part="p", case="b", numbers={"MFU": None})
    ]).splitlines()  # fmt: skip
    assert lines[0] == "| case | s | n | MFU |"
    assert lines[2:] == ["| a | 0.123 | 14,042 | - |", "| b | - | - | - |"]


def test_help_names_the_parts_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as helped:
        gpu.main(["--help"])
    said = capsys.readouterr().out
    assert helped.value.code == 0 and all(f"    {part} " in said for part in gpu.PARTS)
    with pytest.raises(SystemExit) as refused:
        gpu.main(["mfuu"])
    assert refused.value.code == 2
    assert "mfuu: no such part; there are mfu, mmlu" in capsys.readouterr().err


def test_a_sample_of_a_machines_choice_is_what_an_evaluation_takes() -> None:
    """Nothing said is as large as the pass that an evaluation would make; a small model on a CPU: 512."""
    model = SimpleNamespace(
        device=torch.device("cpu"), config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=32))
    )
    with choices.as_evaluated(model):
        assert current().tokens == size_for(model).tokens == 512
    assert TINY.shapes[-1].name == "tiny"
