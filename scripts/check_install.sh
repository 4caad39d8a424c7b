#!/usr/bin/env bash
# Install segplug as README.md says, and do a small job with it: for each kind of user in a clean virtual environment.
#
#   scripts/check_install.sh [--newest-pip] [KIND...]
#
# README's section "Install" names the kinds (a comment `# KIND: ...` above a line) and holds the lines, which are run
# as they are written there, in a copy of this checkout. Without KIND, all of them. The environments use the pip that
# Python brings, or with --newest-pip the newest one. Needs Python 3.11 or later, git and the package registries; about
# 2 GB in TMPDIR while it runs, which is removed at the end.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$(command -v python3.11 || command -v python3)}
minutes=15 # for one line of README, or one job

fail() {
    echo "check_install.sh: $1" >&2
    [ -z "${2:-}" ] || { echo "--- the last lines of its output:" && tail -n 40 "$2"; } >&2
    exit 1
}

# What README says.

install_section() { sed -n '/^## Install$/,/^## /p' "$root/README.md"; }

kinds_in_readme() { install_section | sed -n 's/^# \([a-z0-9]*\): .*/\1/p'; }

line_of() { install_section | sed -n "/^# $1: /{n;p;}"; }

# The small jobs. Each runs in the folder $work, which holds photo.png.

make_photo() {
    python -c "
import cv2, numpy
rows, columns = numpy.mgrid[:96, :128]
cv2.imwrite('photo.png', numpy.dstack([rows, columns, rows + columns]).astype('uint8'))"
}

job_onnx() {
    not_importable torch mmcv mmseg onnx
    # A file of another tool: the library that writes it stays outside of the environment.
    pip install --quiet --target onnx_writer -c "$copy/constraints.txt" onnx
    PYTHONPATH=onnx_writer python - <<'MODEL'
import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

weights = numpy.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype("float32")
graph = helper.make_graph(
    [helper.make_node("Conv", ["image", "weights"], ["scores"], pads=[1, 1, 1, 1])],
    "small",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4, "height", "width"])],
    [numpy_helper.from_array(weights, "weights")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnx.save(model, "model.onnx")
MODEL
    segplug info model.onnx
    segplug predict model.onnx photo.png --output-kind logits --mean 0 --std 255
    is_there predictions/photo_painted.png
}

job_torch() {
    not_importable mmcv mmseg
    cat >net.py <<'NET'
from torch import nn


def build() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
NET
    segplug export onnx python:net.py:build --output model.onnx --shape 64 96 --mean 0 --std 255 --verify
    segplug predict model.onnx photo.png
    is_there predictions/photo_painted.png
}

# A folder that transformers saved, and a data set that datasets did.
job_transformers() {
    not_importable mmcv mmseg torchvision
    python - <<'MODEL'
import datasets
import numpy
import torch
import transformers

torch.manual_seed(0)
config = transformers.SegformerConfig(
    depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8, num_labels=4
)
transformers.SegformerForSemanticSegmentation(config).save_pretrained("model")
transformers.SegformerImageProcessorPil(size={"height": 64, "width": 96}).save_pretrained("model")
pixels = numpy.random.default_rng(0).integers(0, 4, (2, 48, 64), dtype=numpy.uint8)
rows = {"image": list(numpy.stack([60 * pixels] * 3, axis=-1)), "label": list(pixels)}
features = datasets.Features(image=datasets.Image(), label=datasets.Image())
datasets.Dataset.from_dict(rows, features=features).save_to_disk("data")
MODEL
    segplug export onnx model --output model.onnx --verify
    segplug predict model.onnx photo.png
    is_there predictions/photo_painted.png
    segplug infer model.onnx --dataset data --eval mIoU
}

# A folder that segmentation-models-pytorch saved, and weights of a network of torchvision.
job_smp() {
    not_importable mmcv mmseg transformers
    # Where only a torchvision for CUDA is found, it does not fit PyTorch for CPUs: see scripts/with_proofs.
    if ! python -c "import torchvision" 2>torchvision_error; then
        echo "NOTE: the torchvision that pip found does not fit PyTorch ($(tail -n 1 torchvision_error)): its operators are stood in for"
        export PYTHONPATH=$copy/scripts/with_proofs
    fi
    python - <<'MODEL'
import segmentation_models_pytorch as smp
import torch
import torchvision

torch.manual_seed(0)
smp.Unet("resnet18", encoder_weights=None, classes=3, decoder_channels=(16, 8, 8, 8, 8)).save_pretrained("model")
network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None, num_classes=4)
torch.save(network.state_dict(), "weights.pth")
MODEL
    segplug export onnx model --output model.onnx --shape 64 96 --verify
    segplug predict model.onnx photo.png
    is_there predictions/photo_painted.png
    segplug export onnx torchvision:lraspp_mobilenet_v3_large --checkpoint weights.pth \
        --output torchvision.onnx --shape 64 96 --verify
    segplug predict torchvision.onnx photo.png --output torchvision
    is_there torchvision/photo_painted.png
}

job_mmseg0() {
    segplug export onnx "$copy/demo/config.py" --checkpoint "$copy/demo/weights.pth" \
        --output model.onnx --shape 128 256 --verify
    segplug predict "$copy/demo/config.py" photo.png --checkpoint "$copy/demo/weights.pth"
    is_there predictions/photo_painted.png
}

# A config from mmsegmentation's own wheel, and one of mmsegmentation 0.x with its weights.
job_mmseg1() {
    local configs
    configs=$(python -c "import importlib.util; print(importlib.util.find_spec('mmseg').submodule_search_locations[0])")/.mim/configs
    segplug export onnx "$configs/fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py" \
        --output model.onnx --shape 128 256 --verify
    segplug predict "$copy/demo/config.py" photo.png --checkpoint "$copy/demo/weights.pth"
    is_there predictions/photo_painted.png
}

not_importable() {
    python - "$@" <<'CHECK'
import importlib.util
import sys

found = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
sys.exit(f"these should not be installed: {', '.join(found)}" if found else 0)
CHECK
}

is_there() { [ -s "$1" ] || { echo "$1 was not written" && return 1; }; }

export -f make_photo not_importable is_there
for job in $(compgen -A function job_); do export -f "${job?}"; done

# One kind.

check() {
    local kind=$1 line started seconds
    line=$(line_of "$kind")
    echo "== $kind: $line"

    venv=$folder/venv work=$folder/work
    rm -rf "$venv" "$work" && mkdir "$work"
    "$python" -m venv "$venv"
    if [ -n "$newest_pip" ]; then "$venv/bin/python" -m pip install --quiet --upgrade pip; fi
    started=$SECONDS
    in_environment "$copy" "$line" >"$folder/log" 2>&1 ||
        fail "$kind: this line failed, or took longer than $minutes minutes: $line" "$folder/log"
    seconds=$((SECONDS - started))
    echo "   installed in $seconds s, $(du -sm "$venv" | cut -f1) MB, with $("$venv/bin/pip" --version | cut -d' ' -f1,2)"

    started=$SECONDS
    in_environment "$work" "segplug plugins list --check; make_photo; job_$kind" >"$folder/log" 2>&1 || fail "$kind: its job failed" "$folder/log"
    echo "   its job took $((SECONDS - started)) s"
    sed -n 's/^NOTE: /   /p' "$folder/log"

    list_files >"$folder/after"
    diff "$folder/before" "$folder/after" >"$folder/log" || fail "$kind: the checkout has other files now" "$folder/log"
}

# Run a line of bash in a folder and in the environment, in a shell of its own, where `set -e` works behind `||`, too.
# pip gets a cache of downloads, but none of built wheels: mmcv is built.
in_environment() (
    cd "$1"
    unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT PIP_NO_BUILD_ISOLATION PYTHONPATH
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH PIP_CACHE_DIR=$folder/cache PIP_DISABLE_PIP_VERSION_CHECK=1 copy
    timeout "$((minutes * 60))" bash -euo pipefail -c "$2"
)

list_files() { (cd "$copy" && find . | sort); }

newest_pip=""
if [ "${1:-}" = --newest-pip ]; then newest_pip=yes && shift; fi
mapfile -t kinds < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else kinds_in_readme; fi)
[ "${#kinds[@]}" -gt 0 ] || fail "README.md has no section '## Install' with lines like '# KIND: ...'"
for kind in "${kinds[@]}"; do
    [ -n "$(line_of "$kind")" ] || fail "README.md has no line for '$kind'; its kinds are: $(kinds_in_readme | xargs)"
    declare -F "job_$kind" >/dev/null || fail "there is no job_$kind for the kind '$kind' of README.md"
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
copy=$folder/segplug
mkdir "$copy" "$folder/cache"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T -) 2>/dev/null |
    tar -x -C "$copy"
list_files >"$folder/before"
downloads=$("$python" -m pip cache dir 2>/dev/null || true)
for part in http http-v2; do
    if [ -d "$downloads/$part" ]; then ln -s "$downloads/$part" "$folder/cache/$part"; fi
done

for kind in "${kinds[@]}"; do check "$kind"; done
echo "== installed as README.md says: ${kinds[*]}"
