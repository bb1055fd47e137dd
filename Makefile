# Two commands on a fresh clone: `make demo` runs the main job, `make test` every check.
# Python 3.11 to 3.13 and make are all they need; PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FULL := $(VENV)/.full
# the lowest scikit-learn that pyproject.toml allows, laid before the newest on the import path
OLDEST := $(shell sed -n 's/.*"scikit-learn>=\([0-9.]*\)".*/\1/p' pyproject.toml)
OLD := $(VENV)/scikit-learn-$(OLDEST)
export OMP_NUM_THREADS := 1
export SCIPY_ARRAY_API := 1

.PHONY: demo test test-oldest lint docs benchmark clean

demo: $(READY)
	$(BIN)/latflow demo

# scikit-learn's checks on their own: their names hold addresses, which differ between processes
test: $(FULL) lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/test_checks.py
	$(BIN)/python -m pytest tests/test_checks.py
	$(MAKE) test-oldest

# that scikit-learn hands pytest a generator, which pytest 9 warns of
test-oldest: $(READY) $(OLD)
	PYTHONPATH=$(OLD) $(BIN)/python -m pytest --quiet tests/test_checks.py tests/test_adapters.py \
		tests/test_splitters.py -W default::pytest.PytestRemovedIn10Warning

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/temperature_transfer.py
	$(BIN)/python benchmarks/alanine_dipeptide.py
	$(BIN)/python benchmarks/fit_speed.py
	$(BIN)/python benchmarks/encoder_speed.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/featurize.py

docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

# torch first and pinned: unpinned, its newest build brings gigabytes of CUDA
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[dev,plot,mbar,dask]"
	touch $(READY)

# half a gigabyte that only tests of files and simulations need
$(FULL): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[h5,md]"
	touch $(FULL)

$(OLD): $(READY)
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(OLD) "scikit-learn==$(OLDEST)"
	touch $(OLD)

clean:
	rm -rf $(VENV) build docs/_build *.egg-info
