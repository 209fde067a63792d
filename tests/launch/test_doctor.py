"""What the doctor sees."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch import doctor
from launch.cli import app


def test_this_machine_is_usable_and_the_table_names_the_stack() -> None:
    done = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for name in ("python", "torch", "trl", "memory", "disk", "cpu"):
        assert name in done.output


def test_a_missing_package_is_bad_and_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["no-such-package>=1", "pyyaml>=6", "pyyaml>=99; extra == 'dev'", "typer>=99"]
    monkeypatch.setattr(doctor, "requires", lambda name: lines)
    found = {finding.name: finding for finding in doctor.packages()}
    assert set(found) == {"no-such-package", "typer"}
    assert found["no-such-package"].state == found["typer"].state == "bad"
    assert "pip install" in found["no-such-package"].remedy
    assert ">=99" in found["typer"].found


def test_a_bad_finding_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = doctor.Finding(name="x", state="bad", found="[gone]", remedy="pip install 'x[y]'")
    monkeypatch.setattr(doctor, "examine", lambda hub: [bad])
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "[gone]" in done.output
    assert "x[y]" in done.output


def test_a_model_that_is_not_fetched_is_a_warning_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path / "cache"))
    assert doctor.embedded().state == "warn"
    assert doctor.embedded().remedy == "temper fetch smollm2-135m-instruct"
    assert doctor.cache().found == str(tmp_path / "cache")


def test_offline_is_said_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in doctor.hub_answers().found


def test_a_hub_that_does_not_answer_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert doctor.hub_answers(timeout_s=0.5).state == "warn"


def test_more_threads_than_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert doctor.processor().remedy.endswith(f"OMP_NUM_THREADS={cores}")
