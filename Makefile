# `make storm`: the main job on this machine. `make quick`: a minute of tests, `make test`: what a change must pass.
# `make help` lists all.
PYTHON ?= python3
STORMLAB := .venv/bin/stormlab
PLAN := plans/01-stack-comparison.toml

.DEFAULT_GOAL := help
.PHONY: help setup storm quick test soak notebooks lab bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

# What a step takes, in seconds since $$begun.
TOOK = echo "done in $$(($$(date +%s) - begun)) s"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Storm Lab needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	@test -x .venv/bin/pip || { begun=$$(date +%s); printf 'setup: virtual environment in .venv … '; \
	  $(PYTHON) -m venv .venv && $(TOOK) || { rm -rf .venv; echo failed; echo "setup: $(PYTHON) cannot make virtual environments; install your distribution's python3-venv"; exit 1; }; }
	@begun=$$(date +%s); printf 'setup: Python packages into .venv (about a minute) … '; \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' && $(TOOK)
	@touch $@

setup: .venv/installed ## virtual environment in .venv, the native engine, and every server that can be built
	@.venv/bin/python -m harness.servers.build

storm: setup ## both scenarios on every stack there is, measured now; table, notebook and figures
	@$(STORMLAB) run --plan $(PLAN)
	@$(STORMLAB) notebooks 01-stack-comparison -p source here

quick: .venv/installed ## ruff, mypy and tests/quick, in under a minute: for every change on the way
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/pytest --quiet --numprocesses 2 tests/quick

test: setup quick ## everything a change must pass, in a quarter of an hour
	@.venv/bin/pytest --numprocesses 4 --dist load --maxschedchunk 1 tests/notebooks
	@.venv/bin/pytest --numprocesses 2 --dist loadfile tests/reference
	@.venv/bin/pytest --numprocesses 2 --dist loadfile -m "not alone" tests/storms
	@.venv/bin/pytest -m alone tests/storms tests/browser

soak: setup ## the long forms, for hours: the whole calibration, kills at every moment, all kept rows, storms three times
	@STORMLAB_SOAK=1 .venv/bin/pytest --numprocesses 2 tests/reference/test_unchanged.py
	@for round in 1 2 3; do STORMLAB_SOAK=1 .venv/bin/pytest tests/storms || exit 1; done

notebooks: setup ## execute the committed notebooks on the reference data, in place; the README's verdicts too
	@$(STORMLAB) notebooks --export
	@$(STORMLAB) verdicts --export >/dev/null

lab: setup ## JupyterLab in the collection
	@.venv/bin/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

bench: setup ## the benchmarks, printed; benchmarks/generator.py --export makes their page
	@.venv/bin/python benchmarks/row_cost.py
	@.venv/bin/python benchmarks/witness_cost.py
	@.venv/bin/python benchmarks/generator.py

clean: ## remove the environment and everything built; runs are kept
	rm -rf .venv .build *.egg-info
