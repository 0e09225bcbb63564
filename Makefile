# Lastcall: the commands for developers. `make` without a target lists them.

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory

# `make fuzz FUZZTIME=5m`; `make run ARGS='--listen 127.0.0.1:9000'`.
FUZZTIME ?= 20s
ARGS     ?=
# `make chaos DURATION=1h STORE=postgres SEED=7 CHAOSFLAGS='-faults kill,stop-long'`.
DURATION ?= 60s
STORE    ?= sqlite
SEED     ?=
# `make attack HOSTILE=10m ATTACKFLAGS='-test.run TestExec'`.
HOSTILE  ?= 10s

# The Go release in go.mod's toolchain line. The go command downloads it like a module. It is set
# here because an environment may pin the installed Go, and that release may have known
# vulnerabilities.
export GOTOOLCHAIN := $(shell awk '$$1 == "toolchain" { print $$2 }' go.mod)

BIN := $(CURDIR)/.bin
RUN := $(CURDIR)/.run
# The linters that setup installed take precedence over others of the same name.
test test-full lint: export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## install what the tests need: Debian packages, and linters into .bin
	@scripts/setup

.PHONY: build
build: ## build .bin/lastcall, and its bill of materials, .bin/lastcall.cdx.json
	@mkdir -p $(BIN)
	@go build -trimpath -o $(BIN)/lastcall ./cmd/lastcall
	@GOWORK=off go run ./internal/bom -sbom $(BIN)/lastcall.cdx.json $(BIN)/lastcall

# exec: the program replaces the shell, so that Ctrl-C and SIGTERM reach it
# and not a wrapper. make waits for it, reports an exit code that is not 0, and then
# ends by the same signal.
.PHONY: run
run: build ## build and serve the example configuration; Ctrl-C stops it
	@mkdir -p $(RUN)
	@exec $(BIN)/lastcall serve --config cmd/lastcall/lastcall.example.yaml --store sqlite:$(RUN)/lastcall.db --demo-kinds $(ARGS)

.PHONY: test
test: testrun ## run every check and test, and list what was left out (CI=1: that is a failure)
	@exec $(BIN)/testrun $(TESTFLAGS)

.PHONY: test-full
test-full: testrun ## the same, with the long tests and each fuzz target for FUZZTIME (20s)
	@exec $(BIN)/testrun -full -fuzztime $(FUZZTIME) $(TESTFLAGS)

.PHONY: lint
lint: testrun ## run only the checks of the source, no tests
	@exec $(BIN)/testrun -skip '^go test ' $(TESTFLAGS)

# Built and then run: after a failure go run would print a line of its own, and
# the last line must be the count.
.PHONY: testrun
testrun:
	@mkdir -p $(BIN)
	@GOWORK=off go build -trimpath -o $(BIN)/testrun ./internal/testrun

# Built and then run, like testrun: the table must be the last output.
.PHONY: bench
bench: ## run the benchmarks, side by side with other libraries
	@mkdir -p $(BIN)
	@cd bench && GOWORK=off go build -o $(BIN)/bench .
	@exec $(BIN)/bench $(BENCHFLAGS)

# exec: the supervisor replaces the shell, so that it gets signals and removes what a run has left.
.PHONY: chaos
chaos: build ## inject faults for DURATION (60s) on STORE (sqlite, postgres) from SEED, and check
	@GOWORK=off go build -o $(BIN)/chaos ./test/chaos
	@GOWORK=off go build -o $(BIN)/chaos-service ./test/chaos/service
	@exec $(BIN)/chaos -store $(STORE) -duration $(DURATION) $(if $(SEED),-seed $(SEED)) -driver $(BIN)/chaos-service -program $(BIN)/lastcall -dir $(RUN)/chaos $(CHAOSFLAGS)

# Built and then run with exec, like chaos.
.PHONY: attack
attack: ## run every known attack on the built program, then hostile programs for HOSTILE (10s)
	@mkdir -p $(BIN)
	@GOWORK=off go test -c -race -o $(BIN)/attack ./test/attack
	@cd test/attack && GOWORK=off exec $(BIN)/attack -test.v -test.failfast=false -test.parallel 4 -test.timeout 2h -hostile $(HOSTILE) $(ATTACKFLAGS)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (20s)
	@scripts/fuzz $(FUZZTIME)

# Built and then run, like the others. The package comment of test/rehearsals lists the servers and
# how to install them.
.PHONY: rehearsals
rehearsals: build ## rehearse stops of third-party servers, and write docs/rehearsals.md
	@GOWORK=off go build -o $(BIN)/rehearsals ./test/rehearsals
	@exec $(BIN)/rehearsals $(REHEARSALSFLAGS)

.PHONY: demo
demo: build ## stop fifty tasks with SIGTERM and resume them; then a rollout of three servers
	@scripts/demo

.PHONY: cover
cover: ## measure coverage by package; writes .run/cover.html
	@scripts/cover
