"""transformers' layouts of Swin."""

from __future__ import annotations

from collections.abc import Mapping

from segplug_converters import Layout, Rule, drop, join, merge, move
from segplug_converters.families.swin_parts import MADE, NO_SHIFT, POSITIONS, QKV_BIASES, UNFOLDED, WORDS

__all__ = ["BACKBONE", "BACKBONE_5", "MASKFORMER", "TRANSFORMERS", "TRANSFORMERS_5"]

# transformers 5 has other names in memory than in the files that save_pretrained writes.
_SAVED = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "table": "attention.self.relative_position_bias_table",
    "index": "attention.self.relative_position_index",
    "proj": "attention.output.dense",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
}
_IN_MEMORY = {
    "q": "attention.q_proj",
    "k": "attention.k_proj",
    "v": "attention.v_proj",
    "table": "attention.relative_position_bias.relative_position_bias_table",
    "index": "attention.relative_position_bias.relative_position_index",
    "proj": "attention.o_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


def _transformers(names: Mapping[str, str], swin: str = "") -> tuple[Rule, ...]:
    """The rules of transformers' SwinModel, without the norms after it.

    Args:
        names: The names of the parts of a block.
        swin: The start of every name, if the layout also uses names outside of SwinModel.
    """
    block = f"{swin}encoder.layers.<s>.blocks.<i>."
    ours = "stages.<s>.blocks.<i>."
    down = f"{swin}encoder.layers.<d>.downsample."
    q, k, v = (block + names[part] for part in "qkv")
    return (
        move(f"{swin}embeddings.position_embeddings", "absolute_pos_embed", optional=POSITIONS),
        move(f"{swin}embeddings.patch_embeddings.projection.<p>", "patch_embed.projection.<p>"),
        move(f"{swin}embeddings.norm.<p>", "patch_embed.norm.<p>"),
        move(block + "layernorm_before.<p>", ours + "norm1.<p>"),
        move(block + names["table"], ours + "attn.w_msa.relative_position_bias_table"),
        join((q + ".weight", k + ".weight", v + ".weight"), ours + "attn.w_msa.qkv.weight", merge(1, 1, 1)),
        join(
            (q + ".bias", k + ".bias", v + ".bias"),
            ours + "attn.w_msa.qkv.bias",
            merge(1, 1, 1),
            optional=QKV_BIASES,
        ),
        move(block + names["proj"] + ".<p>", ours + "attn.w_msa.proj.<p>"),
        move(block + "layernorm_after.<p>", ours + "norm2.<p>"),
        move(block + names["fc1"] + ".<p>", ours + "ffn.layers.0.0.<p>"),
        move(block + names["fc2"] + ".<p>", ours + "ffn.layers.1.<p>"),
        move(down + "norm.<p>", "stages.<d>.downsample.norm.<p>", UNFOLDED),
        move(down + "reduction.weight", "stages.<d>.downsample.reduction.weight", UNFOLDED),
        *MADE,
        drop(block + names["index"], "a constant, computed again"),
        drop(f"{swin}embeddings.mask_token", "for hidden patches in pre-training"),
    )


def _classifier(name: str, description: str, names: Mapping[str, str]) -> Layout:
    """SwinModel, alone or under ``swin.`` in a network for another task."""
    return Layout(
        name=name,
        description=description,
        anchors=(
            (
                f"encoder.layers.<s>.blocks.<i>.{names['q']}.weight",
                "stages.<s>.blocks.<i>.attn.w_msa.qkv.weight",
            ),
        ),
        words=WORDS,
        rules=(*_transformers(names), move("layernorm.<p>", "norm3.<p>", optional_target=True)),
        notes=(NO_SHIFT,),
        forbidden_anywhere=("hidden_states_norms.<*>",),
    )


def _backbone(
    name: str, description: str, names: Mapping[str, str], *, swin: str, norm: str, unused: str
) -> Layout:
    """A backbone of other networks. The names of SwinModel begin with ``swin``. ``norm`` is the norm of each
    output stage ``<o>``. SwinModel's own norm is ``unused``.
    """
    return Layout(
        name=name,
        description=description,
        anchors=(
            (f"{norm}.weight", "norm<o>.weight"),
            (
                f"{swin}encoder.layers.<s>.blocks.<i>.{names['q']}.weight",
                "stages.<s>.blocks.<i>.attn.w_msa.qkv.weight",
            ),
        ),
        words=WORDS,
        rules=(
            *_transformers(names, swin),
            move(f"{norm}.<p>", "norm<o>.<p>", optional_target=True),
            drop("hidden_states_norms.stem.<p>", "the norm of the patches, which mmseg does not output"),
            drop(f"{unused}.<p>", "the classifier's norm, which the backbone does not use"),
        ),
    )


TRANSFORMERS = _classifier(
    "transformers",
    "transformers' SwinModel, alone or in a network for a task, by the names in its files",
    _SAVED,
)
TRANSFORMERS_5 = _classifier(
    "transformers-5",
    "transformers' SwinModel, alone or in a network for a task, by the names in memory since version 5",
    _IN_MEMORY,
)
_BY_NAME = "hidden_states_norms.stage<o+1>"
BACKBONE = _backbone(
    "transformers-backbone",
    "transformers' SwinBackbone, UperNet and Mask2Former, by the names in its files",
    _SAVED,
    swin="",
    norm=_BY_NAME,
    unused="swin.layernorm",
)
BACKBONE_5 = _backbone(
    "transformers-5-backbone",
    "transformers' SwinBackbone, by the names in memory since version 5",
    _IN_MEMORY,
    swin="swin.",
    norm=_BY_NAME,
    unused="swin.layernorm",
)
MASKFORMER = _backbone(
    "transformers-maskformer",
    "transformers' MaskFormer with Swin",
    _SAVED,
    swin="model.",
    norm="hidden_states_norms.<o>",
    unused="model.layernorm",
)
