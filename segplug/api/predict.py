"""Open a model in a backend, and predict single images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.api.makers import Makers
from segplug.api.making import check_numbers, check_smallest_input
from segplug.api.segmentation import Segmentation
from segplug.api.subjects import name_of, request_field
from segplug.engine import Engine
from segplug.errors import UsageError
from segplug.installed import Provider
from segplug.palette import label_colours, named_palette
from segplug.registry.formats import default_backend
from segplug.requests import InferRequest
from segplug.session import PathLike, Subject, Target
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta
    from segplug.palette import LabelColours, Palette
    from segplug.runtime.reading import ArrayOrder

__all__ = ["Predictor", "colours_of"]


class Predictor(Makers):
    """The part of :class:`segplug.Segplug` that opens models and predicts images."""

    def _backend(self, what: Subject, backend: Target | None) -> Provider:
        """The provider of a backend; ``None``: the one that ``what`` itself says."""
        if backend is not None:
            return self.registry.resolve("infer", backend)
        return default_backend(self.registry, what)[0]

    @contextmanager
    def open(
        self,
        what: Subject,
        *,
        backend: Target | None = None,
        device: str | None = None,
        threads: int | None = None,
        want_logits: bool = False,
        trust_artifact: bool = False,
        allow_nonfinite: bool = False,
        **options: Any,
    ) -> Iterator[Engine]:
        """Open an artifact (or wrap a model) with an ``infer`` target; closed with the context.

        Args:
            what: An artifact, its path, or a loaded model.
            backend: The ``infer`` target. ``None``: the file says it, by its name
                (:func:`segplug.registry.formats.default_backend`); PyTorch for a loaded model.
            device: ``cpu``, ``cuda``, ``cuda:1``, ...; default: the backend's own.
            threads: Threads of one engine run; default: the library's own.
            want_logits: Give logits, where the backend can, even if the artifact gives labels.
            trust_artifact: Open the artifact even if it may run code. Otherwise one that is a program is
                checked first, and refused with :class:`segplug.errors.UntrustedError`.
            allow_nonfinite: Open an artifact that gives labels even if weights in it are NaN, which is an
                error otherwise where the backend can read them.
            **options: The backend's own options.
        """
        check_numbers(threads=threads)
        provider = self._backend(what, backend)
        request: InferRequest[Any] = InferRequest(
            **request_field(provider, what),
            device=provider.device(device),
            threads=threads,
            want_logits=want_logits,
            trust_artifact=trust_artifact,
            allow_nonfinite=allow_nonfinite,
            options=provider.make_options(options),
            **self._context(provider.entry),
        )
        with self.reporter.progress(f"opening {name_of(what)}", None):
            engine: Engine = self._call_hook(provider, request)
        try:
            check_smallest_input(engine.spec)
            yield engine
        finally:
            engine.close()

    def predict(
        self,
        what: Subject | Engine,
        image: PathLike | Any,
        *,
        backend: Target | None = None,
        logits: bool = False,
        array_order: ArrayOrder = "rgb",
        palette: str | Palette | None = None,
        opacity: float = 0.5,
        bands: Sequence[int] | None = None,
        tta: bool | None = None,
        device: str | None = None,
        threads: int | None = None,
        trust_artifact: bool = False,
        allow_nonfinite: bool = False,
        **options: Any,
    ) -> Segmentation:
        """Predict the label of each pixel of one image, as :meth:`evaluate` does for a data set.

        ::

            result = Segplug().predict("model.onnx", "photo.jpg")
            result.labels, result.painted, result.legend
            result.save("predictions")

        Each call opens the model again. In a loop, open it once::

            with sp.open("model.onnx") as engine:
                results = [sp.predict(engine, image) for image in images]

        Args:
            what: An artifact, its path, a loaded model, or an engine that :meth:`open` opened.
            image: A path; an array ``(H, W, C)`` or ``(H, W)``, masked where pixels have no data; or a Pillow
                image. Arrays of colours are RGB, of 8 bits for a model of 8-bit images. A model of other
                images takes the channels and values that its files have.
            backend: As for :meth:`open`.
            logits: Keep the scores of every class. They need memory: 4 bytes for each class and pixel.
            array_order: The order of the colours of an array: ``bgr`` for what OpenCV reads.
            palette: The colours: a name or a file (:func:`segplug.palette.named_palette`), or one RGB colour
                for each class. ``None``: the model's own, else colours that are well told apart.
            opacity: Weight of the colours in the painted image, above 0 and at most 1.
            bands: The channels that the painted image shows; see :class:`segplug.runtime.view.Viewer`.
            tta: Run the model's test-time augmentation; ``None``: if it is the model's default.
            device: As for :meth:`open`.
            threads: As for :meth:`open`.
            trust_artifact: As for :meth:`open`.
            allow_nonfinite: Go on if scores are NaN or infinite, which is an error otherwise: such pixels get
                the label ``unknown`` of the result.
            **options: The backend's own options.
        """
        import numpy as np

        from segplug.runtime.segment import Segmenter
        from segplug.runtime.view import Viewer

        opening = dict(
            backend=backend, device=device, threads=threads, trust_artifact=trust_artifact, **options
        )
        opened = (
            _as_it_is(what, opening)
            if isinstance(what, Engine)
            else self.open(what, want_logits=logits, allow_nonfinite=allow_nonfinite, **opening)
        )
        with opened as engine:
            meta = engine.spec.meta
            colours = colours_of(meta, palette)
            view = Viewer(meta.decoding, bands, channels=meta.in_channels)
            segment = Segmenter(engine, reporter=self.reporter, tta=tta, allow_nonfinite=allow_nonfinite)
            name, pixels = _read(image, meta, array_order)
            (found,) = segment([pixels], logits=logits, names=[name])
        if isinstance(found, Exception):
            raise found
        return Segmentation(
            name=name,
            labels=found.labels,
            image=np.ascontiguousarray(view(pixels)[:, :, ::-1]),
            classes=meta.label_names,
            colours=colours,
            unknown=segment.ignored,
            logits=found.logits,
            scores="probabilities" if segment.views else meta.scores,
            backend=engine.spec.backend,
            opacity=opacity,
        )


def colours_of(meta: ModelMeta, palette: str | Palette | None) -> LabelColours:
    """The colours of a model's labels: those of a palette, else its own.

    Raises:
        UsageError: there is no such palette, it has too few colours, or what is given are no colours.
    """
    if isinstance(palette, str):
        palette = named_palette(palette, meta.num_classes)
    elif palette is not None:
        palette = _given_colours(palette)
        if len(palette) < meta.num_classes:
            raise UsageError(
                f"the palette has {counted(len(palette), 'colour')} for "
                f"{counted(meta.num_classes, 'class', 'classes')}"
            )
    return label_colours(
        [palette or (), meta.palette], meta.num_classes, meta.classes, multilabel=meta.multilabel
    )


def _given_colours(colours: Any) -> Palette:
    """The colours of an array or a sequence."""
    import numpy as np

    try:
        table = np.asarray(colours)
        are_colours = table.ndim == 2 and table.shape[1] == 3 and table.dtype.kind in "iu"
    except (TypeError, ValueError):  # rows of different lengths
        are_colours = False
    if not are_colours or ((table < 0) | (table > 255)).any():
        raise UsageError(
            "a palette is one RGB colour for each class: three whole numbers from 0 to 255",
            hint="or the name of a palette, or a file",
        )
    return tuple((red, green, blue) for red, green, blue in table.tolist())


def _as_it_is(engine: Engine, opening: dict[str, Any]) -> nullcontext[Engine]:
    """An engine that is open already, and stays so."""
    given = [name for name, value in opening.items() if value not in (None, False)]
    if given:
        raise UsageError(
            f"{given[0]} is for opening a model, and this engine is open", hint="give it to open"
        )
    return nullcontext(engine)


def _read(image: Any, meta: ModelMeta, order: ArrayOrder) -> tuple[str, npt.NDArray[Any]]:
    """The name of an image, and its pixels as the model's decoder gives them."""
    from segplug.runtime.reading import given_image, read_image

    if isinstance(image, (str, Path)):
        return os.path.basename(image), read_image(Path(image), meta.decoding)
    file = getattr(image, "filename", None)  # of a Pillow image that was read from one
    name = os.path.basename(file) if isinstance(file, str) and file else "array"
    return name, given_image(image, meta.decoding, order=order)
