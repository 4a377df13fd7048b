# The commands of a contributor. `make test` needs nothing but Go.

# The version is one that is built with, and knows, the Go version of go.mod.
GOLANGCI ?= go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Systems that everything must compile on, tests included.
PLATFORMS ?= linux/amd64 linux/arm64 linux/386 darwin/amd64 windows/amd64
# How long each fuzz target runs: a time, or a number of runs, 1000x.
FUZZTIME ?= 30s
# How many runs, for how long at most, and how many kills of a caller.
SOAK ?= 100000
SOAKTIME ?= 30m
KILLS ?= 500

.PHONY: build test race bench soak faults fuzz-calls property bombs stress mutants lint fmt cross fuzz vm-test vm-matrix ci

build:
	go build ./...

test:
	go test ./...

race:
	go test -race ./...

# The first compares with other sandboxes that are installed, in one run; the last the two compilers of
# seccomp filters, if libseccomp is installed.
bench: LIBSECCOMP = $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && pkg-config --modversion libseccomp)
bench:
	go run ./testing/bench
	go test -run '^$$' -bench . -benchmem $$(go list ./... | grep -v /seccomp$$)
	go test $(if $(LIBSECCOMP),-tags seccomp) -run '^$$' -bench . ./seccomp

# SOAK runs of every kind, failures among them, from 16 goroutines while their processes are killed, and callers
# that are killed KILLS times: nothing is left. After SOAKTIME no more runs are begun.
soak:
	RINGFENCE_SOAK=$(SOAK) RINGFENCE_SOAK_TIME=$(SOAKTIME) RINGFENCE_KILLS=$(KILLS) \
		go test -count 1 -v -timeout 2h -run '^(TestManyRunsLeaveNothing|TestCgroupOfManyRunsOfEveryKindIsGone|TestKilledCallerLeavesNothing.*)$$' ./sandbox

# Every step of a set-up fails with every error that its call may have, and is where its process is killed.
faults:
	RINGFENCE_FAULTS=all RINGFENCE_TREES=all go test -count 1 -v -timeout 30m -run '^(TestNoLure.*|TestEveryStepOf.*|TestWhoIs(Killed|StoppedAndKilled)AtAStep.*|TestStartsWithFewDescriptors.*)$$' ./sandbox

# Random system calls inside, for so long with the filter and so long without; as root, also from root's sandboxes.
FUZZ_CALLS ?= 10m
fuzz-calls:
	RINGFENCE_FUZZ_CALLS=$(FUZZ_CALLS) go test -count 1 -v -timeout 0 -run '^Test(Root)?RandomCalls' ./sandbox

# A thousand random Specs, from a seed of their own: what the command observes is what the Spec says. SEED tries others.
SEED ?= 1000
property:
	RINGFENCE_PROPERTY=1000 RINGFENCE_PROPERTY_SEED=$(SEED) go test -count 1 -timeout 30m -run 'ObservesWhat' ./sandbox

# All bombs that only a cgroup bounds, in a virtual machine, each with its control.
bombs:
	go build -o bin/vm ./testing/vm
	bin/vm -env RINGFENCE_BOMBS=all -run '^TestCgroupBounds' ./sandbox

# Every stressor of stress-ng, for a second each or what STRESS says, in sandboxes: some ten minutes.
stress:
	go run ./testing/stress $(STRESS)

# Each protection of SECURITY.md is taken out of the library, and the test that shows it fails. As root; MUTANTS is
# what testing/mutants is called with, for example MUTANTS='-run ioctl', or '-vm -together 9' for cgroup v2.
mutants:
	go run ./testing/mutants $(MUTANTS)

lint:
	$(GOLANGCI) run --allow-parallel-runners ./...

fmt:
	gofmt -w .

# Without cgo, since no C compiler for the other systems is needed to use the library.
cross:
	@for p in $(PLATFORMS); do \
		echo "build and vet for $$p"; \
		export CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/}; \
		go build ./... && go vet ./... || exit 1; \
	done

fuzz:
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# The tests in a virtual machine, on pure cgroup v2. VM is what testing/vm is called with, for example
# VM='-run Cgroup ./internal/cgroup'.
vm-test:
	go build -o bin/vm ./testing/vm
	bin/vm $(VM)

# Every kernel and every host of testing/vm/matrix.go; the table in its README is the result.
vm-matrix:
	go build -o bin/vm ./testing/vm
	bin/vm matrix -update testing/vm/README.md

ci:
	.ci/run
