# Seedbed's commands. Each sets up .venv by itself and may be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
# An index that has a CPU build of torch, where the default one has only CUDA builds.
TORCH_INDEX ?=
WORKSPACE ?= first-run
export OMP_WAIT_POLICY ?= passive

.PHONY: help run test test-all browser postgres faults check format setup bench clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run  ## The whole job once, on real weights: generate, filter, train, evaluate, report
	@$(BIN)/seedbed init $(WORKSPACE) --preset first-run --keep
	@$(BIN)/seedbed --workspace $(WORKSPACE) run --rounds 1

setup: $(VENV)/.dev  ## Everything for development, in .venv

check: $(VENV)/.dev  ## Lint, format, types, import order
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .dev/tree.py

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python .dev/tree.py --write

test: $(VENV)/.dev  ## The suite that needs no weights, browser or database server (minutes)
	$(BIN)/pytest -n 2 --dist loadfile -m "not real and not manual"

test-all: $(VENV)/.dev browser postgres faults  ## The suite with real weights and the embedded server (at most half an hour)
	$(BIN)/pytest -n 2 --dist loadfile -m "not real and not manual"
	$(BIN)/pytest -m "real and not manual" --ignore tests/browser
	$(BIN)/pytest -m "real and not manual" tests/browser

browser:  ## Debian's Chromium, for the tests of the page, where it is missing and may be installed
	@command -v chromium >/dev/null 2>&1 || { \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1; } || { echo "no chromium: apt-get install chromium" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; }

postgres:  ## Debian's PostgreSQL server, for the tests of a shared pool, where it is missing and may be installed
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || { \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1; } || { echo "no PostgreSQL: apt-get install postgresql" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }

faults:  ## Debian's libfiu, for the tests of I/O errors, where it is missing and may be installed
	@command -v fiu-run >/dev/null 2>&1 || { \
	  { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1; } || { echo "no libfiu: apt-get install fiu-utils" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fiu-utils >/dev/null; }

bench: $(VENV)/.dev  ## Every side-by-side measurement at its small sizes
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script --quick || exit 1; done

clean:  ## Remove .venv and caches; workspaces and downloaded weights stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch first: a CPU build where there is no GPU, since the default one brings gigabytes of CUDA libraries.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Seedbed needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@echo "installing torch …"
	@if command -v nvidia-smi >/dev/null 2>&1 || [ "$$(uname)" != Linux ]; then \
	  $(BIN)/pip install --quiet --constraint constraints.txt torch; \
	elif [ -n "$(TORCH_INDEX)" ]; then \
	  $(BIN)/pip install --quiet --constraint constraints.txt --index-url "$(TORCH_INDEX)" torch; \
	else \
	  $(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)+cpu" 2>/dev/null || \
	  { echo "no CPU build of torch in the default index (TORCH_INDEX names another): taking the default build"; \
	    $(BIN)/pip install --quiet --constraint constraints.txt torch; }; \
	fi
	@touch $@

$(VENV)/.run: $(VENV)/.torch pyproject.toml
	@echo "installing seedbed …"
	@$(UV) --editable ".[train,local]"
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(UV) --editable ".[train,local,dev]"
	@touch $@
