"""What the doctor sees."""

import importlib.metadata
import os
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from launch import doctor
from launch.cli import app
from launch.two_ranks import all_reduce


def test_this_machine_is_usable_and_the_table_names_the_stack() -> None:
    done = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for name in ("python", "torch", "trl", "memory", "disk", "cpu", "two ranks, gloo"):
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
    monkeypatch.setattr(doctor, "examine", lambda hub, ranks: [bad])
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


def one_of_two(text: str) -> list[str]:
    """A program that stands in for a rank; it gets RANK BACKEND PORT, as r, b, p."""
    head = "import sys, time; r, b, p = sys.argv[1:]; from launch.two_ranks import main, _phase\n"
    return [sys.executable, "-c", head + text]


def test_two_ranks_add_up() -> None:
    found = list(doctor.two_ranks())
    assert [f.state for f in found] == ["ok"] * len(found) and "all-reduce right" in found[0].found


def test_the_rank_that_dies_is_named_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 1 finds no torch; rank 0, which waits for it, is ended a second later and not at the timeout."""
    text = "main(0, b, p) if r == '0' else (_phase('importing torch'), sys.exit('ImportError: libtorch'))"
    done = all_reduce("gloo", 30.0, one_of_two(text))
    assert "rank 1 failed at importing torch (ImportError: libtorch)" in done.problem and done.seconds < 20
    monkeypatch.setattr("launch.two_ranks.all_reduce", lambda *a: done)
    finding = next(doctor.two_ranks())
    assert finding.state == "bad" and "GLOO_SOCKET_IFNAME" in finding.remedy


def test_a_rank_that_hangs_is_ended_and_named() -> None:
    """Rank 1 never comes to the meeting at which rank 0 waits."""
    text = "_phase('importing torch' if r == '1' else 'meeting the other rank over TCP'); time.sleep(99)"
    done = all_reduce("gloo", 4.0, one_of_two(text))
    assert "rank 1 not done after 4 s at importing torch" in done.problem and 4 <= done.seconds < 10
    assert "rank 0 not done after 4 s at meeting the other rank over TCP" in done.problem


def test_a_wrong_sum_is_no_success() -> None:
    """Both ranks hold another number than theirs: 2 + 3."""
    done = all_reduce(
        "gloo",
        30.0,
        one_of_two("import torch; t = torch.tensor\ntorch.tensor = lambda v, **k: t(v + 1, **k)\nmain(int(r), b, p)"),
    )
    assert "1 + 2 came out as 5.0" in done.problem


def test_an_extra_that_is_not_there_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    found = {finding.name: finding for finding in doctor.optional()}
    assert found["torchao"].state == "ok" and "tempering[quantise]" in found["torchao"].remedy


def test_with_a_gpu_the_doctor_says_what_of_the_extra_for_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> str:
        if name != "vllm":
            raise PackageNotFoundError(name)
        return "0.30.0"

    monkeypatch.setattr(doctor, "version", installed)
    monkeypatch.setattr(doctor, "has_gpu", lambda: True)
    found = {finding.name: finding for finding in doctor.optional()}
    assert (found["vllm"].found, found["vllm"].remedy) == ("0.30.0", "")
    assert found["liger-kernel"].remedy == "pip install 'tempering[gpu]', to have it"
    assert found["bitsandbytes"].found.startswith("not installed, so no training on 4-bit weights")
    assert found["flash-attn"].remedy == "pip install flash-attn, to have it"
    assert {finding.state for finding in found.values()} == {"ok"}
    monkeypatch.setattr(doctor, "has_gpu", lambda: False)
    assert {finding.name for finding in doctor.optional()} == set(doctor.OPTIONAL)


def test_every_package_of_an_extra_is_one_that_the_doctor_looks_for() -> None:
    """But `dev`, which is for those who change the code."""
    lines = [Requirement(line) for line in importlib.metadata.requires("tempering") or []]
    named = {line.name for line in lines if line.marker and not line.marker.evaluate({"extra": "dev"})}
    assert named == {name for name, (extra, _) in {**doctor.OPTIONAL, **doctor.ON_GPU}.items() if extra}


def test_a_cache_that_is_not_the_users_own_is_bad_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path))
    assert doctor.cache().state == "bad" and "everybody may write into it" in doctor.cache().found
    assert doctor.embedded().state == "warn"
