"""Models with test-time augmentation: it needs scores, which a file of labels does not give."""

from __future__ import annotations

import pytest

from segplug.preprocessing import Flip
from segplug.progress import QuietReporter


class Warnings(QuietReporter):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def warn(self, message: str) -> None:
        self.texts.append(message)


@pytest.mark.parametrize(
    ("augmented", "kind", "warned"),
    [(True, "auto", False), (True, "labels", True), (True, "logits", False), (False, "labels", False)],
)
def test_labels_of_an_augmented_model_are_warned_about(export, model_of, augmented, kind, warned):
    model = model_of()
    steps = model.meta.preprocessing
    model = model_of(tta=(steps, (*steps, Flip())) if augmented else ())
    reporter = Warnings()
    export(model, output_kind=kind, reporter=reporter)
    told = [text for text in reporter.texts if "test-time augmentation needs scores" in text]
    assert len(told) == warned
    assert all("--output-kind logits" in text for text in told)
