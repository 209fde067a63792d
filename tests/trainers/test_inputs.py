"""What a run reads besides its recipe: other content is refused when it is gone on with, and said by file and hash."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eval_hooks.report
from launch.load import load
from tests.conftest import SMALL_VOCABULARY, tiny_llama
from tests.trainers.conftest import RECIPE, write_rows
from trainers import TrainError
from trainers.changes import check_changes
from trainers.inputs import differences, inputs_of, versions
from trainers.run import train
from trainers.rundir import read_status

WORDS = ("train.save_strategy=steps", "train.save_steps=1", "train.save_total_limit=9", "train.max_steps=2",
         "eval.every=2")  # fmt: skip
PLUGIN = "from data_mix.catalog import SOURCES as THEIRS\nSOURCES = {'mine': THEIRS['jsonl']}\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Path]:
    """The folder of a run of 2 steps with a template file, a plugin and a base of its own."""
    home = tmp_path_factory.mktemp("inputs")
    shutil.copytree(tiny_folder, home / "base")
    text = RECIPE.format(model="./base", data=write_rows(home / "rows.jsonl"))
    (home / "tiny.yaml").write_text("plugins: [./mine.py]\n" + text)
    (home / "mine.py").write_text(PLUGIN)
    (home / "own.jinja").write_text(
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("TEMPERING_CACHE", str(home / "cache"))
        patch.setattr(eval_hooks.report, "write_report", lambda folder: [])
        assert again(home) == 0
        yield home


def again(home: Path, *words: str, **how: Any) -> int:
    recipe = load(str(home / "tiny.yaml"), (*WORDS, "model.chat_template=own.jinja", *words))
    return train(recipe, run_dir=home / "run", **how)


def sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def appended(file: Path) -> None:
    file.write_text(file.read_text() + "\n# more\n")


def commented(file: Path) -> None:
    file.write_text("{# more #}" + file.read_text())


def other_rows(file: Path) -> None:
    file.write_text(file.read_text().replace("Count", "Sum"))


def other_weights(file: Path) -> None:
    tiny_llama(SMALL_VOCABULARY, seed=1).save_pretrained(file.parent)


SPOILED: dict[str, Callable[[Path], None]] = {
    "rows.jsonl": other_rows,
    "own.jinja": commented,
    "mine.py": appended,
    "base/model.safetensors": other_weights,
    "base/tokenizer.json": lambda file: file.write_text(file.read_text() + " "),
}


@pytest.mark.parametrize("name", SPOILED)
def test_other_content_is_refused_with_file_and_both_hashes(whole: Path, name: str) -> None:
    """The run folder stays as it was; with the old content back it goes on."""
    file, run = whole / name, whole / "run"
    kept, before = file.read_bytes(), sha(file)
    said = {one: (run / one).read_bytes() for one in ("data.manifest.json", "recipe.resolved.json", "inputs.json")}
    try:
        SPOILED[name](file)
        with pytest.raises(TrainError) as caught:
            again(whole, resume=True)
        assert f"{file.name} (" in str(caught.value) and f"sha256 {before} -> {sha(file)}" in str(caught.value)
        assert "--unchecked" in str(caught.value)
    finally:
        file.write_bytes(kept)
    assert all((run / one).read_bytes() == content for one, content in said.items())
    assert read_status(run)["state"] == "done"


def test_unchecked_goes_on_and_writes_it_down(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old manifest is in aside/; a package of another version is told."""
    shutil.copytree(whole, tmp_path / "home")
    home = tmp_path / "home"
    monkeypatch.chdir(home)
    file, run = home / "rows.jsonl", home / "run"
    manifest = (run / "data.manifest.json").read_bytes()
    environment = json.loads((run / "environment.json").read_text())
    environment["packages"]["trl"] = "0.9.0"
    (run / "environment.json").write_text(json.dumps(environment))
    text = json.loads((run / "recipe.resolved.json").read_text())
    text["model"]["path"], text["data"]["train"][0]["path"] = str(home / "base"), str(file)
    text["model"]["chat_template"] = str(home / "own.jinja")
    (run / "recipe.resolved.json").write_text(json.dumps(text))
    before = sha(file)
    other_rows(file)
    (home / "tiny.yaml").write_text((home / "tiny.yaml").read_text().replace(str(whole), str(home)))
    assert again(home, "train.max_steps=3", resume=True, unchecked=True) == 0
    (resumed,) = read_status(run)["resumed"]
    assert resumed["unchecked"] == [f"{file} (rows/train.jsonl): sha256 {before} -> {sha(file)}"]
    assert any(line.startswith("trl: 0.9.0 -> ") for line in resumed["changed"])
    (aside,) = (run / "aside").iterdir()
    assert (aside / "data.manifest.json").read_bytes() == manifest != (run / "data.manifest.json").read_bytes()


def test_rows_are_compared_as_they_are_read(whole: Path) -> None:
    """Touched, packed anew, longer behind the first `n`: the same rows, told; a version alone is told too."""
    recipe = load(str(whole / "tiny.yaml"), WORDS)
    file, kept = whole / "rows.jsonl", (whole / "rows.jsonl").read_bytes()
    manifest = {"train": {"jsonl": {"sha256": "0" * 64}}}
    before = inputs_of(recipe, recipe.model, manifest)
    os.utime(file)
    assert differences(before, inputs_of(recipe, recipe.model, manifest)).told == []
    try:
        file.write_bytes(kept + b"{}\n")
        found = differences(before, inputs_of(recipe, recipe.model, manifest))
    finally:
        file.write_bytes(kept)
    assert found.refused == [] and "what is read of it is the same" in found.told[0]
    assert versions({"python": "3.1", "packages": {"torch": "1.0", "nothing": None}})[0].startswith("python: 3.1 -> ")


def test_what_has_no_file_is_named_by_its_source(whole: Path) -> None:
    """Rows of `pydoc` after an update of Python; a base of the hub at another commit; a task's items."""
    before = {"rows/train.docs": {"file": "source pydoc", "sha256": "a" * 64},
              "model/org": {"file": "org/name", "sha256": "1234"},
              "items/mine": {"file": "items", "sha256": "c" * 64, "files": {"a.jsonl": "d" * 64}}}  # fmt: skip
    now = {"rows/train.docs": {"file": "source pydoc", "sha256": "b" * 64},
           "model/org": {"file": "org/name", "sha256": "5678"},
           "items/mine": {"file": "items", "sha256": "e" * 64, "files": {"a.jsonl": "f" * 64, "b.jsonl": "0" * 64}}}  # fmt: skip
    assert list(differences(before, now).refused) == [
        f"a.jsonl (items/mine): sha256 {'d' * 16} -> {'f' * 16}",
        f"b.jsonl (items/mine): sha256 not there -> {'0' * 16}",
        "org/name (model/org): sha256 1234 -> 5678",
        f"source pydoc (rows/train.docs): sha256 {'a' * 16} -> {'b' * 16}",
    ]


def test_all_that_differs_is_said_at_once(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole / "run", tmp_path / "run")
    recipe = load(str(whole / "tiny.yaml"), (*WORDS, "model.chat_template=own.jinja", "train.seed=9"))
    with pytest.raises(TrainError) as caught:
        check_changes(tmp_path / "run", recipe, {})
    assert "train.seed: 7 -> 9" in str(caught.value) and "model.safetensors (model/" in str(caught.value)
