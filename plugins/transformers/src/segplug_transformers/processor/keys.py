"""What a file says that its processor does not read: without effect, as in transformers, or refused."""

from __future__ import annotations

from segplug.text import counted, shortened
from segplug_transformers.processor.classes import PROCESSORS
from segplug_transformers.processor.settings import Settings

__all__ = ["SILENT", "STEPS", "check_keys", "reduces_labels"]

SILENT = frozenset(
    {
        # names, and what older versions wrote down
        "image_processor_type", "video_processor_type", "feature_extractor_type", "processor_class",
        "_max_size", "_valid_processor_keys", "use_fast", "auto_map",
        # how arrays come and go
        "data_format", "input_data_format", "return_tensors", "device", "disable_grouping",
        "image_seq_length", "model_input_names", "return_metadata", "video_metadata",
        # which frames of a video
        "do_sample_frames", "fps", "num_frames",
        # labels, for training
        "ignore_index", "num_labels", "num_text", "repo_path", "class_info_file", "metadata", "format",
        "do_convert_annotations", "keypoint_heatmap_downscale_factor", "keypoint_heatmap_sigma",
    }
)  # fmt: skip
"""Keys that never change the pixels of an image."""
_SHOWN = 60
"""Characters of a setting's name in a note."""
_MOST_NOTES = 10

STEPS = frozenset().union(*(known.reads | known.torchvision_reads for known in PROCESSORS.values()))


def check_keys(settings: Settings) -> tuple[str, ...]:
    """Say which settings have no effect.

    Returns:
        One sentence for each.

    Raises:
        ModelError: a switch is on for a step that no processor is known to have.
    """
    processor = settings.processor
    reads = processor.reads | (processor.torchvision_reads if settings.backend == "torchvision" else set())
    notes = []
    for key, value in settings.given.items():
        if key in reads or key in SILENT or value is None or value is False:
            continue
        if not key.startswith("do_"):
            if key not in STEPS:
                name = shortened(key, _SHOWN)
                notes.append(f"transformers ignores {name} of {processor.name}, and so it has no effect")
        elif key in STEPS:
            notes.append(f"{processor.name} ignores {key}, and so it has no effect")
        else:
            raise settings.refusal(
                f"{key} is {value!r}, a step that is not known",
                hint=f"if the network does without it: --cfg-options preprocessor.{key}=false",
            )
    if len(notes) > _MOST_NOTES:
        more = len(notes) - _MOST_NOTES
        notes[_MOST_NOTES:] = [f"{counted(more, 'more setting')} of {processor.name} without effect"]
    return tuple(notes)


def reduces_labels(settings: Settings) -> bool:
    """Whether label 0 of the label maps is no class, and all others count from 1.

    Raises:
        ModelError: the setting is neither true nor false.
    """
    if "ignore_index" in settings.processor.reads:  # EoMT: a label for what is 0
        return settings.whole("ignore_index") is not None
    if "do_reduce_labels" not in settings.processor.reads:
        return False
    given = settings.given.get("do_reduce_labels") is not None
    return settings.flag("do_reduce_labels" if given else "reduce_labels")
