# The two commands of the README are `make demo` and `make test`; both work from a fresh clone with Python 3.11 or newer.
#
#   make demo     install, judge the example clips, draw overlays, write a report
#   make test     install the test tools, run the tests (TORCH=1: those that train, too; SLOW=1: the slow ones, too)
#   make cover    the whole suite, with the coverage that has to be reached
#   make properties   look for other examples that break a property
#   make docs     the site, with the notebooks run, in site/
#   make lint     ruff: rules and format          make format   let ruff mend what it can
#   make types    mypy, strict                    make check    lint, types and test
#   make measure  size and shape of the source    make clean    remove the environment and what was made

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test cover cover-rest properties docs lint format types check measure clean constraints

VENV ?= .venv
PYTHON ?=
TORCH ?= 0
SLOW ?= 0
PYTEST ?= -n auto --dist loadfile

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEV := $(VENV)/.dev$(if $(filter 1,$(TORCH)),-torch)

help:
	@sed -n '3,11s/^# \{0,1\}//p' Makefile

# -- the environment --------------------------------------------------------------------------------------------------

$(BIN)/python:
	@python=; \
	for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if command -v "$$candidate" >/dev/null && "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then echo "deeptrace needs Python 3.11 or newer; none is on the path. Set PYTHON=/path/to/python3."; exit 1; fi; \
	echo "creating $(VENV) with $$("$$python" --version)"; \
	if ! "$$python" -m venv $(VENV) >$(VENV).log 2>&1; then \
	  cat $(VENV).log; rm -rf $(VENV) $(VENV).log; \
	  echo; echo "This Python has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; \
	fi; \
	rm -f $(VENV).log
	@# dependency groups need pip 25.1
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing deeptrace"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing deeptrace and its test tools"
	@$(PIP) --editable '.[api,bench,c2pa,collect,oidc,serve,studio]' --group dev
	@touch $@ $(VENV)/.base

# Every extra at once, so that the constraints are shown to fit them all.
$(VENV)/.dev-torch: $(VENV)/.dev
	@echo "installing torch for the tests that train"
	@$(PIP) --editable '.[api,bench,c2pa,collect,curator,hf,mllm,oidc,remote,scale,serve,studio,tensorboard,train,wandb]' --group torch
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing deeptrace and what builds its site"
	@$(PIP) --editable . --group docs
	@touch $@ $(VENV)/.base

# -- what people run --------------------------------------------------------------------------------------------------

demo: $(VENV)/.base
	@rm -rf demo-out
	@$(BIN)/deeptrace detect examples/*.mp4 --overlay --report --out demo-out
	@echo
	@echo "open  demo-out/report.html    the clips with their traces, in a browser"
	@echo "      demo-out/overlays/      the same drawn into video files"
	@echo "      demo-out/verdicts.jsonl the verdicts for programs"
	@echo "look closer, answer and annotate in a browser:"
	@echo "      $(BIN)/python -m pip install '.[studio]'"
	@echo "      $(BIN)/deeptrace studio demo-out"

test: $(DEV)
	@$(BIN)/python -m pytest $(PYTEST) $(if $(filter 1,$(SLOW)),,-m 'not slow') \
	  $(if $(filter 1,$(TORCH)),,--doctest-ignore-import-errors)

# Other examples of the properties than the ones every run tries; a new failure prints how to keep it as a test.
properties: $(VENV)/.dev-torch
	@$(BIN)/python -m pytest $(PYTEST) --hypothesis-profile=search $$(grep -rl 'hypothesis import' tests)

# The figure that has to be reached stands in pyproject.toml, under [tool.coverage.report].
cover: $(VENV)/.dev-torch
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest $(PYTEST) --cov --cov-report=
	@$(COVERAGE)

# The rest of the suite after `make test PYTEST="$(PYTEST) --cov --cov-report= --cov-fail-under=0 --passed-to=.passed"` in a smaller
# environment, and the coverage of the two.
cover-rest: $(VENV)/.dev-torch
	@$(BIN)/python -m pytest $(PYTEST) -m 'not slow' --cov --cov-append --cov-report= --but-for=.passed
	@$(COVERAGE)

COVERAGE = $(BIN)/coverage report --skip-covered --sort=cover | tail -n 40 && $(BIN)/coverage xml --quiet

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open  site/index.html"

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV)
	@$(BIN)/mypy

check: lint types test

measure: $(VENV)/.base
	@$(BIN)/python tools/measure.py .

clean:
	rm -rf $(VENV) demo-out site .coverage .coverage.* coverage.xml .passed .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Pin what is installed now. Only names and versions: no registry's address, no hashes.
constraints: $(VENV)/.dev-torch $(VENV)/.docs
	@{ echo "# Versions the tests pass with, of every extra; made by 'make constraints'. Only names and versions."; \
	   $(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools \
	   | sed -n 's/^\([A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*\).*/\1/p'; } >constraints.txt
