# Two commands do everything from a bare clone: `make reproduce` and `make test`. Each sets up .venv by itself, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where browser tests find Chromium; without one they are skipped on a laptop and fail in CI.
CHROMIUM ?= /usr/bin/chromium
# Two processes; a file stays in one of them, because its fixtures are dear.
PYTEST := CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test lint unit test-all dashboard lab bench lock wheel clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "workbench needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $(READY)

setup: $(READY)  ## make .venv with everything installed

reproduce: $(READY)  ## run every quick study, fill the store, show the scoreboard
	$(BIN)/workbench reproduce --preset quick

test: lint unit  ## lint, types, layers, and every test but the full contract products

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check workbench apps
	$(BIN)/lint-imports

unit: $(READY)
	$(PYTEST) -m "not full"

test-all: lint  ## the same with the full products of the contract tables
	$(PYTEST)

dashboard: $(READY)  ## open the dashboard (this machine only)
	$(BIN)/workbench dashboard

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/workbench lab

bench: $(READY)  ## measure speed beside peers; writes benchmarks/results
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

lock: $(READY)  ## resolve pyproject.toml anew into requirements.lock
	$(BIN)/uv pip compile pyproject.toml models.in --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements.lock

wheel: $(READY)  ## build dist/*.whl
	rm -rf dist
	$(BIN)/python -m hatchling build

clean:  ## remove .venv and everything that was generated; recorded runs in store/runs stay
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
