"""The line of a step: numbers by hand, a clock that is set, and that it is all a run prints of a step."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trainers.logline import LogLine, clock, peak_of, rows_a_step, utilisation
from trainers.recipe import Recipe
from trainers.run import train

ARGS: Any = SimpleNamespace(
    device=SimpleNamespace(type="cpu"), bf16=True, fp16=False, per_device_train_batch_size=2,
    gradient_accumulation_steps=3, parallelism_config=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA H800 PCIe", 756e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA B300 SXM6 AC", 2250e12),
        ("NVIDIA GB300", 2500e12),
        ("NVIDIA GeForce RTX 5090", 209.5e12),
        ("NVIDIA GeForce RTX 3090 Ti", 80e12),
        ("AMD Instinct MI300X", 1307e12),
        ("AMD Instinct MI355X", 2517e12),
        ("AMD Instinct MI250X", 191.5e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
        ("NVIDIA A1000", None),
        ("Tesla T4", None),
    ],
)
def test_a_cards_peak_is_that_of_the_longest_name_that_fits(name: str, due: float | None) -> None:
    assert peak_of(name) == due


def test_utilisation_by_hand() -> None:
    """8e9 parameters, all trained: 6 x 8e9 x 10,000 tokens/s = 4.8e14 of 989e12 is .48534; a LoRA has 4 x 8e9: .32356."""
    assert utilisation(10_000, 8 * 10**9, 8 * 10**9, 989e12, 1) == pytest.approx(0.485339, abs=1e-6)
    assert utilisation(10_000, 0, 8 * 10**9, 989e12, 1) == pytest.approx(0.323559, abs=1e-6)
    assert utilisation(80_000, 0, 8 * 10**9, 989e12, 8) == pytest.approx(0.323559, abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "due"), [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (90_000, "25:00:00")]
)
def test_time_left_is_a_clock(seconds: float, due: str) -> None:
    assert clock(seconds) == due


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr("trainers.logline.announce", said.append)
    monkeypatch.setattr("trainers.logline.memory_gib", lambda args: 1.25)
    return said


def run_of(line: LogLine, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[float, float, dict[str, Any]]]) -> None:
    """Steps of (seconds of training, seconds of measuring after it, what is logged)."""
    now = 100.0
    state: Any = SimpleNamespace(global_step=0, max_steps=10, num_input_tokens_seen=0)
    monkeypatch.setattr("trainers.logline.time.monotonic", lambda: now)
    for busy, measuring, logs in steps:
        line.on_step_begin(ARGS, state, None)  # type: ignore[arg-type]
        now += busy
        state.global_step += 1
        line.on_step_end(ARGS, state, None)  # type: ignore[arg-type]
        if logs:
            line.on_log(ARGS, state, None, logs)  # type: ignore[arg-type]
        now += measuring


def test_speed_counts_training_and_time_left_counts_all(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of 2 s with 8 s of measuring between: 400 tokens in 4 s; 12 s for 2 steps, so 48 s for the other 8."""
    logs = {"loss": 1.23456, "learning_rate": 2e-4, "num_tokens": 400.0}
    run_of(LogLine(1, 1), monkeypatch, [(2.0, 8.0, {}), (2.0, 0.0, logs)])
    assert lines == ["step 2/10  loss 1.2346  lr 2.00e-04  100 tokens/s  1.2 GiB  left 0:00:48"]


def test_where_nobody_counts_tokens_it_is_rows(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """2 rows x 3 accumulated x 1 rank in 4 s."""
    run_of(LogLine(1, 1), monkeypatch, [(4.0, 0.0, {"loss": 2.0}), (4.0, 0.0, {"train_runtime": 9.0})])
    assert lines == ["step 1/10  loss 2.0000  1.50 rows/s  1.2 GiB  left 0:00:36"]


def test_ranks_that_share_a_row_have_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 rows x 3 micro-batches on 4 ranks are 24 rows; where pairs of them share rows, 12."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    shared = SimpleNamespace(**{**vars(ARGS), "parallelism_config": SimpleNamespace(sp_size=2)})
    assert (rows_a_step(ARGS), rows_a_step(cast(Any, shared))) == (24, 12)


def test_with_a_known_peak_the_share_of_it_is_said(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """50 tokens/s x 6 x 1e9 of 1e12 is 30 %."""
    monkeypatch.setattr("trainers.logline.card_peak", lambda args: 1e12)
    run_of(LogLine(10**9, 10**9), monkeypatch, [(2.0, 0.0, {"loss": 2.0, "num_tokens": 100})])
    assert "50 tokens/s  MFU 30.0%" in lines[0]


def test_a_run_prints_a_line_a_step_and_no_dictionaries(
    recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture
) -> None:
    assert train(recipe("eval.retain=[]", "train.disable_tqdm=false", "train.logging_steps=2")) == 0
    shown = capsys.readouterr()
    steps = [line for line in shown.err.splitlines() if line.startswith("step ") and "loss" in line]
    assert [line.split()[1] for line in steps] == ["2/4", "4/4"]
    assert "tokens/s" in steps[0] and "MFU" not in steps[0]
    assert "'loss'" not in shown.out + shown.err and "it/s]" not in shown.out
