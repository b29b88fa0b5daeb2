# `make demo` and `make test` do everything on a machine with Python 3.11+ (with venv), git and make.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
JOBS ?= $(shell nproc)
# An index to take torch from, such as https://download.pytorch.org/whl/cpu for the small build without CUDA.
TORCH_INDEX ?=
TORCH = torch==2.13.0
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
TESTED = $(VENV)/.installed-test

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint types imports audit check bench docs clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

# torch comes first and pinned: resolved together with the rest, an open range can pull gigabytes of another build.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(TESTED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

install: $(INSTALLED)  ## a virtual environment with Magellon in it

demo: $(INSTALLED)  ## simulate a session, process it, compare what came out with the truth
	$(BIN)/magellon demo $(DEMO)

test: $(TESTED)  ## the default tests (below 90 s)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

test-all: $(TESTED)  ## the slow tests and those against RELION too
	$(BIN)/python -m pytest -m ''

lint: $(TESTED)  ## style
	$(BIN)/ruff check .

types: $(TESTED)  ## types, strictly
	$(BIN)/mypy

imports: $(TESTED)  ## who may import whom
	$(BIN)/lint-imports

check: lint types imports test  ## all of the above

audit: $(TESTED)  ## known weaknesses of what is installed, where the network lets us ask
	$(BIN)/python tests/security/weaknesses.py

bench: $(TESTED)  ## time and accuracy of each step, with peer programs beside it
	$(BIN)/python -m benchmarks

docs: $(INSTALLED)  ## the reference pages that are generated
	$(BIN)/magellon backends --markdown > docs/reference/backends.md
	$(BIN)/python -m magellon.cli.up.reference > docs/reference/http-api.md

clean:  ## remove the environment, the demo and what tools leave behind
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
