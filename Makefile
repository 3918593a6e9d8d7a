# Requires python3 (3.11 or newer), pip and make. Every target first installs what it needs into
# .venv/, with uv.

export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true
# Every process imports torch, Ray and MLflow. Without cached bytecode that takes 6 s more per process.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# The uv on the PATH if it works, else one installed into .uv/ (which needs no virtualenv).
UV := $(or $(shell uv --version >/dev/null 2>&1 && command -v uv),.uv/bin/uv)
# Written at the end of a set-up. Its name depends on the folder, so a moved checkout is set up again.
STAMP := $(VENV)/.installed-$(shell pwd | cksum | cut -d' ' -f1)
# Exists during a set-up. If the next set-up finds it, the last one was interrupted: start over.
UNFINISHED := $(VENV)/.installing

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-slow test-lowest test-newest release-check lint site bench constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

quickstart: $(STAMP) ## compress a teacher without its data by the 1x reference and three fast settings
	$(VENV)/bin/fastdfkd quickstart

test: $(STAMP) ## the tests that take seconds
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow and not gpu'

test-slow: $(STAMP) ## the tests that take minutes (no such test is not an error)
	$(PY) -m pytest -m 'slow and not gpu' || [ $$? -eq 5 ]

# What depends on the versions of libraries: the algorithm, recipes, networks, images, and one run on
# Ray with each method. make PYTHON=python3.13 test-newest takes another Python.
VERSIONED := tests/core tests/recipe tests/models tests/data \
	tests/platform/test_pipeline.py::test_lockstep_equals_the_reference_bit_for_bit

test-lowest: RESOLUTION := lowest-direct
test-lowest: ## the tests that depend on versions, with the lowest that pyproject.toml allows
test-newest: RESOLUTION := highest
test-newest: ## the same tests with the newest versions that pyproject.toml allows

# The environment is recreated on each run, from the current pyproject.toml. Warnings of other
# versions are not errors here (-W default).
test-lowest test-newest: | $(UV)
	$(UV) venv -q --clear --no-python-downloads --python $(PYTHON) .venv-$(RESOLUTION)
	$(UV) pip install --python .venv-$(RESOLUTION)/bin/python --resolution $(RESOLUTION) -e '.[dev]'
	.venv-$(RESOLUTION)/bin/python -m pytest -W default -m 'not slow and not gpu' $(VERSIONED)

release-check: $(STAMP) ## build wheel and sdist, install each into an empty environment, run the quickstart
	$(PY) -m pytest tests/test_wheel.py

lint: $(STAMP) ## ruff, mypy and import-linter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

site: $(STAMP) ## build the documentation site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build -q --strict

bench: $(STAMP) ## time one synthesis step and one student update
	$(PY) -m benchmarks.step_cost --quick

setup: $(STAMP) ## install into .venv/

constraints: | $(UV) ## write constraints.txt anew from pyproject.toml
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate -q -o constraints.txt
	@! grep -n '://' constraints.txt || { echo 'constraints.txt names a host' >&2; exit 1; }

clean: ## remove what make created; runs/ and data are kept
	rm -rf $(VENV) .venv-* .uv dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# If the environment's Python does not run, set up again, even if the stamp exists.
ifneq ($(shell test -x $(PY) && echo usable),usable)
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt deploy/set_up.py | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "fastdfkd needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Install one and name it: make PYTHON=python3.11 ..." >&2; exit 1; }
	@if [ -e $(UNFINISHED) ] || ! $(PY) -c '' 2>/dev/null \
		|| { ls $(VENV)/.installed-* >/dev/null 2>&1 && [ ! -e $@ ]; }; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@[ -x $(PY) ] || $(UV) venv -q --allow-existing --no-python-downloads --python $(PYTHON) $(VENV)
	@$(PY) deploy/set_up.py $(UV) $(PY)
	@rm $(UNFINISHED) && touch $@

# Use the base Python: an activated environment may have no pip.
.uv/bin/uv:
	rm -rf .uv
	$$($(PYTHON) -c 'import sys; print(sys._base_executable)') -m pip install --quiet --disable-pip-version-check --target .uv/part uv
	mv .uv/part/uv* .uv/ && mv .uv/part/bin .uv/bin
