# From a fresh clone:  make demo  generates videos,  make test  runs the tests.
#
# Which torch? pip's default for Linux includes CUDA, some gigabytes. For the CPU build, set the index of CPU
# wheels that PyTorch's install page gives:  PIP_EXTRA_INDEX_URL=<that index> make demo
# Which Python? 3.11 or newer:  PYTHON=python3.12 make demo

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --constraint constraints.txt --editable

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-slow check docs setup clean

demo: .venv/ready-to-run  ## videos of a critter that the model has never seen
	$(BIN)/refilm demo --out demo
	@echo "Videos, and a page that shows them: $(CURDIR)/demo"

test: .venv/ready-to-develop  ## the tests, one file per core; pass options as in `make test ARGS="-k adapter -n 0"`
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: .venv/ready-to-develop  ## the tests that take minutes each; records outcomes and seconds
	$(BIN)/python benchmarks/slow_tests.py --out benchmarks/results/slow_tests.json $(ARGS)

check: .venv/ready-to-develop  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo --no-cache

docs: .venv/ready-to-develop  ## the documentation as HTML, in site/
	$(BIN)/mkdocs build --strict

setup: .venv/ready-to-develop  ## all development tools, in .venv/

clean:  ## removes what the other targets wrote, except .venv/
	rm -rf demo site build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/ready-to-run: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) .
	@touch $@

.venv/ready-to-develop: pyproject.toml constraints.txt | .venv/bin/pip
	$(INSTALL) ".[dev]"
	@touch .venv/ready-to-run $@
