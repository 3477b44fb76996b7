# make demo | make test do everything, set-up included.
# Variables: STACK, PYTHON, VENV, WORKERS, PYTEST_ARGS, DEMO_ARGS, BENCH_ARGS.
SHELL := /bin/bash
STACK ?= onedl
OTHER_STACK = $(if $(filter onedl,$(STACK)),openmmlab,onedl)
VENV ?= $(if $(filter onedl,$(STACK)),.venv,.venv-openmmlab)
BIN = $(abspath $(VENV))/bin
RUN = $(BIN)/python
LINT_VENV = .venv-lint
LINT = $(abspath $(LINT_VENV))/bin
WORKERS ?= 2
# Long end-to-end runs, whose parts other tests cover, are left to continuous integration.
SLOW = $(if $(filter true,$(CI)),,-m 'not slow')
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install test smoke demo lint docs doctor bench bench-gpu clean

help:
	@echo 'make demo      set-up, then train, evaluate and draw on a generated data set'
	@echo 'make test      set-up, then the tests (with CI=true also the slow ones, and the smoke set on the other stack)'
	@echo 'make smoke     set-up, then the short set of tests'
	@echo 'make install   set-up only: virtual environment, dependencies, mmcv compiled once'
	@echo 'make doctor    what is installed, what is broken, what to do about it'
	@echo 'make lint      formatting, lint, layers (import-linter), types (mypy), and the documentation'
	@echo 'make docs      the documentation with its API reference, into build/site'
	@echo 'make bench     set-up, then time and memory beside other implementations; writes docs/benchmarks.md'
	@echo 'make bench-gpu the same on a GPU, with an mmcv compiled for it'
	@echo 'make clean     remove both environments, compiled wheels and everything generated'
	@echo
	@echo 'STACK=onedl (default) or openmmlab, PYTHON=python3 (3.10 to 3.12), VENV=.venv or .venv-openmmlab; WORKERS=2: processes'
	@echo 'of the tests, each of which takes up to 3 GB'
	@echo 'The first set-up takes 15 to 25 minutes on 2 cores, nearly all of it compiling mmcv.'

install:
	@tools/install.sh --stack $(STACK) --venv $(VENV)

test: install
	$(PYTEST) $(SLOW) $(PYTEST_ARGS)
ifeq ($(CI),true)
	@$(MAKE) --no-print-directory smoke STACK=$(OTHER_STACK) VENV=.venv$(if $(filter onedl,$(STACK)),-openmmlab) PYTEST_ARGS=
else
	@echo 'The other stack: make test STACK=$(OTHER_STACK), or its short set: make smoke STACK=$(OTHER_STACK)'
endif

smoke: install
	$(PYTEST) -m smoke $(PYTEST_ARGS)

demo: install
	$(RUN) tools/demo.py $(DEMO_ARGS)

# Linters and documentation have an environment of their own, so that they cannot change the one that is tested.
$(LINT_VENV)/.ready: requirements/dev.txt
	@$${PYTHON:-python3} -m venv $(LINT_VENV)
	@$(LINT)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

lint: install $(LINT_VENV)/.ready docs
	$(LINT)/ruff check .
	$(LINT)/ruff format --check .
	$(LINT)/lint-imports
	$(LINT)/mypy --python-executable $(RUN)

docs: $(LINT_VENV)/.ready
	$(LINT)/mkdocs build --strict --quiet

doctor:
	@if [ -x $(BIN)/python ]; then $(BIN)/python tools/doctor.py; else $${PYTHON:-python3} tools/doctor.py; fi

bench: install
	$(RUN) -m benchmarks.run $(BENCH_ARGS)
	$(RUN) -m benchmarks.table

bench-gpu: install
	$(RUN) -m benchmarks.gpu $(BENCH_ARGS)
	$(RUN) -m benchmarks.table

clean:
	rm -rf .venv .venv-openmmlab .venv-lint .cache .pytest_cache .ruff_cache .mypy_cache .import_linter_cache build dist *.egg-info work_dirs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
