# Set-up happens by itself: each target installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Two jobs that spin on the same cores slow each other several times over.
export TOKENIZERS_PARALLELISM := false

.PHONY: setup quickstart test lint bench soak clean
.DEFAULT_GOAL := setup

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[dev]'
	touch $@

quickstart: setup
	$(BIN)/temper fetch smollm2-135m-instruct
	$(BIN)/temper train quickstart

test: lint
	$(BIN)/python -m pytest -m 'not soak' --durations=10

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	for file in tests/benchmarks/[a-z]*.py; do $(BIN)/python -m "tests.benchmarks.$$(basename $$file .py)" || exit 1; done

soak: setup
	$(BIN)/python -m pytest -m soak --durations=0

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
