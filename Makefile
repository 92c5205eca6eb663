# What a contributor runs. `make` alone says what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

# Test binaries that need neither a cluster nor a broker; which of them are there is looked up.
FAST_TESTS := $(foreach name,generated pages fuzz model,$(if $(wildcard tests/$(name).rs tests/$(name)/main.rs),--test $(name)))

.PHONY: help
help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' Makefile | \
	  while read -r make target text; do printf '  %s %-14s %s\n' "$$make" "$$target" "$$text"; done

.PHONY: demo
demo: ## the whole story of a service, on this machine: cluster, operator, broker, database
	demo/run

.PHONY: check
check: lint ## what to run before a commit: format, lints, and the tests that need nothing
	$(CARGO) test --locked --lib $(FAST_TESTS)

.PHONY: lint
lint: ## format and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

.PHONY: test
test: control-plane broker ## every test; builds the control plane and the demo broker's environment if they are missing
	@echo 'make test: all Rust tests, those against a real API server among them'
	$(CARGO) test --locked --no-fail-fast
	@echo 'make test: the tests of the demo broker'
	"$$(demo/run --venv)" -m unittest discover demo/tests
	@echo 'make test: all tests passed'

.PHONY: control-plane
control-plane: ## build the control plane of the tests (5 to 10 minutes, once)
	@echo 'make: the control plane of the tests, which is built once'
	tools/control-plane/build

.PHONY: broker
broker: ## make the Python environment of the demo broker (once)
	@echo 'make: the Python environment of the demo broker, which is made once'
	demo/run --venv

.PHONY: fuzz
fuzz: ## look for inputs that break a promise: SECONDS (60) at each kind of input
	BOLERO_RANDOM_TEST_TIME_MS=$$(( $(or $(SECONDS),60) * 1000 )) $(CARGO) test --locked --test fuzz

.PHONY: crds
crds: ## write the generated files anew: crds/ and config/admission/
	UPDATE_GENERATED=1 $(CARGO) test --locked --quiet --test generated

.PHONY: clean
clean: ## remove what cargo has built; the control plane stays
	$(CARGO) clean
