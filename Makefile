# Everything runs in .venv, which these targets make. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-boost-corr check bench soak campaign pictures clean install

demo: install
	$(BIN)/apsdm demo $(ARGS)

test: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Beside boost-corr, which it installs for itself once (1.3 GB); not part of CI.
test-boost-corr: install
	$(BIN)/python -m pytest tests/peers $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: install
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(ARGS)

# Half an hour of runs, every tenth with the detector killed; not part of CI.
soak: install
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30)

# The agent of the archive killed 200 times at random moments, some ten minutes; not part of CI.
campaign: install
	$(BIN)/python -m tests.archive.campaign $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS)) \
		$(if $(RUNS),--runs $(RUNS)) $(if $(MOVER),--mover $(MOVER)) $(ARGS)

# The pages' pictures in docs/images, from jobs that run; wants Chromium.
pictures: install
	$(BIN)/python -m tests.web.pictures

install: $(STAMP)

# Installed again only when what it depends on has changed.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
# Without its window, which no test opens: that would be 250 MB of Qt.
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --no-deps xpcs-viewer
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/results
