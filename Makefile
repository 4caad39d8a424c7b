# make demo      the main job on data and weights that the project carries
# make test      every test (what needs a GPU or the real data says so when it is skipped)
# make test-gpu  what needs a GPU, and one table of its results (docs/tensorrt-gpu.md)
# make lint      ruff and mypy
# make matrix    export every family of mmseg and write docs/support-matrix.md (an hour or two on 2 cores)
# Everything sets itself up in .venv first, test-gpu in .venv-gpu.

PYTHON ?= python3
VENV := .venv
FULL := .venv-full
GPU := .venv-gpu
BIN := $(VENV)/bin
PLUGINS := mmseg onnx analysis converters torchscript torchserve triton serve tensorrt
GPU_PLUGINS := mmseg onnx torchscript tensorrt
# An interpreter that has everything, in place of the environment that test-gpu sets up.
GPU_PYTHON ?=
GPU_REPORT ?= build/gpu.md
SOURCES := pyproject.toml constraints.txt scripts/setup.sh $(PLUGINS:%=plugins/%/pyproject.toml)

.PHONY: setup demo test test-full test-gpu lint matrix clean

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

# CUDA's torch, TensorRT and TensorRT-RTX, onnxruntime-gpu: some gigabytes.
$(GPU)/.done: $(SOURCES)
	PYTHON=$(PYTHON) sh scripts/setup.sh $(GPU) gpu $(GPU_PLUGINS)
	touch $@

test-gpu: $(if $(GPU_PYTHON),,$(GPU)/.done)
	$(or $(GPU_PYTHON),$(GPU)/bin/python) -m pytest -m gpu tests/gpu $(GPU_PLUGINS:%=plugins/%/tests) \
		--gpu-report $(GPU_REPORT)

clean:
	rm -rf $(VENV) $(FULL) $(GPU) demo/out demo/data
