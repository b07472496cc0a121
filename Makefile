# Everything needs Python 3.11 or later and make; the first target makes its own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A worker for each core, so that each computes on one.
PYTEST := -m pytest -n logical --dist worksteal

.PHONY: run test test-all lowest oracle lint types sdist clean

# The quickstart: embeds a few thousand real texts and shows which are alike.
run: $(VENV)/ready
	$(BIN)/pipelines-beam run configs/quickstart.yaml

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

# With the tests that take minutes.
test-all: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m ""

# The tests on the oldest versions that pyproject.toml allows.
lowest: $(VENV)/ready
	rm -rf build/lowest && $(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install -q -c tests/lowest.txt -e ".[dev]"
	OMP_NUM_THREADS=1 build/lowest/bin/python $(PYTEST) $(LOWEST_TESTS)

# The recorded answers of transformers 4.57, asked again of transformers 4.57.
oracle: $(VENV)/ready
	cd tests && ../$(BIN)/python -m support.record_revived --check

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

# The built package installed into an environment of its own: it imports, its commands and jobs
# run, and one case of each task.
sdist: $(VENV)/ready
	rm -rf build/sdist && mkdir -p build/sdist
	$(BIN)/python -m build --sdist --outdir build/sdist
	$(BIN)/python -m venv build/sdist/venv
	build/sdist/venv/bin/python -m pip install -q "setuptools>=77"
	build/sdist/venv/bin/python -m pip install -q --no-deps --no-build-isolation build/sdist/*.tar.gz
	# The dependencies of the development environment, but not its copy of the project.
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$(build/sdist/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/deps.pth"
	cp -r tests configs pyproject.toml README.md build/sdist/
	cd build/sdist && OMP_NUM_THREADS=1 venv/bin/python $(PYTEST) --package

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist out .cache .mypy_cache .pytest_cache .ruff_cache
