# make setup   .venv with the pinned stack and the package in editable mode: 5.7 GB, 2.7 of them CUDA
#              libraries that a machine without a GPU never loads
# make demo    trains RS-ATSS on handwritten digits, evaluates it, draws pictures
# make test    runs the whole test suite
# make lint    checks style and formatting
# make mutants puts faults into the package, one by one, to see whether the tests notice (hours)
# make types   checks the type annotations
#
# PYTHON=python3.12   the interpreter that .venv is made from
# PIP_ARGS="..."      passed to every pip install (an index, a proxy, a cache). Without a GPU, torch's
#                     CPU build saves gigabytes; PyTorch's installation page shows the arguments
#                     for it
# TEST_ARGS="..."     passed to pytest
# MUTANTS="..."       passed to tests/helpers/mutants.py (--number 200 --jobs 2)

PYTHON ?= python3
PIP_ARGS ?=
TEST_ARGS ?=
TEST_JOBS ?= 2
MUTANTS ?= --number 200 --jobs 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
PIP_INSTALL = $(BIN)/python -m pip install $(PIP_ARGS)

.PHONY: setup demo test lint types mutants
.DELETE_ON_ERROR:

setup: $(STAMP)

# OpenCV comes as two builds that own the same files, both wanted by requirements of the stack.
# Only the headless one works on a server without libGL, so it alone must stay: removing either
# takes the files of both away, hence both go and the headless one comes back.
$(STAMP): setup.py pyproject.toml $(wildcard requirements/*.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -c requirements/constraints.txt -r requirements/dev.txt -e ".[mmdet]"
	$(BIN)/python -m pip uninstall --yes opencv-python opencv-python-headless
	$(PIP_INSTALL) --no-deps -c requirements/constraints.txt opencv-python-headless
	$(BIN)/python -m mmdet_rank.check_env
	touch $@

demo: setup
	$(BIN)/mmdet-rank demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) $(TEST_ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

mutants: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/helpers/mutants.py --out work_dirs/mutants.json $(MUTANTS)
