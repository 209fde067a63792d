"""JSON of somebody's run folder that is none, too deep or without an end: the reader names the file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval_hooks import EvalError
from eval_hooks.certificate import certificates
from eval_hooks.compare import compare
from eval_hooks.files import completed, evaluations, is_whole, json_lines
from eval_hooks.report import print_screen, write_report
from eval_hooks.variance import variance
from launch.cli import app
from launch.problems import RecipeError
from launch.reread import read_back
from tests.eval_hooks.runs import run_folder
from tests.hostile.files import FOLDER_JSON
from trainers import TrainError
from trainers.models import locate

READ_BY_REPORT = ("status.json", "environment.json", "pipeline.json", "evals/step-20/summary.json")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run")


@pytest.mark.parametrize("content", FOLDER_JSON)
def test_what_reads_a_run_folder_names_the_file_that_is_none(content: str, run: Path, tmp_path: Path) -> None:
    for name in READ_BY_REPORT:
        file = run / name
        kept = file.read_bytes() if file.is_file() else None
        file.write_bytes(FOLDER_JSON[content])
        for show in (write_report, print_screen):
            with pytest.raises(EvalError, match=file.name):
                show(run)
        if "summary" in name:
            done = CliRunner().invoke(app, ["report", str(run)])
            assert done.exit_code == 2 and file.name in done.stderr and "Traceback" not in done.stderr
            for other in (compare, variance):
                with pytest.raises(EvalError, match="summary"):
                    other([str(run), str(run)], out=tmp_path / "out")
        file.unlink()
        if kept is not None:
            file.write_bytes(kept)
    (run / "recipe.resolved.json").write_bytes(FOLDER_JSON[content])
    (run / "recipe.yaml").write_text("")
    with pytest.raises(RecipeError, match="cannot be read back"):
        read_back(run)
    done = CliRunner().invoke(app, ["watch", str(run)])
    assert "Traceback" not in done.output and done.exit_code == 2


@pytest.mark.parametrize("content", FOLDER_JSON)
def test_a_checkpoint_or_certificate_that_is_none_is_not_whole(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "checkpoint-2"
    folder.mkdir(parents=True)
    (folder / "complete.json").write_bytes(FOLDER_JSON[content])
    (folder / "certificate.json").write_bytes(FOLDER_JSON[content])
    (folder / "adapter_config.json").write_bytes(FOLDER_JSON[content])
    assert completed(folder) == {} and not is_whole(folder) and certificates(tmp_path) == []
    with pytest.raises((EvalError, TrainError), match=r"adapter_config\.json"):
        locate(str(folder))


def test_lines_of_metrics_that_are_none_are_left_out(tmp_path: Path) -> None:
    lines = [b'{"step": 1}', *(content for content in FOLDER_JSON.values() if b"\n" not in content), b'{"step": 2}']
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert [row for row in json_lines(tmp_path / "metrics.jsonl") if "x" not in row][:1] == [{"step": 1}]
    assert {"step": 2} in json_lines(tmp_path / "metrics.jsonl")


def test_a_folder_in_a_files_place_is_no_file(run: Path) -> None:
    (run / "status.json").unlink()
    (run / "status.json").mkdir()
    assert len(evaluations(run)) == 2 and write_report(run)
