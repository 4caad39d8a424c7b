# make demo      the main job on data and weights that the project carries
# make test      something of every part, in minutes (tests that lack a GPU or the real data are skipped with the reason)
# make test-all  every test but those that are marked nightly
# make nightly   every test, the tests with the compiled mmcv-full, and the matrices: hours
# make test-mmseg1  the tests with mmsegmentation 1.2.2; with ONEDL=1, with its fork onedl-mmsegmentation
# make test-gpu  the tests that need a GPU, and one table of their results (docs/tensorrt-gpu.md)
# make lint      ruff, mypy, which module may import which, and whether the manifests fit
# make matrix    export every family of mmseg 0.30, transformers, smp and torchvision, and write docs/support-matrix.* (three hours on 2 cores)
# make matrix-mmseg1  the same for mmseg 1.2.2, and compare the logits of both
# Everything sets itself up first: the demo in .venv-demo, which is small, test-gpu in .venv-gpu, test-mmseg1 in
# .venv-mmseg1 or .venv-onedl (`make setup-mmseg1` does no more than that), all else in .venv.

PYTHON ?= python3
VENV := .venv
DEMO := .venv-demo
FULL := .venv-full
GPU := .venv-gpu
# One environment has one mmsegmentation: 1.2.2, or with ONEDL=1 the fork.
ONEDL ?=
MMSEG1_KIND := $(if $(filter 1,$(ONEDL)),onedl,mmseg1)
MMSEG1 := .venv-$(MMSEG1_KIND)
BIN := $(VENV)/bin
PLUGINS := torch mmseg transformers onnx analysis converters torchscript torchserve triton serve tensorrt
DEMO_PLUGINS := torch mmseg onnx serve
GPU_PLUGINS := torch mmseg onnx torchscript tensorrt
MMSEG1_PLUGINS := torch mmseg onnx analysis torchscript serve
# What is of 1.x alone comes first, for those who have a time limit; then the main job, with a config of 0.x.
MMSEG1_TESTS := plugins/mmseg/tests/v1 tests/main_job/test_main_job.py plugins/mmseg/tests/exportable \
	$(wildcard plugins/mmseg/tests/test_*.py)
# Two processes with one thread each. Tests of one file stay in one process, which shares what they set up.
IN_PARALLEL := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
ON_MMSEG1 = OMP_NUM_THREADS=1 $(MMSEG1)/bin/python -m pytest -n 2
# Ctrl-C and SIGTERM end the command and all that it has started, with one line.
STOPPABLE := @exec env MAKE_PID=$$PPID $(PYTHON) scripts/stoppable.py
SETUP := $(STOPPABLE) env PYTHON=$(PYTHON) sh scripts/setup.sh
# An interpreter that has everything, in place of the environment that test-gpu sets up.
GPU_PYTHON ?=
GPU_REPORT ?= build/gpu.md
# These need a torchvision that fits PyTorch to the build: setup.sh installs them without it.
APART := smp torchvision
SOURCES := pyproject.toml constraints.txt scripts/setup.sh $(PLUGINS:%=plugins/%/pyproject.toml) \
	$(APART:%=plugins/%/pyproject.toml)
MMSEG1_SOURCES := $(SOURCES) constraints-mmseg1.txt

.PHONY: setup demo test test-all test-slow test-nightly nightly test-full test-gpu lint matrix matrix-mmseg1 clean
.PHONY: setup-mmseg1 test-mmseg1 test-mmseg1-slow

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

test-all: test test-slow test-mmseg1 test-mmseg1-slow

# The tests that `make test` leaves out; CI adds a time limit.
test-slow: setup
	$(IN_PARALLEL) --maxschedchunk 1 -m "slow and not nightly" -p scripts.time_limit $(TIME_LIMIT)

# Long series of one kind: signals at many points, hostile requests, generated commands.
test-nightly: setup
	$(IN_PARALLEL) --dist loadgroup -m nightly

nightly: test-all test-nightly test-full matrix matrix-mmseg1

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/segplug plugins manifest --check

matrix: setup
	$(BIN)/python -m matrix
	$(BIN)/python -m matrix --source transformers
	$(BIN)/python -m matrix --source smp
	$(BIN)/python -m matrix --source torchvision

matrix-mmseg1: setup setup-mmseg1
	$(MMSEG1)/bin/python -m matrix --source mmseg1
	$(BIN)/python -m matrix.generations --old $(BIN)/python --new $(MMSEG1)/bin/python

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

# The largest packages are the files of .venv, if that is there.
$(MMSEG1)/.done: $(MMSEG1_SOURCES)
	$(SETUP) $(MMSEG1) $(MMSEG1_KIND) $(MMSEG1_PLUGINS)
	@touch $@

setup-mmseg1: $(MMSEG1)/.done

# CI adds a time limit. xdist would begin with the files that have the most tests.
test-mmseg1: setup-mmseg1
	$(ON_MMSEG1) --dist loadfile --no-loadscope-reorder -m "not slow and not nightly" \
		-p scripts.time_limit $(TIME_LIMIT) $(MMSEG1_TESTS)

test-mmseg1-slow: setup-mmseg1
	$(ON_MMSEG1) --maxschedchunk 1 -m "slow and not nightly" $(MMSEG1_TESTS)

clean:
	rm -rf $(VENV) $(DEMO) $(FULL) $(GPU) .venv-mmseg1 .venv-onedl demo/out demo/data
