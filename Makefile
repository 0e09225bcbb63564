# Lastcall: what a developer does here. `make` alone shows this list.

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory

# `make run LISTEN=127.0.0.1:9000`, `make fuzz FUZZTIME=5m`, and so on.
LISTEN   ?= 127.0.0.1:8321
GRACE    ?= 30s
FUZZTIME ?= 20s

BIN := $(CURDIR)/.bin
RUN := $(CURDIR)/.run
# The linters that setup installed win over others of the same name.
export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## install what the tests need: Debian packages, and linters into .bin
	@scripts/setup

.PHONY: build
build: ## build the program into .bin/lastcall
	@mkdir -p $(BIN)
	@go build -trimpath -o $(BIN)/lastcall ./cmd/lastcall

# exec: the program takes make's place in the shell, so Ctrl-C and SIGTERM meet
# the program itself, and make shows the program's own exit code.
.PHONY: run
run: build ## build and serve the example configuration; Ctrl-C stops it
	@mkdir -p $(RUN)
	@exec scripts/run $(LISTEN) $(GRACE)

.PHONY: test
test: ## every check and every test; names what was left out (CI=1: that is a failure)
	@GOWORK=off go run ./internal/testrun $(TESTFLAGS)

.PHONY: lint
lint: ## only the checks of the source, no tests
	@GOWORK=off go run ./internal/testrun -skip '^go test ' $(TESTFLAGS)

.PHONY: bench
bench: ## benchmarks, side by side with other libraries
	@cd bench && exec go run . $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (20s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: demo
demo: build ## a task meets SIGTERM, is interrupted, and goes on in the next process
	@scripts/demo

.PHONY: cover
cover: ## coverage by package; the page is .run/cover.html
	@scripts/cover
