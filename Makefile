# Two commands matter: `make run` and `make test`. Each sets up what it needs first.
#
# What is installed is remembered by a file in .venv/ready named by the checksum of what it was
# installed from: a second run finds the file and goes on at once, and a changed lock installs again.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
LOCKS := packaging/requirements
BIN := $(VENV)/bin
# Build isolation would fetch build tools that no lock names: those in build.txt come first instead.
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --require-hashes --no-build-isolation

# The folder counts too: an environment can't be moved.
sum = $(firstword $(shell { pwd; cat $(1); } | sha256sum))
RUNTIME_FROM := $(addprefix $(LOCKS)/,build.txt runtime.txt)
RUNTIME := $(READY)/runtime-$(call sum,pyproject.toml $(RUNTIME_FROM))
TEST := $(READY)/test-$(call sum,pyproject.toml $(RUNTIME_FROM) $(LOCKS)/test.txt)
LINT := $(READY)/lint-$(call sum,$(LOCKS)/lint.txt)
LOCUST := $(READY)/locust-$(call sum,$(LOCKS)/load.txt)
PEERS := $(READY)/peers-$(call sum,$(LOCKS)/peers.txt)
PACKAGE := $(READY)/package-$(call sum,$(LOCKS)/build.txt $(LOCKS)/package.txt)
LOCK_TOOLS := $(READY)/lock-$(call sum,$(LOCKS)/lock.txt)

JOBS ?= $(shell expr 2 '*' "$$(nproc)")
SIDE_BY_SIDE := --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder

.PHONY: help run test deb dist check check-lint check-types check-rooms check-prometheus lock locust peers tools clean

help: ## say what there is (default)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

run: $(RUNTIME) ## run the daemon here, in the foreground; all that it writes stays in .aiidpd/
	@exec $(BIN)/aiidpd demo

# Many tests wait rather than compute: two files at a time for each processor. A file's tests stay together, as
# they share fixtures; the integration tests, which wait the most, come first.
test: $(TEST) ## run the tests; TESTS= names some of them (TESTS="tests/unit -x"), JOBS= how many at a time
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(TESTS)

check: check-lint check-types check-rooms check-prometheus ## all that a change must pass besides the tests (-k: to the end)

check-lint: $(TEST) $(LINT)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-types: $(TEST) $(LINT)
	$(BIN)/python -m mypy

check-rooms: $(TEST) $(LINT)
	$(BIN)/lint-imports

check-prometheus: $(TEST)
	.ci/promtool

deb: $(PACKAGE) ## build dist/aiidpd_VERSION_ARCHITECTURE.deb; ARGUMENTS="--wheels DIR" takes what was fetched before
	@$(VENV)/package/bin/python packaging/deb/build.py $(ARGUMENTS)

dist: $(PACKAGE) ## build the wheel and the source distribution into dist/
	@$(VENV)/package/bin/python packaging/dist.py

tools: $(PACKAGE) ## install what builds the package into .venv/package

lock: $(LOCK_TOOLS) ## write packaging/requirements from pyproject.toml; UPGRADE=1 takes the newest
	$(VENV)/lock/bin/python packaging/lock.py $(if $(UPGRADE),--upgrade)

locust: $(LOCUST) ## install Locust into .venv/load, for bench/locustfile.py and its tests

peers: $(PEERS) ## install what bench/ measures beside us

clean: ## remove what `make` installed and built; .aiidpd/ stays
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: cannot make $(VENV): aiidpd needs Python 3.11 or newer as '$(PYTHON)'; name one with PYTHON=..." >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: cannot make $(VENV): $(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; \
	  exit 1; }
	@echo "make: making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): | $(BIN)/python
	@echo "make: installing aiidpd and its locked dependencies into $(VENV)"
	@$(INSTALL) -r $(LOCKS)/build.txt
	@$(INSTALL) --use-pep517 -r $(LOCKS)/runtime.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@mkdir -p $(READY) && rm -f $(READY)/runtime-* && touch $@

$(TEST): $(RUNTIME)
	@echo "make: installing what the tests need into $(VENV)"
	@$(INSTALL) -r $(LOCKS)/test.txt
	@rm -f $(READY)/test-* && touch $@

$(LINT): | $(RUNTIME)
	@echo "make: installing what the checks need into $(VENV)"
	@$(INSTALL) -r $(LOCKS)/lint.txt
	@rm -f $(READY)/lint-* && touch $@

# pip-tools brings its own pip: it stays out of the environment that everything else runs in.
$(LOCK_TOOLS): | $(BIN)/python
	@echo "make: installing pip-tools into $(VENV)/lock"
	@$(PYTHON) -m venv --clear $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $(LOCKS)/lock.txt
	@mkdir -p $(READY) && rm -f $(READY)/lock-* && touch $@

# Locust's gevent replaces much of the standard library, and its plugin of pytest would load it: it stays apart.
$(LOCUST): | $(BIN)/python
	@echo "make: installing Locust into $(VENV)/load"
	@$(PYTHON) -m venv --clear $(VENV)/load
	@$(VENV)/load/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $(LOCKS)/load.txt
	@mkdir -p $(READY) && rm -f $(READY)/locust-* && touch $@

# The package is built by tools of its own, and documents itself by the libraries that it holds.
$(PACKAGE): | $(BIN)/python
	@echo "make: installing what builds the package into $(VENV)/package"
	@$(PYTHON) -m venv --clear $(VENV)/package
	@$(VENV)/package/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $(LOCKS)/build.txt
	@$(VENV)/package/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes \
	  --no-build-isolation --use-pep517 -r $(LOCKS)/package.txt
	@mkdir -p $(READY) && rm -f $(READY)/package-* && touch $@

$(PEERS): | $(BIN)/python
	@echo "make: installing the peers of bench/ into $(VENV)/peers"
	@$(PYTHON) -m venv --clear $(VENV)/peers
	@$(VENV)/peers/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $(LOCKS)/peers.txt
	@mkdir -p $(READY) && rm -f $(READY)/peers-* && touch $@
