# The two commands of the README are `make demo` and `make test`; both work from a fresh clone with Python 3.11 or newer.
#
#   make demo     install, judge the example clips, draw overlays, write a report
#   make test     install the test tools, run the tests (TORCH=1: those that train, too; SLOW=1: the slow ones, too)
#   make lint     ruff: rules and format          make format   let ruff mend what it can
#   make types    mypy, strict                    make check    lint, types and test, as the CI does
#   make clean    remove the environment and what was made

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint format types check clean constraints

VENV ?= .venv
PYTHON ?=
TORCH ?= 0
SLOW ?= 0
PYTEST ?= -n auto --dist loadfile

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEV := $(VENV)/.dev$(if $(filter 1,$(TORCH)),-torch)

help:
	@sed -n '3,8s/^# \{0,1\}//p' Makefile

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
	@$(PIP) --editable '.[api,bench,serve]' --group dev
	@touch $@ $(VENV)/.base

$(VENV)/.dev-torch: $(VENV)/.dev
	@echo "installing torch for the tests that train"
	@$(PIP) --editable '.[train,hf,mllm]' --group torch
	@touch $@

# -- what people run --------------------------------------------------------------------------------------------------

demo: $(VENV)/.base
	@rm -rf demo-out
	@$(BIN)/deeptrace detect examples/*.mp4 --overlay --report --out demo-out
	@echo
	@echo "open  demo-out/report.html    the clips with their traces, in a browser"
	@echo "      demo-out/overlays/      the same drawn into video files"
	@echo "      demo-out/verdicts.jsonl the verdicts for programs"

test: $(DEV)
	@$(BIN)/python -m pytest $(PYTEST) $(if $(filter 1,$(SLOW)),,-m 'not slow') \
	  $(if $(filter 1,$(TORCH)),,--doctest-ignore-import-errors)

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV)
	@$(BIN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Pin what is installed now. Only names and versions: no registry's address, no hashes.
constraints: $(VENV)/.dev-torch
	@{ echo "# Versions the tests pass with; made by 'make constraints'. Only names and versions."; \
	   $(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools \
	   | sed -n 's/^\([A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*\).*/\1/p'; } >constraints.txt
