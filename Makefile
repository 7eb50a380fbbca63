# Only make and a Python >= 3.11 are assumed. The virtual environment is made when it is first needed;
# `make VENV=/somewhere/else test` puts it outside the checkout.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.interlock-stamp
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo $$python && break; done)

# What its own tests must cover to the last branch, and what all tests cover to nine tenths.
PURE := orchestrator/pure/*,actors/spec.py,actors/strict.py
TEMPLATE := orchestrator/template/*
PYTEST_ARGS ?= -n auto --dist loadgroup
BENCH_ARGS ?=

.DELETE_ON_ERROR:
.PHONY: help demo test tests coverage check format bench mutants versions clean

help: ## say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(STAMP) ## see a ticket become a plan, be approved, act on three local hosts, crash, go on, go back
	$(BIN)/python examples/demo/play.py

test: check tests ## all that a change must pass

tests: $(STAMP) ## the tests alone, and that the pure half is covered
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='$(PURE)' --fail-under=100

coverage: export INTERLOCK_COVERAGE := all
coverage: tests ## the tests, and how much of the rest they cover; takes longer
	$(BIN)/coverage report --omit='$(PURE),$(TEMPLATE)' --fail-under=90

check: $(STAMP) ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## rewrite what the style can rewrite
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure against the disk and against the peers, on this machine
	$(BIN)/python tests/bench/run.py $(BENCH_ARGS)

mutants: $(STAMP) ## test the tests: each seeded bug must be caught
	$(BIN)/python tests/mutants.py

versions: $(STAMP) ## say what is used
	@$(BIN)/python --version
	@$(BIN)/python -m pip list --format=freeze --disable-pip-version-check

clean: ## forget everything that was made here
	rm -rf .venv .coverage .coverage.* htmlcov build dist .bench
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find actors orchestrator tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo >&2 \
		"No Python >= 3.11 with venv was found (tried python3.13, python3.12, python3.11, python3)." \
		"Install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv "$(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
