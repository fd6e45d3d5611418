# The two commands: `make run` shows the product at work, `make test` checks everything.
# Each step of `make test` is a target of its own; `make help` lists them.

# What `make run` shows.
RUN := cargo run --release --locked --quiet --package mc-cli -- demo --db target/demo/demo.redb
# The steps of `make test`, cheap ones first; the first that fails ends it.
STEPS := setup fmt tidy clippy test-code prices doctest examples doc deny score optional
# The crates that are checked. Every step takes the same, so that dependencies are built once.
CRATES := --workspace --locked
# Checked when installed, else named as not run.
OPTIONAL := taplo typos cargo-hack
# The recorded runs that some tests play; where the file is absent they have nothing to do.
RECORDED := $(or $(MC_RECORDED_RUNS),../shared/data/recorded_runs.jsonl.gz)
# Why prices were not compared, where they were not.
PRICES_NOT_RUN := $(or $(CARGO_TARGET_DIR),target)/prices/not-run
DENY_VERSION := 0.20.2

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.tools/bin:$(HOME)/.cargo/bin:$(PATH)
# A snapshot that differs fails; it is never written on the way.
export INSTA_UPDATE ?= no

.DEFAULT_GOAL := help
.PHONY: help run test setup fmt tidy clippy test-code prices doctest examples doc deny score optional \
	bench-compile bench format storm

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

run: setup ## show the product at work
	@echo "the bundled example, on $${MISSION_CONTROL_DEMO_MODEL:-recorded calls}; building it: some minutes the first time"
	@cargo build --release --locked --package mc-cli
	@$(RUN)

test: ## check everything, step by step
	@begin=$$SECONDS; done=0; \
	for step in $(STEPS); do \
		printf '\n== %s\n' "$$step"; from=$$SECONDS; \
		$(MAKE) "$$step" || { printf '\nmake test: FAILED at `%s`; alone: make %s\n' "$$step" "$$step"; exit 1; }; \
		printf '== %s: ok, %d s\n' "$$step" $$((SECONDS - from)); done=$$((done + 1)); \
	done; \
	missing=; for tool in $(OPTIONAL); do command -v "$$tool" >/dev/null || missing+=", $$tool"; done; \
	[ -e "$(RECORDED)" ] || missing+=', tests on recorded runs ($(RECORDED) is absent: MC_RECORDED_RUNS)'; \
	[ ! -s "$(PRICES_NOT_RUN)" ] || missing+=", prices ($$(cat "$(PRICES_NOT_RUN)"))"; \
	printf '\nmake test: all %d steps passed in %d s; not run: %s\n' \
		"$$done" $$((SECONDS - begin)) "$$([ -n "$$missing" ] && echo "$${missing:2}" || echo nothing)"

setup: ## check the tools and fetch the dependencies
	@command -v cargo >/dev/null || { \
		echo 'cargo is missing: install Rust 1.90 or newer, with rustfmt and clippy, from https://rustup.rs' >&2; \
		exit 1; }
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	@cargo fetch --locked --quiet

fmt: ## check the format
	@cargo fmt --all --check

format: ## bring everything into format
	@cargo fmt --all

tidy: ## check the rules that no other tool holds
	@cargo xtask tidy

clippy: ## lint all code, benches and examples too
	@cargo clippy $(CRATES) --all-targets --quiet -- -D warnings

test-code: ## run the tests
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run $(CRATES); \
	else \
		echo 'cargo-nextest is not installed: cargo test runs instead'; \
		cargo test $(CRATES) --lib --bins --tests; \
	fi

storm: ## kill the owner of a store every two seconds for a minute (MC_STORM_SECONDS), under four workers
	@MC_STORM_SECONDS="$${MC_STORM_SECONDS:-60}" cargo test --locked --package mission-control --test processes -- \
		--exact storm::nothing_is_lost_or_overspent_while_the_owner_is_killed_again_and_again --nocapture

prices: ## compare costs with those of other packages, which are installed into target/ once
	@tests/prices/run

doctest: ## run the examples in the documentation
	@cargo test $(CRATES) --doc --quiet

examples: ## build and run every example
	@cargo build $(CRATES) --examples --quiet
	@shopt -s nullglob; bin="$$(realpath "$${CARGO_TARGET_DIR:-target}")/debug/examples"; \
	scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; \
	for file in examples/*.rs examples/*/main.rs; do \
		name=$${file#examples/}; name=$${name%/main.rs}; name=$${name%.rs}; \
		printf 'example %s\n' "$$name"; \
		(cd "$$scratch" && timeout 120 "$$bin/$$name" </dev/null >/dev/null) \
			|| { echo "example $$name failed: cargo run --example $$name" >&2; exit 1; }; \
	done

doc: ## build the documentation
	@RUSTDOCFLAGS='-D warnings' cargo doc $(CRATES) --no-deps --lib --quiet

deny: ## check licences, banned crates and sources
	@command -v cargo-deny >/dev/null || { \
		echo 'installing cargo-deny $(DENY_VERSION) into .tools, once'; \
		CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0 cargo install --quiet --locked --debug \
			--root .tools cargo-deny --version $(DENY_VERSION); }
	@cargo deny --locked --offline check licenses bans sources

score: ## print the scoreboard of sizes and ratios
	@cargo xtask score

optional: ## run the checks whose tools are not always there
	@if command -v taplo >/dev/null; then taplo lint --no-schema; else echo 'not run: taplo'; fi
	@if command -v typos >/dev/null; then typos; else echo 'not run: typos'; fi
	@if command -v cargo-hack >/dev/null; then \
		cargo hack check $(CRATES) --each-feature --no-dev-deps --quiet; \
	else echo 'not run: cargo-hack'; fi

bench-compile: ## compile the benches as they run; `clippy` checks their code already
	@cargo bench $(CRATES) --no-run --quiet

bench: ## run the benches
	@cargo bench --locked
