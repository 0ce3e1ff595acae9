# The two commands of the README: `make demo` and `make test`. Each sets up what it needs in .venv.
# A torch >= 2.6 that $(PYTHON) already has (a GPU build, say) is used as it is; else 2.13.0 comes.
PYTHON ?= python3
BIN := .venv/bin
export VISUS_DATA ?= $(wildcard ../shared/data)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
HAS_TORCH := $(shell $(PYTHON) -c "import torch; v = torch.__version__.split('.'); print(int((int(v[0]), int(v[1])) >= (2, 6)))" 2>/dev/null)

.PHONY: demo test check docs bench clean

demo: .venv/.installed
	$(BIN)/visus train digits

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder tests

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/ground/test_house.py

docs: .venv/.dev
	$(BIN)/python docs/build.py
	$(BIN)/python docs/findings.py
	$(BIN)/python -m visus.training.recipe_docs

bench: .venv/.dev
	for file in benchmarks/norms.py benchmarks/pooling.py benchmarks/optimize.py benchmarks/data.py benchmarks/step_overhead.py; do $(BIN)/python $$file || exit 1; done

.venv/bin/python:
	$(PYTHON) -m venv $(if $(filter 1,$(HAS_TORCH)),--system-site-packages) .venv

.venv/.installed: pyproject.toml setup.py constraints.txt | .venv/bin/python
	$(BIN)/pip install -q $(if $(filter 1,$(HAS_TORCH)),,-c constraints.txt) -e .
	touch $@

.venv/.dev: .venv/.installed
	$(BIN)/pip install -q $(if $(filter 1,$(HAS_TORCH)),,-c constraints.txt) -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
