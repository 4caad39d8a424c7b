"""How much memory and time the conversion of large weights takes.

    python benchmarks/convert.py [--gb 1.2]

Writes random weights of a ViT of about the given size, with blocks as in ViT-L, and converts each file in a
process of its own. In timm's layout every tensor is only renamed, in that of transformers q, k and v are
merged, and in that of JAX nearly every tensor is transposed. Prints the peak memory of the process beyond
that of a process that only imports torch, as a multiple of the file's size. Parts of a mapped file that the
process has read count as its memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import PYTHON, run, show

from segplug.checkpoint import write_weights

WIDTH = 1024
BLOCK_BYTES = 12 * WIDTH * WIDTH * 4
"""Four square matrices of the attention and two of the MLP, each four times as large, float32."""

Shapes = dict[str, tuple[int, ...]]


def main() -> None:
    """Write the files, convert them, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=1.2, help="size of the weights, 10^9 bytes")
    blocks = max(1, round(parser.parse_args().gb * 1e9 / BLOCK_BYTES))
    torch_alone = run((PYTHON, "-c", "import torch")).peak_mb
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case, target, layout, suffix in CASES:
            source, result = Path(folder, f"source{suffix}"), Path(folder, "result.pth")
            in_a_process(write_random, source, layout(blocks))
            usage = run((*CONVERT, target, str(source), str(result), "--force"))
            size = source.stat().st_size / 1e6
            peak = usage.peak_mb - torch_alone
            rows.append((case, suffix, size / 1e3, usage.wall, peak, peak / size))
            source.unlink()
    print(f"a process that only imports torch: {torch_alone:.0f} MB")
    show(
        f"ViT of {blocks} blocks", ("case", "file", "GB", "s", "peak MB beyond torch", "times the file"), rows
    )


def in_a_process(work: Callable[..., None], *arguments: object) -> None:
    """Run a function in another process: the peak of a process includes that of the one that starts it."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")


def write_random(path: Path, shapes: Shapes) -> None:
    """Write seeded random values of these shapes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    else:
        write_weights(path, state)


CONVERT = (PYTHON, "-m", "segplug", "run", "convert_weights")


def timm(blocks: int) -> Shapes:
    """Names and shapes as in timm's files."""
    tensors: Shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 197, WIDTH),
        **layer("patch_embed.proj", WIDTH, 3, 16, 16),
        **layer("norm", WIDTH),
    }
    for number in range(blocks):
        block = f"blocks.{number}"
        tensors |= {
            **layer(f"{block}.norm1", WIDTH),
            **layer(f"{block}.attn.qkv", 3 * WIDTH, WIDTH),
            **layer(f"{block}.attn.proj", WIDTH, WIDTH),
            **layer(f"{block}.norm2", WIDTH),
            **layer(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH),
            **layer(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH),
        }
    return tensors


def transformers(blocks: int) -> Shapes:
    """Names and shapes as in the files of transformers."""
    tensors: Shapes = {
        "vit.embeddings.cls_token": (1, 1, WIDTH),
        "vit.embeddings.position_embeddings": (1, 197, WIDTH),
        **layer("vit.embeddings.patch_embeddings.projection", WIDTH, 3, 16, 16),
        **layer("vit.layernorm", WIDTH),
    }
    for number in range(blocks):
        block = f"vit.encoder.layer.{number}"
        for part in ("query", "key", "value"):
            tensors |= layer(f"{block}.attention.attention.{part}", WIDTH, WIDTH)
        tensors |= {
            **layer(f"{block}.attention.output.dense", WIDTH, WIDTH),
            **layer(f"{block}.intermediate.dense", 4 * WIDTH, WIDTH),
            **layer(f"{block}.output.dense", WIDTH, 4 * WIDTH),
            **layer(f"{block}.layernorm_before", WIDTH),
            **layer(f"{block}.layernorm_after", WIDTH),
        }
    return tensors


def jax(blocks: int) -> Shapes:
    """Names and shapes as in Google's files."""
    tensors: Shapes = {
        "cls": (1, 1, WIDTH),
        "Transformer/posembed_input/pos_embedding": (1, 197, WIDTH),
        **kernel("embedding", 16, 16, 3, WIDTH),
        **scale("Transformer/encoder_norm"),
    }
    for number in range(blocks):
        block = f"Transformer/encoderblock_{number}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            tensors[f"{attention}/{part}/kernel"] = (WIDTH, 16, WIDTH // 16)
            tensors[f"{attention}/{part}/bias"] = (16, WIDTH // 16)
        tensors |= {
            **kernel(f"{attention}/out", 16, WIDTH // 16, WIDTH),
            **kernel(f"{block}/MlpBlock_3/Dense_0", WIDTH, 4 * WIDTH),
            **kernel(f"{block}/MlpBlock_3/Dense_1", 4 * WIDTH, WIDTH),
            **scale(f"{block}/LayerNorm_0"),
            **scale(f"{block}/LayerNorm_2"),
        }
    return tensors


def layer(name: str, *shape: int) -> Shapes:
    """The weight of a layer and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def kernel(name: str, *shape: int) -> Shapes:
    """A layer of JAX, whose outputs are the last axis."""
    return {f"{name}/kernel": shape, f"{name}/bias": shape[-1:]}


def scale(name: str) -> Shapes:
    """A norm of JAX."""
    return {f"{name}/scale": (WIDTH,), f"{name}/bias": (WIDTH,)}


CASES: tuple[tuple[str, str, Callable[[int], Shapes], str], ...] = (
    ("timm: renamed", "vit", timm, ".pth"),
    ("timm: renamed", "vit", timm, ".safetensors"),
    ("transformers: q, k, v merged", "vit", transformers, ".pth"),
    ("transformers: q, k, v merged", "vit", transformers, ".safetensors"),
    ("JAX: transposed", "vit-jax", jax, ".npz"),
)


if __name__ == "__main__":
    main()
