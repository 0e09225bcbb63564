# Lastcall: what a developer does here. `make` alone shows this list.

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

# The Go of go.mod's toolchain line, which the go command fetches as it fetches a module, also where
# the environment keeps to the one that is installed: a release of Go may have known vulnerabilities.
export GOTOOLCHAIN := $(shell awk '$$1 == "toolchain" { print $$2 }' go.mod)

BIN := $(CURDIR)/.bin
RUN := $(CURDIR)/.run
# The linters that setup installed win over others of the same name.
test test-full lint: export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## install what the tests need: Debian packages, and linters into .bin
	@scripts/setup

.PHONY: build
build: ## build the program into .bin/lastcall, and its bill of materials into .bin/lastcall.cdx.json
	@mkdir -p $(BIN)
	@go build -trimpath -o $(BIN)/lastcall ./cmd/lastcall
	@GOWORK=off go run ./internal/bom -sbom $(BIN)/lastcall.cdx.json $(BIN)/lastcall

# exec: the program takes the shell's place, so that Ctrl-C and SIGTERM meet it
# and no wrapper. make waits for it, says so if its exit code is not 0, and then
# ends by the same signal.
.PHONY: run
run: build ## build and serve the example configuration; Ctrl-C stops it
	@mkdir -p $(RUN)
	@exec $(BIN)/lastcall serve --config cmd/lastcall/lastcall.example.yaml --store sqlite:$(RUN)/lastcall.db --demo-kinds $(ARGS)

.PHONY: test
test: testrun ## every check and every test; names what was left out (CI=1: that is a failure)
	@exec $(BIN)/testrun $(TESTFLAGS)

.PHONY: test-full
test-full: testrun ## the same with the long tests, and each fuzz target for FUZZTIME (20s)
	@exec $(BIN)/testrun -full -fuzztime $(FUZZTIME) $(TESTFLAGS)

.PHONY: lint
lint: testrun ## only the checks of the source, no tests
	@exec $(BIN)/testrun -skip '^go test ' $(TESTFLAGS)

# Built and then run, and not with go run, which adds a line of its own to a
# failure: the last line is the count.
.PHONY: testrun
testrun:
	@mkdir -p $(BIN)
	@GOWORK=off go build -trimpath -o $(BIN)/testrun ./internal/testrun

# Built and then run, as testrun is: the table comes last.
.PHONY: bench
bench: ## benchmarks, side by side with other libraries
	@mkdir -p $(BIN)
	@cd bench && GOWORK=off go build -o $(BIN)/bench .
	@exec $(BIN)/bench $(BENCHFLAGS)

# The supervisor takes the shell's place too: it removes what a run has left.
.PHONY: chaos
chaos: build ## faults for DURATION (60s) on STORE (sqlite, postgres), made from SEED; then every promise is checked
	@GOWORK=off go build -o $(BIN)/chaos ./test/chaos
	@GOWORK=off go build -o $(BIN)/chaos-service ./test/chaos/service
	@exec $(BIN)/chaos -store $(STORE) -duration $(DURATION) $(if $(SEED),-seed $(SEED)) -driver $(BIN)/chaos-service -program $(BIN)/lastcall -dir $(RUN)/chaos $(CHAOSFLAGS)

# Built and then run, as chaos is: the supervisor takes the shell's place.
.PHONY: attack
attack: ## every known attack on the built program, then hostile programs for HOSTILE (10s)
	@mkdir -p $(BIN)
	@GOWORK=off go test -c -race -o $(BIN)/attack ./test/attack
	@cd test/attack && GOWORK=off exec $(BIN)/attack -test.v -test.failfast=false -test.parallel 4 -test.timeout 2h -hostile $(HOSTILE) $(ATTACKFLAGS)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (20s)
	@scripts/fuzz $(FUZZTIME)

# Built and then run, as the others are. What servers there are, and how to install them, says test/rehearsals.
.PHONY: rehearsals
rehearsals: build ## rehearse servers that nobody here wrote, and write docs/rehearsals.md
	@GOWORK=off go build -o $(BIN)/rehearsals ./test/rehearsals
	@exec $(BIN)/rehearsals $(REHEARSALSFLAGS)

.PHONY: demo
demo: build ## fifty tasks meet SIGTERM and go on when run again; then a rollout of three servers
	@scripts/demo

.PHONY: cover
cover: ## coverage by package; the page is .run/cover.html
	@scripts/cover
