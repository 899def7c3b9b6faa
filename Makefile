# A thin layer over CMake, so that the usual words work: `make help` lists them. Nothing is decided here that CMakeLists.txt
# decides; for other builds use its presets (cmake --list-presets).
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE_FLAGS ?=
GENERATOR := $(if $(shell command -v ninja 2>/dev/null),Ninja,Unix Makefiles)
LAUNCHER := $(if $(shell command -v ccache 2>/dev/null),-DCMAKE_C_COMPILER_LAUNCHER=ccache)

.DEFAULT_GOAL := all
.PHONY: all setup configure demo examples test bench doctor-suite install docs clean help

all: configure ## build the tool and the library: build/soma, build/libsoma.so
	@cmake --build $(BUILD) -j $(JOBS) --target soma soma_cli soma_manual

configure:
	@tools/setup --check build
	@test -f $(BUILD)/CMakeCache.txt || cmake -S . -B $(BUILD) -G "$(GENERATOR)" $(LAUNCHER) $(CMAKE_FLAGS)

setup: ## install what is missing for everything below (apt)
	@tools/setup build test demo docs

demo: ## set up, build, train on Fashion-MNIST and show how well it went
	@tools/setup build demo
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

examples: configure ## build the small programs: build/examples
	@cmake --build $(BUILD) -j $(JOBS) --target examples

test: ## set up, build, run all tests
	@tools/setup build test
	@$(MAKE) --no-print-directory configure
	@cmake $(BUILD) >$(BUILD)/configure.log || { cat $(BUILD)/configure.log; exit 1; } # cmocka may be new here
	@cmake --build $(BUILD) -j $(JOBS)
	@tools/test $(BUILD)

bench: all ## time soma beside its peers (ONLY=lenet: one workload; bench/run says more)
	@tools/setup --check bench
	@cmake --build $(BUILD) -j $(JOBS) --target bench_programs
	@bench/run $(BUILD)

doctor-suite: configure ## trainings with planted faults and healthy ones: what the doctor finds (a few minutes)
	@cmake --build $(BUILD) -j $(JOBS) --target doctor_suite
	@$(BUILD)/doctor_suite

install: all ## install into PREFIX (/usr/local), or below DESTDIR
	@cmake --install $(BUILD) --prefix $(PREFIX)

docs: all ## man pages, reference pages, and the API as HTML when doxygen is there
	@tools/docs $(BUILD)

clean: ## remove what was built (runs/ and downloaded data stay)
	@rm -rf $(BUILD)

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
