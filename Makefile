# Everything starts here: `make quickstart` or `make test` on a machine with python3 (3.11 or
# newer), pip and make sets up what it needs first. The environment is .venv/, made by uv.

export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true
# Every process imports torch, Ray and MLflow: without bytecode that is read again, 6 s more of each.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOWEST := .venv-lowest
# The uv of this machine where it runs, else one of our own in .uv/ (no virtualenv needed for it).
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),.uv/bin/uv)
# Written last, and named after the folder: a moved or copied checkout sets up again.
STAMP := $(VENV)/.installed-$(shell pwd | cksum | cut -d' ' -f1)
# There while a set-up is under way: found by the next one, it means start from nothing.
UNFINISHED := $(VENV)/.installing

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-slow test-lowest lint bench constraints clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

quickstart: $(STAMP) ## compress a teacher without its data, and show what 10x and 100x mean
	$(VENV)/bin/fastdfkd quickstart

test: $(STAMP) ## the tests that take seconds
	$(PY) -m pytest -m 'not slow and not gpu'

test-slow: $(STAMP) ## the tests that take minutes (none collected is no failure)
	$(PY) -m pytest -m 'slow and not gpu' || [ $$? -eq 5 ]

# Made anew each time, so that it is what pyproject.toml says now. What old libraries warn of is no error.
test-lowest: | $(UV) ## the tests of `make test` on the lowest versions that pyproject.toml promises
	$(UV) venv -q --clear --no-python-downloads --python $(PYTHON) $(LOWEST)
	$(UV) pip install --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[dev]'
	$(LOWEST)/bin/python -m pytest -W default -m 'not slow and not gpu'

lint: $(STAMP) ## ruff, mypy, and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP) ## where the time of a step goes
	$(PY) -m benchmarks.step_cost --quick

setup: $(STAMP) ## only the environment, .venv/

constraints: | $(UV) ## resolve the pinned versions again
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o constraints.txt
	@! grep -n '://' constraints.txt || { echo 'constraints.txt names a host' >&2; exit 1; }

clean: ## remove what make built; runs/, mlflow.db and downloaded data stay
	rm -rf $(VENV) $(LOWEST) .uv dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment whose Python is gone is made again, whatever the stamp says.
ifneq ($(shell test -x $(PY) && echo usable),usable)
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "fastdfkd needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Install one and name it: make PYTHON=python3.11 ..." >&2; exit 1; }
	@if [ -e $(UNFINISHED) ] || ! $(PY) -c '' 2>/dev/null \
		|| { ls $(VENV)/.installed-* >/dev/null 2>&1 && [ ! -e $@ ]; }; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@[ -x $(PY) ] || $(UV) venv -q --allow-existing --no-python-downloads --python $(PYTHON) $(VENV)
	$(UV) pip install --python $(PY) -c constraints.txt -e '.[dev]'
	@rm $(UNFINISHED) && touch $@

# By the Python behind an activated environment, which may have no pip of its own.
.uv/bin/uv:
	rm -rf .uv
	$$($(PYTHON) -c 'import sys; print(sys._base_executable)') -m pip install --quiet --disable-pip-version-check --target .uv/part uv
	mv .uv/part/uv* .uv/ && mv .uv/part/bin .uv/bin
