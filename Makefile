# doorcode. `make` or `make help` lists what can be made. Every target works from any checkout and with any number of jobs.

GO            ?= go
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Runs a command beside a Postgres cluster of its own; the tests make their databases in it.
CLUSTER       := $(GO) run ./pkg/postgres/pgtest/cluster --
PACKAGES      ?= ./...
FUZZTIME      ?= 5m
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
	$(CLUSTER) $(GO) test -race -timeout 30m $(PACKAGES)

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
bench: build ## Measure full sign-ins, processes apart, beside the floor. BENCH="-short" tries it, BENCH=go runs Go's benchmarks.
ifeq ($(BENCH),go)
	$(CLUSTER) $(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)
else
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ github.com/nats-io/nats-server/v2
	@./bin/bench $(BENCH)
endif

.PHONY: fuzz
fuzz: ## Fuzz every parser of what comes from outside, for FUZZTIME (5m) each. PACKAGES=./pkg/otp narrows it.
	@$(CLUSTER) $(MAKE) --no-print-directory fuzz-each

# One target at a time, which is all that `go test -fuzz` takes. The first that fails ends it; its input stays as a seed in
# testdata/fuzz. An end of the time that Go itself reports as a failure, without an input, is none (golang/go#75804): a
# number of runs, FUZZTIME=1000x, does not know it.
.PHONY: fuzz-each
fuzz-each:
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(GO) list -f '{{$$p := .ImportPath}}{{$$d := .Dir}}{{range .TestGoFiles}}{{$$p}} {{$$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$p}} {{$$d}}/{{.}}{{"\n"}}{{end}}' $(PACKAGES) | \
		while read -r package file; do \
			for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(f \*testing\.F\).*/\1/p' "$$file"); do \
				echo "fuzzing $$target in $$package"; \
				$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null 2>&1 | tee "$$log" || \
					{ grep -qx ' *context deadline exceeded' "$$log" && ! grep -q 'Failing input' "$$log"; }; \
			done; \
		done

.PHONY: figures
figures: ## Print the figures of the code: lengths, comments, tests, documentation.
	@$(GO) run ./pkg/archtest/figures

.PHONY: previews
previews: ## Write every message in every language to bin/previews, to look through.
	@$(GO) run ./pkg/message/previews -dir bin/previews

.PHONY: pictures
pictures: ## Take the README's pictures of the hosted pages and the console anew.
	$(CLUSTER) $(GO) test ./services/auth/app -count 1 -run 'Test(Prompt|Settings)_EveryState' -pictures $(CURDIR)/deploy/pictures
	$(CLUSTER) $(GO) test ./services/console/internal/desk -count 1 -run 'TestJourney_OperatorOnCall' -pictures $(CURDIR)/deploy/pictures
	$(GO) test ./services/e2e -count 1 -run TestConsole_PagesFit -pictures $(CURDIR)/deploy/pictures

.PHONY: clean
clean: ## Remove what was built. What `make run` keeps in .doorcode stays.
	rm -rf bin
