"""The files of pinned versions against what the package asks for, and each other; `make soak` has a resolver agree."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OWN = "tempering"
CPU, GPU = "constraints.txt", "constraints-gpu.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def pins(file: str) -> dict[str, tuple[str, str]]:
    """Package -> (version, the reason that stands beside it, if any)."""
    found = {}
    for line in (ROOT / file).read_text("utf-8").splitlines():
        text, _, reason = line.partition("#")
        if text.strip():
            name, equal, version = text.strip().partition("==")
            assert equal and version, f"{file}: {line!r} pins nothing"
            assert canonicalize_name(name) not in found, f"{file}: {name} twice"
            found[canonicalize_name(name)] = (version, reason.strip())
    return found


def asked(*extras: str) -> Iterator[Requirement]:
    """What the package asks for with these extras; of itself, what the extra named there asks for."""
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]:
        requirement = Requirement(line)
        if requirement.name == OWN:
            yield from asked(*sorted(requirement.extras))
        else:
            yield requirement


@pytest.mark.parametrize(("file", "extras"), [(CPU, ("dev",)), (GPU, ("dev", "gpu")), (GPU, tuple(EXTRAS))])
def test_every_requirement_has_a_pin_that_satisfies_it(file: str, extras: tuple[str, ...]) -> None:
    there = pins(file)
    wrong = [
        f"{requirement}: {there.get(canonicalize_name(requirement.name), ('no pin',))[0]}"
        for requirement in asked(*extras)
        if canonicalize_name(requirement.name) not in there
        or not requirement.specifier.contains(there[canonicalize_name(requirement.name)][0])
    ]
    assert not wrong


def test_every_extra_is_installed_with_one_of_the_two_files() -> None:
    """What `dev` reaches stands in both; `gpu` alone is not for every machine."""
    reached = {extra for line in EXTRAS["dev"] if (own := Requirement(line)).name == OWN for extra in own.extras}
    assert reached | {"dev", "gpu"} == set(EXTRAS)


def test_both_files_pin_the_same_versions_unless_a_reason_stands_beside() -> None:
    cpu, gpu = pins(CPU), pins(GPU)
    assert not cpu.keys() - gpu.keys()
    own = {canonicalize_name(requirement.name) for requirement in map(Requirement, EXTRAS["gpu"])}
    assert gpu.keys() - cpu.keys() == own
    differ = {name: gpu[name] for name in cpu if cpu[name][0] != gpu[name][0]}
    assert [name for name, (_, reason) in differ.items() if cpu[name][0] not in reason] == []


def test_the_pinned_vllm_is_one_that_the_pinned_trl_works_with() -> None:
    """By TRL's own metadata, where TRL is the pinned one; else it would warn, and its engine be untried."""
    assert importlib.metadata.version("trl") == pins(GPU)["trl"][0]
    (works,) = [
        requirement.specifier
        for requirement in map(Requirement, importlib.metadata.requires("trl") or [])
        if requirement.name == "vllm" and requirement.marker and requirement.marker.evaluate({"extra": "vllm"})
    ]
    (ours,) = [requirement.specifier for requirement in map(Requirement, EXTRAS["gpu"]) if requirement.name == "vllm"]
    least = next(one.version for one in ours if one.operator == ">=")
    assert works.contains(pins(GPU)["vllm"][0]) and works.contains(least)


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resolver that reads metadata only; pip would fetch gigabytes."""
    folder = tmp_path_factory.mktemp("uv")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "uv"], check=True)
    return folder / "bin" / "uv"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("python", "platform"), [("3.11", "x86_64-manylinux_2_31"), ("3.13", "aarch64-manylinux_2_35")]
)
@pytest.mark.parametrize(("file", "extras"), [(CPU, ("dev",)), (GPU, ("gpu",)), (GPU, ("dev", "gpu"))])
def test_a_resolver_finds_versions(
    uv: Path, tmp_path: Path, file: str, extras: tuple[str, ...], python: str, platform: str
) -> None:
    """On pip's own index, which uv does not read off pip's configuration by itself."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    index = ["--default-index", said.stdout.strip()] if said.returncode == 0 else []
    words = [word for extra in extras for word in ("--extra", extra)]
    done = subprocess.run(
        [uv, "pip", "compile", ROOT / "pyproject.toml", *words, "-c", ROOT / file, "--python-version", python,
         "--python-platform", platform, "--quiet", "--output-file", tmp_path / "found.txt", *index],
        env={**os.environ, "UV_CACHE_DIR": str(uv.parents[1] / "cache")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "found.txt").read_text("utf-8").splitlines()
    assert f"torch=={pins(file)['torch'][0]}" in lines
