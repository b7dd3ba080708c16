# doorcode. `make` or `make help` lists what can be made. Every target works from any checkout and with any number of jobs.

GO            ?= go
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Runs a command beside a Postgres cluster of its own; the tests make their databases in it.
CLUSTER       := $(GO) run ./pkg/postgres/pgtest/cluster --
PACKAGES      ?= ./...
FUZZTIME      ?= 20s
SHELL         := bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: build ## Run all of it in one process: sign-in demo, inbox, embedded bus, private database.
	@exec ./bin/standalone

.PHONY: build
build: ## Build every service into bin/, without C.
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ $$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./services/...)

.PHONY: test
test: ## Run all tests with the race detector. PACKAGES=./pkg/otp narrows it.
	$(CLUSTER) $(GO) test -race $(PACKAGES)

.PHONY: lint
lint: ## Run the linters and check the formatting.
	$(GOLANGCI_LINT) run --allow-parallel-runners $(PACKAGES)

.PHONY: verify
verify: lint ## Lint, and check that generated files and go.mod are current.
	@echo "checking generated files"
	@before=$$(git status --porcelain; git diff | cksum); \
		$(GO) generate ./...; \
		after=$$(git status --porcelain; git diff | cksum); \
		if [ "$$before" != "$$after" ]; then echo "generated files were not current, now they are:"; git status --short; exit 1; fi
	@echo "checking go.mod"
	@$(GO) mod tidy -diff
	@$(GO) mod verify

.PHONY: bench
bench: ## Run all benchmarks.
	$(CLUSTER) $(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZTIME (20s) each.
	@grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' pkg services | sed -E 's|^(.*)/[^/]+:[0-9]+:func (.*)$$|\1 \2|' | sort -u | \
		while read -r folder target; do \
			echo "fuzzing $$target in $$folder"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$folder" </dev/null; \
		done

.PHONY: figures
figures: ## Print the figures of the code: lengths, comments, tests, documentation.
	@$(GO) run ./pkg/archtest/figures

.PHONY: clean
clean: ## Remove what was built. What `make run` keeps in .doorcode stays.
	rm -rf bin
