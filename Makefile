# make demo      the main job on data and weights that the project carries
# make test      something of every part, in minutes (tests that lack a GPU or the real data are skipped with the reason)
# make test-all  every test but those that are marked nightly
# make nightly   every test, the tests with the compiled mmcv-full, and the matrices: hours
# make test-gpu  the tests that need a GPU, and one table of their results (docs/tensorrt-gpu.md)
# make lint      ruff, mypy, which module may import which, and whether the manifests fit
# make matrix    export every family of mmseg and write docs/support-matrix.md (an hour or two on 2 cores)
# Everything sets itself up first: the demo in .venv-demo, which is small, test-gpu in .venv-gpu, all else in .venv.

PYTHON ?= python3
VENV := .venv
DEMO := .venv-demo
FULL := .venv-full
GPU := .venv-gpu
BIN := $(VENV)/bin
PLUGINS := torch mmseg onnx analysis converters torchscript torchserve triton serve tensorrt
DEMO_PLUGINS := torch mmseg onnx serve
GPU_PLUGINS := torch mmseg onnx torchscript tensorrt
# Two processes with one thread each. Tests of one file stay in one process, which shares what they set up.
IN_PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
# Ctrl-C and SIGTERM end the command and all that it has started, with one line.
STOPPABLE := @exec env MAKE_PID=$$PPID $(PYTHON) scripts/stoppable.py
SETUP := $(STOPPABLE) env PYTHON=$(PYTHON) sh scripts/setup.sh
# An interpreter that has everything, in place of the environment that test-gpu sets up.
GPU_PYTHON ?=
GPU_REPORT ?= build/gpu.md
SOURCES := pyproject.toml constraints.txt scripts/setup.sh $(PLUGINS:%=plugins/%/pyproject.toml)

.PHONY: setup demo test test-all test-slow test-nightly nightly test-full test-gpu lint matrix clean

setup: $(VENV)/.done

$(VENV)/.done: $(SOURCES)
	$(SETUP) $(VENV) lite $(PLUGINS)
	@touch $@

$(DEMO)/.done: $(SOURCES)
	$(SETUP) $(DEMO) demo $(DEMO_PLUGINS)
	@touch $@

demo: $(DEMO)/.done
	$(STOPPABLE) $(DEMO)/bin/python demo

test: setup
	$(IN_PARALLEL) --dist loadfile -m "not slow and not nightly"

test-all: test test-slow

# The tests that `make test` leaves out; CI adds a time limit.
test-slow: setup
	$(IN_PARALLEL) --maxschedchunk 1 -m "slow and not nightly" -p scripts.time_limit $(TIME_LIMIT)

# Long series of one kind: signals at many points, hostile requests, generated commands.
test-nightly: setup
	$(IN_PARALLEL) --dist loadgroup -m nightly

nightly: test-all test-nightly test-full matrix

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/segplug plugins manifest --check

matrix: setup
	$(BIN)/python -m matrix

# The compiled mmcv-full in an environment of its own: about 20 minutes to build on 2 cores.
$(FULL)/.done: $(SOURCES)
	$(SETUP) $(FULL) full $(PLUGINS)
	@touch $@

test-full: $(FULL)/.done
	$(FULL)/bin/python -c "import mmcv._ext"
	$(FULL)/bin/python -m pytest plugins/mmseg plugins/onnx

# CUDA's torch, TensorRT and TensorRT-RTX, onnxruntime-gpu: some gigabytes.
$(GPU)/.done: $(SOURCES)
	$(SETUP) $(GPU) gpu $(GPU_PLUGINS)
	@touch $@

test-gpu: $(if $(GPU_PYTHON),,$(GPU)/.done)
	$(or $(GPU_PYTHON),$(GPU)/bin/python) -m pytest -m gpu tests/gpu $(GPU_PLUGINS:%=plugins/%/tests) \
		--gpu-report $(GPU_REPORT)

clean:
	rm -rf $(VENV) $(DEMO) $(FULL) $(GPU) demo/out demo/data
