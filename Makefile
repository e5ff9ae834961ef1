# Everything a fresh machine needs is Python >= 3.11, pip and make. `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run test lint check fmt lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv and install the locked versions

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "interlock needs Python >= 3.11; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup  ## set up, then run the sample pipeline to its report
	$(BIN)/interlock run licence-scan

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips --violations -t=3.8- engine/workers/host/_interlock_host/runner.py engine/workers/host/_interlock_host/runner_*.py

check: lint  ## the inner loop: lint, types, import contracts, unit tests (under a minute)
	$(BIN)/pytest -q -n 2 tests/unit

test: lint  ## everything: lint, then all tests with real processes, with branch coverage of engine/
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n 2 tests
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90

fmt: setup  ## format and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup  ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev --extra samples -o requirements.lock pyproject.toml

clean:  ## remove the environment and caches (never .interlock/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
