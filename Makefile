# Everything a contributor runs. `make` or `make help` says what there is.
#
#   PYTHON=python3.13 make test      with another interpreter (default: python3)
#   VENV=folder                      where Segue and the tools are installed (default: .venv)

PYTHON ?= python3
VENV ?= .venv
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/segue
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SEGUE_FLAGS SEGUE_PROFILE

RUN := $(VENV)/bin/python
SOURCES := $(shell find crates python Cargo.toml Cargo.lock pyproject.toml README.md \
	-type f ! -name '*.so' ! -name '*.pyc')
# Interpreters on this machine, and those that `make matrix` adds.
EACH = $(shell $(PYTHON) scripts/interpreters.py)
SID := $(CACHE)/sid

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

# ---- building -------------------------------------------------------------------------------------------------------

.PHONY: install
install: $(VENV)/segue-installed  ## build the wheel and install it in VENV

$(VENV)/segue-installed: $(SOURCES) scripts/install.sh scripts/requirements.txt
	scripts/install.sh $(PYTHON) $(VENV)
	@touch $@

$(VENV)/tests-installed: tests/requirements.txt $(VENV)/segue-installed
	$(RUN) -m pip install -q -r tests/requirements.txt
	@touch $@

$(VENV)/demo-installed: examples/demo/requirements.txt $(VENV)/segue-installed
	$(RUN) -m pip install -q -r examples/demo/requirements.txt
	@touch $@

# ---- the commands ---------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/demo-installed  ## build, then scrape a FastAPI site on Segue and on asyncio (2 minutes)
	$(RUN) examples/demo/demo.py

.PHONY: test
test: $(VENV)/tests-installed servers  ## everything CI checks (10 to 20 minutes)
	$(RUN) scripts/test.py

.PHONY: check
check: $(VENV)/tests-installed  ## formatting, lints, types and licences only
	$(RUN) scripts/test.py --only checks

.PHONY: servers
servers:
	@tests/install_servers.sh

.PHONY: bench
bench: $(VENV)/segue-installed  ## Segue against uvloop, rloop, blazio and asyncio (see benches/README.md)
	$(RUN) -m pip install -q -r benches/requirements.txt
	$(RUN) benches/run.py $(ARGS)

.PHONY: bench-structured
bench-structured: $(VENV)/segue-installed  ## nurseries, scopes, channels and locks against Trio and anyio
	$(RUN) -m pip install -q -r benches/requirements.txt
	$(RUN) benches/structured.py $(ARGS)

.PHONY: conformance
conformance:  ## CPython's own asyncio tests on every interpreter of this machine
	scripts/conformance.sh $(EACH)

.PHONY: conformance-trio
conformance-trio: $(VENV)/tests-installed  ## Trio's own tests on segue.trio
	$(RUN) tests/conformance/trio/run.py $(ARGS)

.PHONY: suites
suites: $(VENV)/tests-installed  ## other projects' test suites on Segue, compared with asyncio
	$(RUN) tests/conformance/suites.py $(ARGS)

.PHONY: matrix
matrix: conformance  ## the same on Python 3.14 and 3.15 too, out of Debian sid (needs root)
	scripts/sid.sh make $(SID)
	CARGO_TARGET_DIR=$(CACHE)/target-sid scripts/sid.sh run $(SID) scripts/conformance.sh python3.14 python3.15

.PHONY: wheel
wheel:  ## a manylinux wheel per interpreter in dist/, installed and tested without cargo on the PATH
	scripts/wheels.sh $(EACH)

.PHONY: reliability
reliability: $(VENV)/tests-installed  ## the reliability tests in full size (an hour)
	RELIABILITY_SCALE=1 $(RUN) -m pytest tests/reliability tests/debug --timeout 3600 $(ARGS)

.PHONY: debug
debug:  ## the tests with debug assertions in the core, under debugging allocators
	scripts/debug.sh $(PYTHON)

.PHONY: clean
clean:  ## remove what was built here and in the cache folder
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	[ ! -d $(SID) ] || scripts/sid.sh remove $(SID)
	rm -rf $(CACHE)/target $(CACHE)/target-* $(CACHE)/venv-*
