"""The wheel carries the recipes: a bare name works from any folder, without the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_installed_wheel_lists_and_finds_its_recipes(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "launch/recipes/quickstart.yaml" in names
    assert "eval_hooks/report/report.html.j2" in names and "eval_hooks/tasks/pocket/test.jsonl" in names
    assert not [name for name in names if name.startswith("tests/")]
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for words, due in ((["list", "recipes"], "sft/forgetful"), (["train", "quickstart", "--dry-run"], "40 steps")):
        command = [sys.executable, "-P", "-m", "launch", *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert due in done.stdout, done.stderr
