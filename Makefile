# Everything here works on a fresh clone of a fresh machine that has Go, git, make and a C compiler (for -race).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?=
REVISION ?= $(shell git describe --always --dirty --abbrev=40 --exclude '*')
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
# Nothing of the machine that builds gets into the binary, so that two builds of one commit are alike (docs/release.md).
BUILD_FLAGS := -trimpath -ldflags "-s -w -buildid= $(if $(VERSION),-X main.version=$(VERSION))"
# Everything that is built goes below it.
BIN ?= bin
BINARY ?= $(BIN)/jobgate
# Platforms of the images, and of the binaries of a release.
PLATFORMS ?= linux/amd64 linux/arm64
RELEASE_PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
CI_PROGRAMS ?= $(BIN)
CA_CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
TOOL := go tool -modfile=$(CURDIR)/tools/go.mod
# In its own module: it needs other versions of what the other tools need.
GOLANGCI_LINT := go tool -modfile=$(CURDIR)/tools/golangci-lint/go.mod golangci-lint
FUZZTIME ?= 2m
# Without C, as the control plane's programs are built: Kubernetes' packages are then compiled once, and not once for each use.
PURE := CGO_ENABLED=0
# kubectl, kube-apiserver and friends are built from their modules; the newest Go found need not be theirs.
export GOTOOLCHAIN ?= local
# With the same flags everywhere a package is compiled once for tests, linters and releases, and once more with -race.
export GOFLAGS ?= -buildvcs=false -trimpath

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

.PHONY: build
build: ## build bin/jobgate (BINARY), static
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -o $(BINARY) ./cmd/jobgate

# The binary of a platform, such as bin/linux/amd64/jobgate; on Windows a program's name ends in .exe.
binary = $(BIN)/$(1)/jobgate$(if $(filter windows/%,$(1)),.exe)
image = cd image && go run . $(foreach platform,$(PLATFORMS),--binary $(abspath $(call binary,$(platform)))) \
	--ca-certificates $(abspath $(CA_CERTIFICATES)) --third-party-licenses $(abspath $(BIN))/$@-licenses.txt \
	--version $(or $(VERSION),devel) --revision $(REVISION) --sbom $(abspath $(BIN))

.PHONY: image
image: ## assemble bin/image (OCI layout) and a bill of materials for each of PLATFORMS; VERSION=v1.2.3
	$(foreach platform,$(PLATFORMS),$(MAKE) --no-print-directory binary PLATFORM=$(platform) &&) true
	cd image && go run ./licenses $(foreach platform,$(PLATFORMS),$(abspath $(call binary,$(platform)))) \
	  >$(abspath $(BIN))/$@-licenses.txt
	$(image) --output $(abspath $(BIN))/image

.PHONY: ci-image
ci-image: image ci-programs ## assemble bin/ci-image: jobgate, kubectl and a shell for CI jobs
	cd image && go run ./licenses $(foreach platform,$(PLATFORMS),$(abspath $(call binary,$(platform)) $(CI_PROGRAMS)/$(platform)/kubectl)) \
	  >$(abspath $(BIN))/$@-licenses.txt
	$(image) --output $(abspath $(BIN))/ci-image \
	  $(foreach platform,$(PLATFORMS),--kubectl $(abspath $(CI_PROGRAMS))/$(platform)/kubectl --busybox $(abspath $(CI_PROGRAMS))/$(platform)/busybox)

.PHONY: ci-programs
ci-programs: ## kubectl and busybox of the CI image, for each of PLATFORMS
	$(foreach platform,$(PLATFORMS),hack/kubectl $(platform) $(CI_PROGRAMS)/$(platform)/kubectl && \
	  hack/busybox $(notdir $(platform)) .cache/busybox/$(notdir $(platform)) && mkdir -p $(CI_PROGRAMS)/$(platform) && \
	  rm -rf $(CI_PROGRAMS)/$(platform)/busybox && cp -r .cache/busybox/$(notdir $(platform)) $(CI_PROGRAMS)/$(platform)/busybox &&) true

.PHONY: release
release: release-files image ci-image ## everything that a release has: bin/release, bin/image, bin/ci-image; VERSION=v1.2.3 is required

.PHONY: release-files
release-files: # archives, Debian packages, bills of materials, krew's manifest and checksums for RELEASE_PLATFORMS
	@[ -n "$(VERSION)" ] || { echo "make release needs VERSION=v1.2.3" >&2; exit 1; }
	$(foreach platform,$(RELEASE_PLATFORMS),$(MAKE) --no-print-directory binary PLATFORM=$(platform) &&) true
	rm -rf $(BIN)/release $(BIN)/documents
	CGO_ENABLED=0 go run -tags reference $(BUILD_FLAGS) ./cmd/jobgate reference $(BIN)/documents
	cd image && go run ./licenses $(foreach platform,$(RELEASE_PLATFORMS),$(abspath $(call binary,$(platform)))) \
	  >$(abspath $(BIN))/documents/THIRD-PARTY-LICENSES.txt
	cd image && go run ./release $(foreach platform,$(RELEASE_PLATFORMS),--binary $(abspath $(call binary,$(platform)))) \
	  --documents $(abspath $(BIN))/documents --third-party-licenses $(abspath $(BIN))/documents/THIRD-PARTY-LICENSES.txt \
	  --version $(VERSION) --revision $(REVISION) --output $(abspath $(BIN))/release

.PHONY: binary
binary: # the binary of one PLATFORM, for its oldest processors
	GOOS=$(patsubst %/,%,$(dir $(PLATFORM))) GOARCH=$(notdir $(PLATFORM)) GOAMD64=v1 GOARM64=v8.0 $(MAKE) --no-print-directory build \
	  BINARY=$(call binary,$(PLATFORM))

.PHONY: demo
demo: ## CI jobs on a real API server, allowed and refused; KEEP=1 leaves it running, PICTURE=docs/demo.svg draws it
	@cd e2e && PICTURE="$(abspath $(PICTURE))" go run ./demo

.PHONY: test
test: ## everything that must pass: lint, unit tests, the image, end-to-end tests; says at the end how long each took
	@hack/timed lint unit test-image e2e-binaries e2e

.PHONY: lint
lint: ## golangci-lint (.golangci.yml), actionlint, and govulncheck where its database can be reached
	@status=0; for module in . e2e image; do (cd $$module && $(PURE) $(GOLANGCI_LINT) run) || status=1; done; exit $$status
	$(PURE) $(TOOL) actionlint
	@$(PURE) TOOL="$(TOOL)" hack/vulncheck ./...

.PHONY: unit
unit: ## unit tests with the race detector
	$(TOOL) gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -count=1 -p 4 -timeout 10m ./...

.PHONY: test-image
test-image: ## assemble the container image and run it, without an engine
	@hack/need /etc/ssl/certs/ca-certificates.crt dpkg-deb
	cd image && $(PURE) $(TOOL) gotestsum --format pkgname-and-test-fails -- -count=1 -timeout 10m ./...

.PHONY: test-release
test-release: ## make the release for all of RELEASE_PLATFORMS twice, and compare (test-image does so for this machine's alone)
	cd image && TEST_RELEASE_PLATFORMS="$(RELEASE_PLATFORMS)" $(PURE) go test -count=1 -timeout 45m -run TestMakeRelease ./release

# The Kubernetes of the end-to-end tests, from 1.32 on; empty: the newest.
KUBERNETES ?=
export KUBERNETES

.PHONY: e2e-binaries
e2e-binaries: ## build kube-apiserver, etcd, kubectl and the rest into .cache (minutes when cold)
	cd e2e && go run ./build

.PHONY: e2e
e2e: e2e-binaries ## end-to-end tests on a real API server; jobgate runs with the race detector; KUBERNETES=1.32 for an older one
	@hack/need curl jq openssl unshare sha256sum prometheus promtool
	cd e2e && $(PURE) go run ./suite

# Cases of the node to run, as for go test -run; and how long its longest stream lasts.
RUN ?= .
STREAM ?= 10s
.PHONY: node
node: ## jobgate on a whole kubeadm node: kubelet, containerd, static pods (Linux, root); RUN=TestInstall, STREAM=11m
	@hack/need curl nsenter runc ip mkfs.ext4 losetup
	@hack/busybox $$(go env GOARCH) .cache/busybox/$$(go env GOARCH)
	@cd e2e && NODE_STREAM=$(STREAM) $(PURE) go test -tags node -count=1 -v -timeout 2h -run '$(RUN)' ./node | grep --line-buffered -v '^=== '

.PHONY: monitoring
monitoring: e2e-binaries ## alerts by promtool, all queries in a real Prometheus, traces beside kube-apiserver's (make e2e does so, too)
	@hack/need prometheus promtool
	cd e2e && $(PURE) go test -count=1 -run '^(TestAlerts|TestDashboard|TestMonitoring|TestTraces)' .

.PHONY: bench
bench: ## everything that is measured, as a table and bin/bench.json; UPDATE_DOCS=1 writes docs/performance.md from it
	@hack/need h2load
	@cd e2e && $(PURE) go run ./bench -output $(abspath $(BIN))/bench.json $(if $(UPDATE_DOCS),-docs)

ATTACK ?= unknown-tokens
SCALE ?= 1
SEED ?= 1
JOBS ?= 150
.PHONY: flood
flood: build ## the real jobgate under attack: ATTACK=unknown-tokens (go run ./flood -help in e2e lists them), T=60s, SCALE=1 of its rate
	cd e2e && $(PURE) go run ./flood -jobgate $(abspath $(BINARY)) -attack $(ATTACK) -length $(T) -scale $(SCALE)
flood: T = 60s

RESTARTS ?= 20
.PHONY: restarts
restarts: e2e-binaries ## two instances of jobgate behind a real API server, restarted and killed RESTARTS (20) times in turns, under load
	cd e2e && RESTARTS=$(RESTARTS) $(PURE) go test -count=1 -v -timeout 20m -run TestInstances . | grep -v '^{'

.PHONY: soak
soak: ## jobs work on a real API server while what is around them fails, restarts and changes by a schedule: T=5m, SEED=1, JOBS=150
	cd e2e && $(PURE) go run ./soak -length $(T) -seed $(SEED) -jobs $(JOBS)
soak: T = 5m

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (2m)
	@hack/fuzz $(FUZZTIME)

.PHONY: tidy
tidy: ## tidy all modules
	go mod tidy
	cd e2e && go mod tidy
	cd image && go mod tidy
	cd tools && go mod tidy
	cd tools/golangci-lint && go mod tidy
	cd tools/containerd && go mod tidy
	cd tools/helm && go mod tidy

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache
