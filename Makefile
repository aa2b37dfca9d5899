# make demo  - the main job: a sentence becomes a reward, a trained policy and a report
# make test  - the fast tests
# Both make .venv by themselves. Variables: PYTHON (3.11 or newer), VENV.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
EXTRAS ?= dev
export UV_HTTP_TIMEOUT ?= 300
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
# Small matrices: one thread per process is faster than a pool of threads per process.
export OMP_NUM_THREADS ?= 1
# A test that hangs ends its worker, which is then replaced. A signal would end the test alone, and its clean-up would wait for the same hung browser.
HANGS := --timeout-method=thread

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint format types bench docs clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## .venv with everything the tests need, and the system's GL, browser and PostgreSQL where possible
	@bash .ci/system gl browser postgres

$(STAMP): pyproject.toml constraints.txt
	@bash .ci/venv "$(PYTHON)" "$(VENV)" "$(EXTRAS)"
	@touch $@

demo: $(STAMP)  ## sentence -> reward program -> trained policy -> report, on this machine
	@bash .ci/system gl
	$(BIN)/robo-reward demo

test: setup  ## the fast tests
	$(BIN)/python -m pytest tests -q -n 2 --dist loadfile $(HANGS)

test-slow: setup  ## the tests that take minutes
	$(BIN)/python -m pytest tests -q -m slow -n 1 --timeout=900 $(HANGS) || [ $$? -eq 5 ]  # 5: there are none

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## ruff, changing files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## pyright
	$(BIN)/pyright

bench: setup  ## quick run of every benchmark; results in runs/bench
	@mkdir -p runs/bench
	@set -e; for file in benchmarks/[a-z]*.py; do name=$$(basename $$file .py); \
	  echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick --json runs/bench/$$name.json; done

docs: $(STAMP)  ## the documentation site, in site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove what was made, except runs
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
