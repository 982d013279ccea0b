# Every target does its own set-up; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := operator/mandate tests hack examples

export PYTHONPATH := $(CURDIR)/operator

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 22

$(STAMP): requirements/dev.txt
	@echo "Setting up Python packages in $(VENV) (a minute or two the first time) …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	touch $@

.PHONY: venv
venv: $(STAMP) ## the development environment

.PHONY: requirements
requirements: venv ## pin requirements/*.in anew, with hashes
	for name in dev controller judge predictor; do \
	  constraint=$$([ $$name = dev ] || echo "-c requirements/dev.txt"); \
	  $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    --python-version 3.11 $$constraint requirements/$$name.in -o requirements/$$name.txt; \
	done

.PHONY: lint
lint: venv ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator/mandate
	$(BIN)/lint-imports --no-cache

.PHONY: check
check: lint ## the quick subset: lint, unit and property tests (under 2 minutes)
	$(BIN)/pytest tests/unit
