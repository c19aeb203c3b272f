# Every command a newcomer needs; each does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGE := ticker/web/static/index.html
PAGE_SOURCES := $(wildcard dashboard/src/*) $(wildcard dashboard/*.html dashboard/*.json dashboard/*.ts dashboard/*.py)

.DEFAULT_GOAL := help
.PHONY: help run test faults fuzz setup setup-test setup-image check docs bench bench-fanout bench-history bench-market bench-resume wheel lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

run: setup ## set up what is missing and serve on http://127.0.0.1:8000
	@exec $(BIN)/ticker run

test: setup-test ## set up what is missing and run every test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

faults: setup-test ## kill, stall, cut and fill what it runs on, about ten minutes, and prove by the books that no tick is lost
	@mkdir -p build
	PYTHONPATH=tests/faults $(BIN)/python -m ledger --table build/faults.md $(ARGS)

fuzz: setup-test ## ask a running service what its OpenAPI document allows, and what it does not: 10,000 requests; ARGS="--seed 1"
	PYTHONPATH=tests/faults $(BIN)/python tests/api/rest_fuzz.py $(ARGS)

check: setup-test ## what CI checks besides the tests: form, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python dashboard/build.py npm run --silent check

docs: setup ## write the parts of docs/ that the code knows: settings, limits, metrics, commands, codes
	$(BIN)/python docs/generate.py

bench: setup ## measure: see bench/README.md
	$(BIN)/python bench/ingest.py
	$(BIN)/python bench/polling.py
	$(BIN)/python bench/archive.py

bench-fanout: $(VENV)/bench.stamp ## what one core delivers, beside peers; ARGS="ceiling --runs 1" for a part of it
	$(BIN)/python bench/fanout $(or $(ARGS),all)

bench-history: setup ## what history over REST costs, beside the obvious design and a constant body; ARGS="--runs 1" for less
	$(BIN)/python bench/history.py $(ARGS)

bench-resume: setup ## a gateway is killed: how soon its clients are whole, and what others notice; ARGS="--clients 200 --runs 1" for less
	$(BIN)/python bench/resume $(ARGS)

bench-market: $(VENV)/bench.stamp ## a simulated day: its figures, and a picture of it in build/market.png
	@mkdir -p build
	$(BIN)/python bench/market.py --png build/market.png $(ARGS)

wheel: setup ## dist/ticker-*.whl, with the trading page in it
	@test -f $(PAGE) || { echo "the trading page is not built, see above; a wheel without it would be half a wheel"; exit 1; }
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

setup: $(VENV)/run.stamp $(PAGE) ## .venv with what running needs, and the trading page

setup-test: $(VENV)/test.stamp $(PAGE)

setup-image: $(VENV)/image.stamp

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found; name another: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt \
		-r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# What lints Dockerfile and compose.yaml: CI has it, a laptop need not.
$(VENV)/image.stamp: requirements/image.txt $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/image.txt
	@touch $@

# A page that cannot be built does not keep anybody from running: the service has a small one, and the next make tries again.
$(PAGE): $(PAGE_SOURCES) requirements/node.txt | $(VENV)/run.stamp
	@$(BIN)/python dashboard/build.py || true

$(VENV)/test.stamp: requirements/test.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

lock: ## renew requirements/*.txt: every version with its hashes, without addresses (needs uv)
	uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url -o requirements/run.txt pyproject.toml
	uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url -o requirements/build.txt requirements/build.in
	uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url -c requirements/run.txt -o requirements/test.txt requirements/test.in
	uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url -c requirements/run.txt -c requirements/test.txt -o requirements/image.txt requirements/image.in
	uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url -c requirements/run.txt -c requirements/test.txt -o requirements/bench.txt requirements/bench.in
	uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url -o requirements/node.txt requirements/node.in

clean: ## forget the environment and everything that was built
	rm -rf $(VENV) build dist dashboard/node_modules ticker/web/static .mypy_cache .ruff_cache .pytest_cache .hypothesis
