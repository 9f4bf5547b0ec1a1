# Everything that is done to this repository, by one word each. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --warn-undefined-variables

PYTHON ?= python3
JSON ?=
ARGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed

TEST_MODEL := smollm2-135m-instruct
DEMO_MODEL := qwen2.5-coder-1.5b

# What is left behind by builds and tools; `make clean` removes it.
LITTER := build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- preparing --------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(INSTALLED) ## bring everything that is needed: Python packages, a Docker engine, bubblewrap, a Chromium
	@scripts/setup.sh machine

$(INSTALLED): pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" scripts/setup.sh python

.PHONY: model-%
model-%: $(INSTALLED)
	@$(BIN)/branchwise models pull $* >&2

# --- using ------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup model-$(DEMO_MODEL) ## repair small repositories with a local model: one trajectory against search
	@$(BIN)/python examples/demo.py $(ARGS)

.PHONY: demo-web
demo-web: setup model-$(DEMO_MODEL) ## do tasks in a small shop in a real browser with a local model: one trajectory against search
	@$(BIN)/python examples/demo_web.py $(ARGS)

.PHONY: test
test: setup model-$(TEST_MODEL) ## run all tests, on a real Docker engine and a real small model (ARGS=... for pytest)
	@$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),scripts/test.sh)

.PHONY: check
check: $(INSTALLED) ## look for faults without running: lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p branchwise
	@$(BIN)/pyright --warnings
	@PYTHONPATH=typings $(BIN)/lint-imports --no-logo

.PHONY: format
format: $(INSTALLED) ## put the code into its form and mend what can be mended mechanically
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench-machine bench-slots bench-sandbox bench-refinement bench-replay bench-model bench-failures bench-countdown bench-archon bench-deciding bench-runs bench-web bench-web-search bench-web-model
bench-machine: ## measure the search machine's own cost per node (JSON=1 prints one JSON object)
bench-runs: ## measure a thousand whole runs at once, children that go wrong, and what stays behind (JSON=1 likewise; ARGS="--runs 100")
bench-slots: ## measure how well a search keeps a server's slots busy (JSON=1 likewise)
bench-sandbox: ## measure what sandboxes cost and withstand, beside the host, the engine and other sandboxes (JSON=1 likewise)
bench-refinement: ## measure searches with noisy verifiers at equal calls, ours and peers' (JSON=1 likewise; ARGS="--problems 60")
bench-web: ## measure pages: what scripts achieve, what looks cost beside others', whether forks are exact, steps, episodes (JSON=1 likewise; ARGS="--parts looks")
bench-web-model: ## measure what searches over pages make of a real small model, at equal tokens; goes on where it was stopped (JSON=1 likewise)
bench-web-search: ## measure searches over pages with noisy rewards, beside best-of-n and one trajectory; goes on where it was stopped (JSON=1 likewise)
bench-failures: ## measure what is lost when calls fail, come five at once or chains grow long, ours and peers' (JSON=1 likewise)
bench-replay: ## measure sampling and search on recorded samples of GPT-4, without a model (JSON=1 likewise; ARGS="--data FOLDER")
bench-model: ## measure searches with a real small model on HumanEval; goes on where it was stopped (JSON=1 likewise)
bench-countdown: ## measure spawn and join against one search alone on Countdown (JSON=1 likewise; ARGS="--model NAME" for a real model)
bench-archon: ## measure searches for an architecture, on surfaces and with simulated models (JSON=1 likewise; ARGS="--parts real" for a real one)
bench-deciding: ## measure what the decisions of teams come to in simulation (JSON=1 likewise; ARGS="--problems 500")
bench-machine bench-slots bench-sandbox bench-refinement bench-replay bench-model bench-failures bench-countdown bench-archon bench-deciding bench-runs bench-web bench-web-search bench-web-model: bench-%: $(INSTALLED)
	@$(BIN)/python benchmarks/$(subst -,_,$*).py $(if $(JSON),--json) $(ARGS)

bench-%: $(INSTALLED)
	@test -f benchmarks/$*.py || { echo "there is no benchmarks/$*.py; there are: $$(cd benchmarks && echo *.py)" >&2; exit 2; }
	@$(BIN)/python benchmarks/$*.py $(if $(JSON),--json) $(ARGS)

# --- tidying ----------------------------------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove caches and builds; .venv, models and runs stay
	@rm -rf $(LITTER)
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
