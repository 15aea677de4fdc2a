# Everything happens in .venv; nothing outside this folder is changed. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --no-user --constraint constraints.txt
INPUTS := pyproject.toml setup.py constraints.txt Makefile
# Without what its makers say of other versions.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

# An active environment, or one made for another Python, must not reach into ours.
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test families executors limits reference docs serve-docs soak lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.ready-dev ## install everything into .venv, tools for development included

quickstart: $(VENV)/.ready ## learn ranks for a real encoder, retrain, compare, draw: a few minutes (ARGS="cg")
	$(BIN)/autolora-meta run quickstart $(ARGS)

test: $(VENV)/.ready-dev ## run all tests that need neither GPU nor network
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist=worksteal

families: $(VENV)/.ready-dev ## run a tiny model of each of 130 families end to end: a minute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist=worksteal -m families

executors: $(VENV)/.ready-executors ## run small studies by dask, Ray and submitit, and kill their workers: some minutes
	$(BIN)/python -m pytest -m executors

limits: $(VENV)/.ready-dev ## run every family and write docs/limits.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.families.table

reference: $(VENV)/.ready-dev ## write docs/reference/ and the schemas of YAML files from the option records
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.reference

docs: $(VENV)/.ready-docs ## build the documentation into site/, which needs no network to read
	$(MKDOCS) build --strict

serve-docs: $(VENV)/.ready-docs ## show the documentation in a browser, and follow what is edited
	$(MKDOCS) serve --strict

soak: $(VENV)/.ready-dev ## kill, damage and fuzz runs for an hour, and print a page (ARGS="--hours 0.1")
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak $(ARGS)

lint: $(VENV)/.ready-dev ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@mkdir -p $(VENV)/typing/autolora_meta
	@cd $(VENV)/typing/autolora_meta && ln -sfn ../../../problems problems \
	  && ln -sfn ../../../engine_configs engine_configs \
	  && ln -sfn ../../../autolora_meta/__init__.py __init__.py
	$(BIN)/pyright

clean: ## remove .venv and everything that was built; runs/ stays
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is newer than its inputs once they are installed: a second call installs nothing.
$(VENV)/.ready: $(INPUTS) | $(BIN)/pip
	$(INSTALL) --no-deps --ignore-requires-python "betty-ml>=0.2.1,<0.3"
	$(INSTALL) --editable ".[quickstart]"
	@touch $@

$(VENV)/.ready-dev: $(INPUTS) | $(BIN)/pip
	$(INSTALL) --no-deps --ignore-requires-python "betty-ml>=0.2.1,<0.3"
	$(INSTALL) --editable ".[quickstart,dev]"
	@touch $(VENV)/.ready $@

$(VENV)/.ready-executors: $(INPUTS) | $(VENV)/.ready-dev
	$(INSTALL) --editable ".[ray]"
	@touch $@

$(VENV)/.ready-docs: $(INPUTS) | $(VENV)/.ready-dev
	$(INSTALL) --editable ".[docs]"
	@touch $@

# pip comes last in a new environment, so its presence says that the environment is whole.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo \
	  "No '$(PYTHON)' found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11"; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "autolora-meta needs Python 3.11 or newer; '$(PYTHON)' is" \
	  "$$($(PYTHON) -c 'import platform; print(platform.python_version())')." \
	  "Name a newer one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
	  "'$(PYTHON)' cannot make a virtual environment with pip: its venv or ensurepip is missing." \
	  "On Debian and Ubuntu: apt install python3-venv. Or name another: make PYTHON=/path/to/python3.11"; \
	  exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
