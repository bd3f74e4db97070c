# Needs Python 3.11+ and make, nothing else. Another interpreter: make env PYTHON=python3.12
VENV ?= .venv
PYTHON ?= python3
PORT ?= 5000

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SAMPLE := results/.sample
STATISTICS := results/promotion_statistics
# two tests at once: most of a whole command's time is waiting; a file's tests share what they stand on
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# no command of ours reports usage to anyone
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help env demo test test-fast test-all fuzz coverage ui lint bench bench-quick bench-gpu statistics torture clean

help:
	@echo "make env    the environment in $(VENV) (about 6.9 GB, once; again only when its pins change)"
	@echo "make demo   draw a small data set, search on it, and promote the best (4 to 6 minutes on 2 CPU cores)"
	@echo "make ui     the trials of all searches in MLflow's pages, best first, at http://127.0.0.1:$(PORT)"
	@echo "make test   the tests, as CI runs them (25 to 30 minutes on 2 CPU cores)"
	@echo "make test-fast   an answer in 2 to 4 minutes: those marked neither slow nor long, fewer examples"
	@echo "make test-all    the tests and the long ones, with more examples; its summary is results/tests/README.md"
	@echo "make fuzz   files, options and spaces, damaged at random in other ways every time (10 minutes)"
	@echo "make coverage    the tests, and the lines that they reach, room by room; fails under 85% of any"
	@echo "make lint   ruff and mypy"
	@echo "make bench  all benchmarks (hours; on a machine that rests); goes on where it was cut off; ROWS=1,4 names some"
	@echo "make bench-quick   a look at them in three minutes"
	@echo "make bench-gpu     all that needs a GPU, in eight minutes; DATA=DIR names photographs to fine-tune on"
	@echo "make statistics    all that is claimed of errors, tried on known truth (within an hour); writes $(STATISTICS)/"
	@echo "make torture    searches and promotions under faults (hours); goes on where it was cut off; BUDGET=30m, ROWS=kill,signals"
	@echo "make clean  remove caches and the drawn data set; searches under results/ stay"

env: $(STAMP)

$(STAMP): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python must be 3.11 or newer, but PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	        "name another one: make env PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[lite,heif,postgres,gpu,dev]'
	@touch $@

demo: env
	$(BIN)/python -m fashion_core.sample_data $(SAMPLE)
	$(BIN)/python search/run.py --data $(SAMPLE) --space spaces/demo.yaml --name demo --replace
	$(BIN)/python search/promote.py demo --top 2 --seeds 2 --model demo || test $$? -eq 3  # the second time: no better

test: env
	$(BIN)/python -m pytest $(TWO)

test-fast: env
	FASHION_TESTS=fast $(BIN)/python -m pytest -q -m "not slow" $(TWO)

test-all: env
	FASHION_TESTS=all $(BIN)/python -m pytest $(TWO) --summary results/tests/README.md

fuzz: env
	FASHION_FUZZ=4 $(BIN)/python -m pytest tests/fuzz $(TWO)

coverage: env
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(TWO)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage json --quiet
	$(BIN)/python .ci/coverage_rooms.py

ui: env
	@$(BIN)/python -m search.ui --port $(PORT)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: env
	$(BIN)/python tests/benchmarks/bench.py $(if $(ROWS),--rows $(ROWS))

bench-quick: env
	$(BIN)/python tests/benchmarks/bench.py --quick $(if $(ROWS),--rows $(ROWS))

bench-gpu: env
	$(BIN)/python tests/benchmarks/gpu_all.py $(if $(DATA),--data $(DATA))

statistics: env
	$(BIN)/python tests/helpers/judging_simulation.py --out $(STATISTICS)
	$(BIN)/python tests/helpers/effects_simulation.py --out $(STATISTICS)
	$(BIN)/python tests/helpers/rounds_simulation.py --out $(STATISTICS)
	$(BIN)/python tests/helpers/statistics_check.py $(STATISTICS)

torture: env
	$(BIN)/python tests/torture/torture.py $(if $(BUDGET),--budget $(BUDGET)) $(if $(ROWS),--rows $(ROWS))

clean:
	rm -rf build dist *.egg-info .coverage .pytest_cache .ruff_cache .mypy_cache .hypothesis $(SAMPLE)
	find fashion_core search spaces tests -name __pycache__ -type d -prune -exec rm -rf {} +
