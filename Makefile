# Everything here works on a fresh clone of a fresh machine that has Go, git, make and a C compiler (for -race).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?=
# Nothing of the machine that builds gets into the binary, so that two builds of one commit are alike (docs/release.md).
BUILD_FLAGS := -trimpath -ldflags "-s -w -buildid= $(if $(VERSION),-X main.version=$(VERSION))"
BINARY ?= bin/jobgate
PLATFORMS ?= linux/amd64 linux/arm64
CA_CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
TOOL := go tool -modfile=$(CURDIR)/tools/go.mod
FUZZTIME ?= 2m
# Without C, as the control plane's programs are built: Kubernetes' packages are then compiled once, and not once for each use.
PURE := CGO_ENABLED=0
# kubectl, kube-apiserver and friends are built from their modules; the newest Go found need not be theirs.
export GOTOOLCHAIN ?= local
export GOFLAGS ?= -buildvcs=false

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

.PHONY: build
build: ## build bin/jobgate (BINARY), static
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -o $(BINARY) ./cmd/jobgate

.PHONY: image
image: ## assemble bin/image (OCI layout) and a bill of materials for each of PLATFORMS; VERSION=v1.2.3
	for platform in $(PLATFORMS); do \
	  GOOS=$${platform%/*} GOARCH=$${platform#*/} $(MAKE) --no-print-directory build BINARY=bin/$$platform/jobgate; done
	cd image && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} go run . \
	  $(foreach platform,$(PLATFORMS),--binary ../bin/$(platform)/jobgate) --ca-certificates $(abspath $(CA_CERTIFICATES)) \
	  --version $(or $(VERSION),devel) --revision $$(git describe --always --dirty --abbrev=40 --exclude '*') \
	  --output ../bin/image --sbom ../bin

.PHONY: demo
demo: ## play the main job on a real API server; KEEP=1 leaves it running
	@cd e2e && go run ./demo

.PHONY: test
test: lint unit test-image e2e ## everything that must pass: lint, unit tests, the image, end-to-end tests

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, and govulncheck where its database can be reached
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted" >&2; exit 1; fi
	$(PURE) go vet ./...
	cd e2e && $(PURE) go vet ./...
	cd image && $(PURE) go vet ./...
	$(PURE) $(TOOL) staticcheck ./...
	cd e2e && $(PURE) $(TOOL) staticcheck ./...
	cd image && $(PURE) $(TOOL) staticcheck ./...
	@TOOL="$(TOOL)" hack/vulncheck ./...

.PHONY: unit
unit: ## unit tests with the race detector
	$(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -count=1 -timeout 10m ./...

.PHONY: test-image
test-image: ## assemble the container image and run it, without an engine
	@hack/need /etc/ssl/certs/ca-certificates.crt
	cd image && $(PURE) $(TOOL) gotestsum --format pkgname-and-test-fails -- -count=1 -timeout 10m ./...

.PHONY: e2e-binaries
e2e-binaries: ## build kube-apiserver, etcd, kubectl and the rest into .cache (minutes when cold)
	cd e2e && go run ./build

.PHONY: e2e
e2e: e2e-binaries ## end-to-end tests on a real API server; jobgate runs with the race detector
	@hack/need curl openssl unshare sha256sum
	cd e2e && $(PURE) $(TOOL) gotestsum --format testname -- -count=1 -timeout 15m ./...

.PHONY: bench
bench: ## benchmarks; ratios are to a constant handler in the same run
	go test -run '^$$' -bench . -benchmem ./...
	cd e2e && go run ./throughput

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (2m)
	@hack/fuzz $(FUZZTIME)

.PHONY: tidy
tidy: ## tidy all modules
	go mod tidy
	cd e2e && go mod tidy
	cd image && go mod tidy
	cd tools && go mod tidy

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache
