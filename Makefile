# Everything a developer or a CI job runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo

# A named version in a folder of its own: a new version is installed beside the old one, and nothing
# outside target/ is touched.
DENY_VERSION := 0.20.2
DENY_ROOT := target/tools/cargo-deny-$(DENY_VERSION)
DENY := $(DENY_ROOT)/bin/cargo-deny

# Every queue there is; the tests run with all of them.
QUEUES := rabbitmq,kafka

# A broker that speaks Kafka's protocol, in a process of its own.
TANSU_VERSION := 0.6.0
TANSU_ROOT := target/tools/tansu-$(TANSU_VERSION)
TANSU := $(TANSU_ROOT)/bin/tansu

# Another version of PostgreSQL than Debian's, for the contract of the store. It has no tools that copy a server.
POSTGRES_18 := target/tools/postgresql-18.4/bin
ON_POSTGRES_18 = SEATLOCK_TEST_POSTGRES=$(abspath $(POSTGRES_18)) \
	$(CARGO) test --locked --features $(QUEUES) --test contracts -- --skip store::managed::copies
POSTGRES_18_SMOKE := store::batches::full store::lineage::full store::managed store::migrations store::races

# A real seat plan, kept beside the project and not in it.
export SEATLOCK_STADIUM ?= $(abspath ../shared/data/stadium.json)

.DEFAULT_GOAL := help
.PHONY: run test test-openapi test-postgres test-citus test-deploy test-fast test-faults test-ha test-history test-image test-kafka check bench help

run: ## build and start the service: SQLite and in-process locks unless configured otherwise
	$(CARGO) run --release --locked

test: ## every test, against real servers (installs the servers it needs where they are missing)
	scripts/install-test-servers
	$(CARGO) test --locked --workspace --no-fail-fast --features $(QUEUES)
	@if [ -r "$(SEATLOCK_STADIUM)" ]; then \
		$(CARGO) test --locked --features $(QUEUES) --test api -- --ignored real::; \
	else \
		echo "not run: the tests of a real stadium, since $(SEATLOCK_STADIUM) is not there"; \
	fi
	@if [ -x $(POSTGRES_18)/postgres ]; then $(ON_POSTGRES_18) $(POSTGRES_18_SMOKE); \
	else echo "not run: the store on PostgreSQL 18, since it is not in $(POSTGRES_18)"; fi
	scripts/test-openapi
	$(CARGO) test --locked --features faults,$(QUEUES) --test faults -- smoke
	$(CARGO) test --locked --features faults,$(QUEUES) --test history -- --skip mutants:: --skip whole::

test-openapi: ## the OpenAPI document as the contract: linted, and many requests made of it, valid and invalid ones
	scripts/test-openapi 100

test-postgres: ## the contract of the store on PostgreSQL 18 (the first time it downloads the server)
	scripts/install-test-servers
	$(ON_POSTGRES_18) store::

test-citus: ## the store, the API, faults and chaos on a Citus cluster: CITUS_URL=postgres://USER@HOST:PORT/DATABASE
	scripts/install-test-servers
	scripts/test-citus

test-deploy: ## manifests, compose.yaml, Dockerfile and systemd unit: built, validated, and judged by the program
	scripts/test-deploy

test-history: ## chaos for minutes, and every mutant (half an hour; HISTORY_SEED and HISTORY_ROUNDS choose)
	scripts/install-test-servers
	$(CARGO) test --locked --features faults,$(QUEUES) --test history -- --test-threads 2 --nocapture

test-fast: ## what needs no server: unit tests, tidy, and the API on the embedded stack
	$(CARGO) test --locked --workspace --lib --bins
	$(CARGO) test --locked --test tidy --test docs --test deploy --test contracts --test api --test cli -- --skip full::

test-image: ## build the container image without a daemon and try it (root; 10 to 25 minutes the first time, then seconds)
	scripts/test-image

test-faults: ## every scenario of tests/faults: about 10 minutes, as root (one of them mounts a small disk)
	scripts/install-test-servers
	$(CARGO) test --locked --features faults,$(QUEUES) --test faults -- --skip ha::

test-ha: ## failover by Patroni, etcd and HAProxy from the shipped files, under load (6 minutes)
	scripts/install-test-servers
	$(CARGO) test --locked --features faults,$(QUEUES) --test faults -- ha::

test-kafka: ## the queue in Kafka against a broker process, tansu (the first time it builds it)
	scripts/install-test-servers
	$(MAKE) --no-print-directory $(TANSU)
	SEATLOCK_TEST_TANSU=$(abspath $(TANSU)) \
		$(CARGO) test --locked --features $(QUEUES) --test contracts -- --ignored queue::kafka::tansu

check: ## format, lints, house rules, what dependencies may bring in, and known faults in them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --all-targets --features faults,$(QUEUES) --locked -- -D warnings
	$(CARGO) test --locked --test tidy --test docs
	$(MAKE) --no-print-directory $(DENY)
	$(DENY) --locked check licenses bans sources
	scripts/check-advisories $(DENY)

bench: ## measure, and compare with the peers
	benches/run

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(DENY):
	@echo "installing cargo-deny $(DENY_VERSION) into $(DENY_ROOT), once: about 5 minutes of CPU"
	$(CARGO) install --locked cargo-deny --version $(DENY_VERSION) --root $(DENY_ROOT)

$(TANSU):
	@echo "installing tansu $(TANSU_VERSION) into $(TANSU_ROOT), once: about 20 minutes of CPU"
	$(CARGO) install --locked tansu --version $(TANSU_VERSION) --root $(TANSU_ROOT) \
		--features dynostore,libsql
