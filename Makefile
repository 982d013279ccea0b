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
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9 -]+):.*## /  \1\t/' | expand -t 22

$(STAMP): requirements/dev.txt
	@echo "Setting up Python packages in $(VENV) (a minute or two the first time) …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	touch $@

.PHONY: venv
venv: $(STAMP) ## the development environment

.PHONY: requirements
requirements: venv ## pin requirements/*.in anew, with hashes
	for name in dev controller judge predictor envoy bench-evidently; do \
	  constraint=$$([[ $$name == dev || $$name == bench-* ]] || echo "-c requirements/dev.txt"); \
	  $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	    --python-version 3.11 $$constraint requirements/$$name.in -o requirements/$$name.txt; \
	done

.PHONY: generate
generate: venv ## write crds/, the chart's generated files and the table of rows from the sources
	$(BIN)/python -m mandate.api.crds generate crds
	$(BIN)/python -m mandate.api.crds generate helm/mandate/files/crds
	$(BIN)/python -m mandate.admission generate
	$(BIN)/python -m tests.rows generate

.PHONY: lint
lint: venv ## ruff, mypy, import contracts, drift of generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator/mandate
	cd hack/cluster && ../../$(BIN)/mypy --strict --config-file= *.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m mandate.api.crds check crds
	$(BIN)/python -m mandate.api.crds check helm/mandate/files/crds
	$(BIN)/python -m mandate.admission check
	$(BIN)/python -m tests.rows check

.PHONY: test-unit
test-unit: venv ## unit and property tests, no cluster
	$(BIN)/pytest -n 2 tests/unit tests/property

.PHONY: test-numbers
test-numbers: venv ## metrics against independent paths, named mutations, interval coverage (small run)
	$(BIN)/pytest -n 2 tests/peers tests/perturb

# A worker has API servers of its own; long files come first or in the middle rather than last.
BY_FILE := -n 2 --dist loadfile --no-loadscope-reorder
.PHONY: test-integration
test-integration: venv ## API behaviour on a real API server
	$(BIN)/pytest $(BY_FILE) tests/integration

.PHONY: test-go
test-go: ## kind-config.yaml with kind's own Go package, and the node's own Go programs
	go=$$($(PYTHON) hack/cluster go); for folder in tests/kind_config hack/cluster/tools/netpol; do \
	  (cd $$folder && CGO_ENABLED=0 "$$go" test -trimpath ./...); \
	done

.PHONY: test-kills
test-kills: venv ## kill the operator before and after each of its writes
	$(BIN)/pytest -s tests/kills

# Three at a time, as these often wait for other processes; the one long test comes first.
.PHONY: test-together
test-together: venv ## test-integration, test-kills and what of parity needs no node, side by side
	$(BIN)/pytest $(BY_FILE) -n 3 --durations 20 tests/kills tests/integration tests/parity

# Each cell's figures are kept as soon as they are there, so it may be stopped and started again. What there is gets
# published also where a cell is wrong too often, which then ends the target.
PARTS ?= build/calibrate
REPLICATES ?= 10000
METRIC ?=
JOBS ?= 2
.PHONY: calibrate
calibrate: venv ## the gate's own errors: wrong passes, margins, false alarms of drift, 10,000 repeats (two hours; goes on where it was stopped)
	bad=0; \
	$(BIN)/python -m tests.peers.anytime --replicates $(REPLICATES) --parts $(PARTS) || bad=1; \
	$(BIN)/python -m tests.peers.coverage --replicates $(REPLICATES) --metric "$(METRIC)" --jobs $(JOBS) --parts $(PARTS) || bad=1; \
	$(BIN)/python -m tests.peers.alarms --references 100 --currents 100 --jobs $(JOBS) --parts $(PARTS) || bad=1; \
	$(BIN)/python -m tests.peers.publish --parts $(PARTS); \
	exit $$bad

EVIDENTLY := $(VENV)-evidently
$(EVIDENTLY)/.installed: requirements/bench-evidently.txt
	$(PYTHON) -m venv $(EVIDENTLY)
	$(EVIDENTLY)/bin/pip install --quiet --require-hashes --no-deps -r requirements/bench-evidently.txt
	touch $@

.PHONY: bench-judge
bench-judge: venv $(EVIDENTLY)/.installed ## the judge beside Evidently and beside merely reading the files, as ratios
	$(BIN)/python -m tests.bench.judge --evidently $(EVIDENTLY)/bin/python --write docs/benchmarks.md

.PHONY: bench-cold
bench-cold: venv ## `mandate evaluate` within 3 s and `--help` within 0.5 s, in a process of their own
	$(BIN)/python -m tests.bench.cold_start

.PHONY: screenshots
screenshots: venv ## the report's pictures in docs/user/images, from real runs
	hack/screenshots.sh

EXAMPLES := tests/e2e/test_examples.py
.PHONY: parity
parity: venv ## CLI and Job give byte-identical evidence and verdicts, on both examples on a real node too
	$(BIN)/pytest -s tests/parity $(EXAMPLES)

NODE := tests/e2e/test_cluster.py
# The examples come first, on a node where nobody has looked at their rows yet; then what takes longest.
FIRST := $(EXAMPLES) tests/e2e/test_story.py tests/e2e/test_shares.py
ON_NODES := $(FIRST) $(filter-out $(FIRST) $(NODE),$(sort $(wildcard tests/e2e/test_*.py)))
.PHONY: test-node
test-node: venv ## a real node comes up, works, is repaired, and leaves nothing behind
	$(BIN)/pytest -s $(NODE)

.PHONY: test-e2e
test-e2e: venv ## the whole product on real nodes, the examples of `make parity` among it
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --durations 20 $(ON_NODES)

.PHONY: test-quick
test-quick: venv ## the unit and property tests that take less than half a second (tests/slow.txt names the others)
	$(BIN)/pytest -n 2 --quick tests/unit tests/property

.PHONY: check
check: lint test-quick ## the quick subset, under 2 minutes

# Each stage says how long it took; the first red one ends the run. All of test-integration, test-kills and parity is in
# test-together and test-e2e.
STAGES := lint test-unit test-go test-numbers test-together demo-offline test-node test-e2e bench-cold
.PHONY: test
test: venv ## everything, on a real API server and on a real node
	@for stage in $(STAGES); do \
	  echo "=== $$stage"; began=$$SECONDS; \
	  $(MAKE) --no-print-directory $$stage; \
	  echo "=== $$stage took $$((SECONDS - began)) s"; \
	done

# Not what this folder, this user's home or a cluster that is up already has by chance.
FRESH := demo demo-offline test
.PHONY: fresh
fresh: ## what a newcomer meets: HEAD cloned anew, an empty home, everything built again; demo, demo-offline, test
	@if $(PYTHON) hack/cluster status >/dev/null 2>&1; then \
	  echo "fresh: a local cluster is up, and would be taken as it is; run \`make cluster-down\` first" >&2; exit 1; \
	fi
	@folder=$$(mktemp -d); trap 'chmod -R u+w "$$folder"; rm -rf "$$folder"' EXIT; \
	git clone --quiet . "$$folder/clone"; mkdir "$$folder/home"; \
	echo "=== fresh: $$(git log -1 --oneline) in $$folder"; \
	for target in $(FRESH); do \
	  began=$$SECONDS; \
	  env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u PIP_CACHE_DIR -u GOPATH -u GOCACHE -u GOMODCACHE -u KUBECONFIG \
	    HOME="$$folder/home" $(MAKE) --no-print-directory -C "$$folder/clone" $$target; \
	  echo "=== fresh: $$target took $$((SECONDS - began)) s"; \
	done

.PHONY: cluster-up cluster-down
cluster-up: ## a local cluster: kind where Docker or Podman runs, else a node from plain binaries
	$(PYTHON) hack/cluster up
cluster-down: ## take it down again
	$(PYTHON) hack/cluster down

.PHONY: demo
demo: venv ## the main job end to end, on a real Kubernetes
	$(BIN)/python hack/demo $(if $(KEEP),--keep)

.PHONY: story
story: venv ## up the ladder and down on 50,000 real requests, 50 kills (25 minutes); writes docs/user/story.md
	$(BIN)/python -m tests.e2e.story --page docs/user/story.md

.PHONY: demo-offline
demo-offline: venv ## the same verdicts without a cluster, in half a minute
	$(BIN)/python hack/demo --offline
