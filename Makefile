# Every target makes its own virtual environment in .venv; nothing else has to be installed but Python 3.11 or later.
VENV := .venv
PYTHON := $(VENV)/bin/python
SOURCES := plait tests tools benchmarks examples

.PHONY: help demo test lint bench clean

help:
	@echo "make demo   train a network on handwritten digits, and draw how it went (demo/digits.png)"
	@echo "make test   check style, types, layers, and run the tests"
	@echo "make lint   check style, types and layers only"
	@echo "make bench  measure, next to the peers that are installed"
	@echo "make clean  remove what the other targets made"

demo: $(VENV)/.demo
	$(PYTHON) -m plait demo --output demo

test: lint
	$(PYTHON) -m pytest -n 2 -q --ignore tests/test_laws.py
	# in other processes: with the kernels of all laws too, one would have more mappings than Linux allows
	$(PYTHON) -m pytest -n 2 -q tests/test_laws.py

lint: $(VENV)/.test
	$(PYTHON) -m ruff check $(SOURCES)
	$(PYTHON) -m ruff format --check $(SOURCES)
	$(PYTHON) -m mypy
	$(PYTHON) tools/layering.py

# PEERS=path/to/python takes the peers of an environment that is there already
PEERS ?= .venv-peers/bin/python

bench: $(VENV)/.test $(PEERS)
	for script in foundations surface; do $(PYTHON) benchmarks/$$script.py || exit 1; done
	PLAIT_BENCH_TORCH=$(PEERS) PLAIT_BENCH_JAX=$(PEERS) PLAIT_BENCH_TF=$(PEERS) $(PYTHON) benchmarks/suite.py

.venv-peers/bin/python: benchmarks/suite_peers.txt | $(VENV)/.test
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q -r benchmarks/suite_peers.txt || { rm -rf .venv-peers; exit 1; }
	@touch $@

$(VENV)/.demo: pyproject.toml tools/venv.sh
	@tools/venv.sh $(VENV) demo
	@touch $@

$(VENV)/.test: pyproject.toml tools/venv.sh
	@tools/venv.sh $(VENV) test
	@touch $@ $(VENV)/.demo

clean:
	rm -rf .venv* demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
