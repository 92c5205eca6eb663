# What a contributor runs; `.ci/run` runs the same targets. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Tools that are installed here are kept apart from those of the user, and outside the work tree.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/service-catalog
CARGO_DENY := $(CACHE)/tools/bin/cargo-deny
CARGO_DENY_VERSION := 0.20.2

# The test binaries that start a control plane. All others need nothing but cargo.
CLUSTER_TESTS := admission cluster control_plane crash installations takeover
FAST_TESTS := $(filter-out $(CLUSTER_TESTS) node,\
  $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs testkit/tests/*/main.rs))))

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' Makefile | \
	  while read -r make target text; do printf '  %s %-14s %s\n' "$$make" "$$target" "$$text"; done

.PHONY: demo
demo: ## show the whole story of a service: cluster, operator, broker, database
	demo/run

.PHONY: check
check: format lint test-fast ## run before a commit: format, lints, and the tests that need no cluster

.PHONY: format
format: ## check the format of the code
	$(CARGO) fmt --all --check

.PHONY: lint
lint: ## check the code with clippy
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## build the documentation of the code, private items included; a broken link is an error
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --locked --workspace --no-deps --lib --document-private-items

.PHONY: deny
deny: ## check licences and sources of the dependencies with cargo-deny, which is installed if it is missing
	[[ "$$($(CARGO_DENY) --version 2>/dev/null)" == 'cargo-deny $(CARGO_DENY_VERSION)' ]] || \
	  CARGO_TARGET_DIR=$(CACHE)/tools/target $(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) \
	    --locked --root $(CACHE)/tools
	$(CARGO_DENY) --locked --workspace --all-features check --hide-inclusion-graph bans licenses sources

.PHONY: test
test: test-fast test-cluster test-demo ## run every test that needs no root

.PHONY: test-fast
test-fast: ## run the tests that need no cluster
	$(CARGO) test --locked --workspace --no-fail-fast --lib $(FAST_TESTS:%=--test %)
	$(CARGO) test --locked --workspace --no-fail-fast --doc

.PHONY: test-cluster
test-cluster: control-plane broker ## run the tests on a real API server
	$(CARGO) test --locked --workspace --no-fail-fast $(CLUSTER_TESTS:%=--test %)

.PHONY: test-node
test-node: ## run the tests of the image on a real node (Linux, root; installs Debian packages that it needs)
	@tools/node/check --install
	tools/control-plane/build --node
	tools/node/images
	$(CARGO) test --locked --test node

.PHONY: test-demo
test-demo: broker ## run the tests of the demo broker
	"$$(demo/run --venv)" -m unittest discover demo/tests

.PHONY: control-plane
control-plane: ## build the control plane of the tests if it is missing (5 to 10 minutes)
	tools/control-plane/build

.PHONY: broker
broker: ## make the Python environment of the demo broker if it is missing
	demo/run --venv

.PHONY: image
image: ## build the image without a registry, with buildah or docker (Linux): target/image/service-catalog.tar
	tools/image

.PHONY: fuzz
fuzz: ## look for inputs that break a promise: SECONDS (60) at each kind of input
	BOLERO_RANDOM_TEST_TIME_MS=$$(( $(or $(SECONDS),60) * 1000 )) $(CARGO) test --locked --test fuzz

.PHONY: bench
bench: control-plane ## measure CPU, memory and throughput beside OBJECTS (1000) instances and PLANS (2000) plans
	$(CARGO) bench --locked --bench growth --bench footprint
	$(CARGO) bench --locked --bench cluster -- --objects $(or $(OBJECTS),1000) --plans $(or $(PLANS),2000)

.PHONY: generated crds
crds: generated
generated: ## write the generated files: crds/, config/admission/, docs/reference/configuration.md
	UPDATE_GENERATED=1 $(CARGO) test --locked --quiet --test generated

.PHONY: tables
tables: ## write the tables that the tests compare with; review what changes
	UPDATE_TABLES=1 $(CARGO) test --locked --quiet --lib --test answers --test fuzz

.PHONY: figures
figures: ## print the size of the code, the number of tests, and what is doubled or circular
	tools/figures

.PHONY: clean
clean: ## remove what cargo has built; the control plane stays
	$(CARGO) clean
