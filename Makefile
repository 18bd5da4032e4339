# ami-edge: two commands for a newcomer (demo, test); the rest is for developers.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench soak mutations wheel packages lock

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## the whole main job on simulated meters (DEMO_ARGS=--fast for a minute's version)
	@$(BIN)/meter-sim demo $(DEMO_ARGS)

packages:
	@sh tests/install_packages.sh

test: $(STAMP) packages check  ## everything there is to test
	$(BIN)/python -m pytest -q tests/e2e/test_demo.py
	$(BIN)/python -m pytest -q -n 3 --dist worksteal --ignore tests/e2e/test_demo.py $(TEST_ARGS)

check: $(STAMP)  ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## figures side by side with the peers (installs gcc and libmodbus where missing)
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

soak: $(STAMP)  ## search for a counter-example to the promise, on all cores, for SOAK_MINUTES (10)
	@$(BIN)/python -m meter_sim.soak --minutes $(or $(SOAK_MINUTES),10) $(SOAK_ARGS)

mutations: $(STAMP)  ## single faults put into a copy of the sources: which of them the tests and simulate catch
	@$(BIN)/python -m tests.mutations --simulate $(MUTATIONS_ARGS)

wheel: $(STAMP)  ## build the wheel and use it from an empty directory
	$(BIN)/python -m pytest -q tests/e2e/test_wheel.py

lock:  ## renew the pins; no index address ends up in the file
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	    --no-emit-index-url --no-header --output-file requirements.lock pyproject.toml
