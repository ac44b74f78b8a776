# make run    a real Postgres, the server on 127.0.0.1:8080 and a sample to look at; needs Python 3.11+ and nothing else
# make test   everything that must hold before a commit: format, lint, types, imports, tests
# make bench  Daybook beside its peers, a few minutes; make bench-full: more rounds, and as the log grows; make soak
# make lock   resolve pyproject.toml again into the requirements files (needs uv)

.DELETE_ON_ERROR:
.PHONY: install dev run check lint test pytest bench bench-full soak clean lock

# Tried in order; the first that runs (a version manager's shim may exist and fail), is new enough and can make a
# virtualenv is used. To choose another: make PYTHON=/path/to/python
PYTHON ?= python3.13 python3.12 python3.11 python3 python
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_ARGS ?= -n auto --maxprocesses 8 --dist worksteal

# The caller's own Python settings must not reach into the virtualenv.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

install: $(VENV)/.installed

dev: $(VENV)/.installed-dev

run: install
	$(BIN)/daybook demo

test check: lint pytest

lint: dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# After lint, also under make -j: a failed check should be read before a page of test output.
pytest: dev lint
	$(BIN)/pytest $(PYTEST_ARGS)

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks run $(BENCH_ARGS)

# An hour or two, and 20 GB for the store of ten million entries, which stays in benchmarks/results/home.
bench-full: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks grow $(GROW_ARGS)
	$(BIN)/python -m benchmarks run --rounds 5 --seconds 8 $(BENCH_ARGS)

soak: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks soak $(SOAK_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock:
	uv pip compile pyproject.toml --extra build $(LOCK_FLAGS) --output-file requirements.txt
	uv pip compile pyproject.toml --extra build --extra dev $(LOCK_FLAGS) --constraint requirements.txt --output-file requirements-dev.txt
	uv pip compile pyproject.toml --extra build --extra bench $(LOCK_FLAGS) --constraint requirements-dev.txt --output-file requirements-bench.txt

LOCK_FLAGS := --universal --generate-hashes --no-emit-index-url --no-annotate \
	--quiet --custom-compile-command "make lock"

$(VENV)/.created:
	@for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "Making $(VENV) with $$candidate"; \
			"$$candidate" -m venv --clear $(VENV) && touch $@; \
			exit; \
		fi; \
	done; \
	echo "No Python 3.11 or newer with the venv module found (tried: $(PYTHON))." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python" >&2; \
	exit 1

$(VENV)/.installed: $(VENV)/.created requirements.txt pyproject.toml
	$(PIP) install --require-hashes -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# What has no wheel is built with the setuptools that is there, so that nothing is fetched without a hash.
$(VENV)/.installed-bench: $(VENV)/.installed requirements-bench.txt
	$(PIP) install --require-hashes --no-build-isolation -r requirements-bench.txt
	@touch $@
