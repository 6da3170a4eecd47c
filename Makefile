# make demo   set up, run a synthetic study from one file to its front page, say where it lies
# make test   set up, check code and notebooks, run all tests
# make coverage   which lines of the package notebooks and tests run
# make site   run every notebook and render the documentation into _docs
# make lab    open the notebooks in JupyterLab
# make clean  remove what the targets above made, except the environment in .venv

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# Two notebooks at a time, one thread each: more threads than cores only wait for each other.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" MPLBACKEND=agg OMP_NUM_THREADS=1
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
METADATA := setup.py settings.ini pyproject.toml constraints.txt

.PHONY: demo test coverage site lab clean readme

demo: $(VENV)/.run
	$(BIN)/usvbook demo -o demo --force

test: $(VENV)/.dev
	@echo "== the package is what the notebooks export, and the notebooks hold no outputs"
	@before=$$(git diff | git hash-object --stdin); \
	$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python .ci/readme.py; \
	after=$$(git diff | git hash-object --stdin); \
	if [ "$$before" != "$$after" ]; then git status --short; \
	echo "export and clean changed the tree: commit what they changed"; exit 1; fi
	@echo "== ruff"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== mypy"
	$(BIN)/mypy
	@echo "== notebooks"
	$(RUN) LOKY_MAX_CPU_COUNT=1 $(BIN)/nbdev_test --n_workers 2 --timing
	@echo "== tests"
	$(RUN) $(BIN)/python -m pytest -rs --numprocesses logical --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder

coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(RUN) LOKY_MAX_CPU_COUNT=1 $(BIN)/coverage run $(BIN)/nbdev_test --n_workers 2
	$(RUN) $(BIN)/coverage run -m pytest --numprocesses logical --dist loadfile
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report

site: $(VENV)/.dev
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/site.py

lab: $(VENV)/.dev
	$(BIN)/jupyter lab nbs

readme: $(VENV)/.dev
	$(BIN)/python .ci/readme.py

clean:
	rm -rf build dist demo _docs _proc *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find nbs usvbook tests benchmarks .ci -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
	echo "usvbook needs Python 3.11, 3.12 or 3.13; install one, or name it: make demo PYTHON=..."; \
	exit 1; fi
	$(PYTHON) -m venv $(VENV)

# What it takes to use the program, and what it takes to work on it.
$(VENV)/.run: $(METADATA) | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(METADATA) | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.run
