# make demo    the main job on data and weights that the project carries
# make test    every test (what needs a GPU or the real data says so when it is skipped)
# make lint    ruff and mypy
# make matrix  export every family of mmseg and write docs/support-matrix.md (an hour or two on 2 cores)
# Everything sets itself up in .venv first.

PYTHON ?= python3
VENV := .venv
FULL := .venv-full
BIN := $(VENV)/bin
PLUGINS := mmseg onnx analysis converters torchscript torchserve triton serve tensorrt
SOURCES := pyproject.toml constraints.txt scripts/setup.sh $(PLUGINS:%=plugins/%/pyproject.toml)

.PHONY: setup demo test test-full lint matrix clean

setup: $(VENV)/.done

$(VENV)/.done: $(SOURCES)
	PYTHON=$(PYTHON) sh scripts/setup.sh $(VENV) lite $(PLUGINS)
	touch $@

demo: setup
	$(BIN)/python demo/run.py

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

matrix: setup
	$(BIN)/python -m matrix

# The compiled mmcv-full in an environment of its own: about 20 minutes to build on 2 cores.
$(FULL)/.done: $(SOURCES)
	PYTHON=$(PYTHON) sh scripts/setup.sh $(FULL) full $(PLUGINS)
	touch $@

test-full: $(FULL)/.done
	$(FULL)/bin/python -c "import mmcv._ext"
	$(FULL)/bin/python -m pytest plugins/mmseg plugins/onnx

clean:
	rm -rf $(VENV) $(FULL) demo/out demo/data
