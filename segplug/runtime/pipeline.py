"""Run an engine on a data set. Reading, running and consuming overlap, and memory stays bounded.

Three kinds of threads work on different images at a time: a few readers decode and preprocess, the caller's
own thread calls the engine, and one consumer computes labels and passes them to the sinks, in the data set's
order. Between them are short queues.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, get_args

from segplug.errors import DatasetError, SegplugError, UsageError
from segplug.progress import Progress, QuietReporter, Recorder, Reporter
from segplug.runtime.consumer import Consumer, EngineOutput
from segplug.runtime.image_reader import Failed, ImageReader, Item, groups, usual_readers
from segplug.runtime.journal import Journal, fingerprint_of
from segplug.runtime.libraries import opencv
from segplug.runtime.postprocess import refuse_many_classes, require_scores
from segplug.runtime.runner import Runner
from segplug.runtime.segment import ModelRunner
from segplug.runtime.sinks import ScoreSink
from segplug.scores import Nonfinite, RunReport, Skipped, Stretched
from segplug.session import OnError
from segplug.sink import RunContext, Sink
from segplug.text import counted

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.engine import Engine
    from segplug.preprocessing import Decoding
    from segplug.runtime.sizes import Size

__all__ = ["run"]

_WAITING = 2
"""Outputs that may wait to be consumed, at least. A longer queue would only need memory, and not make the run
faster. Averaged views wait one at a time: they are as large as the image, for every class."""

_NAMED = 5
"""How many images or sizes a warning lists; the report has all."""

_SWITCH_INTERVAL = 0.0005
"""Python's thread switch interval during a run. With the default of 5 ms, the thread of a fast engine would
wait for other threads most of the time. Seconds."""

_READERS_OF_VIEWS = 2
"""The most threads that read images of several views, unless the caller says otherwise: the engine then takes
much longer than they do, and each image that waits has an input for every view."""


def run(
    engine: Engine,
    dataset: Dataset,
    sinks: Sequence[Sink],
    *,
    batch_size: int = 1,
    readers: int | None = None,
    on_error: OnError = "stop",
    resume: bool = False,
    run_key: str = "",
    tta: bool | None = None,
    unknown_below: float | None = None,
    allow_nonfinite: bool = False,
    skip_hint: bool = False,
    reporter: Reporter | None = None,
) -> RunReport:
    """Run ``engine`` on every image of ``dataset`` and pass the results to ``sinks``.

    Args:
        engine: The caller closes it. ``engine.run`` is called in this thread.
        dataset: Read from several threads.
        sinks: Get the results in the data set's order.
        batch_size: Up to this many consecutive images of one network size are run together. An engine
            with a fixed batch size gets batches of that size.
        readers: Threads that read; ``None``: as many as there are processors, at most 8; at most 2 with
            test-time augmentation.
        on_error: What to do about an image that is damaged, or of a size that the engine does not take:
            ``stop`` the run, or ``skip`` the image and list it in the report.
        resume: Continue an interrupted run with the same ``run_key``, data set and sinks.
        run_key: Identifies the artifact and the settings that change results; empty: there is no journal,
            and the run cannot be resumed.
        tta: Run the model's test-time augmentation; ``None``: if it is the model's default.
        unknown_below: Labels that are less probable than this become the data set's ignored label; 0 to 1.
        allow_nonfinite: Go on if the scores of an image are NaN or infinite: such pixels get the data set's
            ignored label, and the report lists the images.
        skip_hint: Name ``--on-error skip`` in the error of a damaged image: the caller has that option.
        reporter: Gets warnings and progress.

    Raises:
        DatasetError: an image or mask is damaged (``stop``), or all images are (``skip``), or two images
            have the same name.
        ShapeError: the engine does not take the size of an image (``stop``), or of the sliding window.
        ArtifactError: a result could not be written.
        NonfiniteError: scores of an image are NaN or infinite, and that is not allowed.
        UsageError: engine, data set and sinks do not fit together.
    """
    if on_error not in get_args(OnError):
        raise UsageError(f"on_error must be one of {', '.join(get_args(OnError))}, not '{on_error}'")
    if batch_size < 1:
        raise UsageError(f"the batch size must be at least 1, not {batch_size}")
    if unknown_below is not None and not 0 <= unknown_below <= 1:
        raise UsageError(f"unknown_below is a probability from 0 to 1, not {unknown_below}")
    if resume and not run_key:
        raise UsageError("a run without a key cannot be resumed")
    names = _names(dataset)
    recorder = Recorder(reporter or QuietReporter())
    runner = Runner(engine)
    refuse_many_classes(runner.spec.meta)
    if any(sink.needs_confidence for sink in sinks):
        require_scores(runner.spec, "the confidence")
    if unknown_below is not None:
        require_scores(runner.spec, "unknown_below")
    model = ModelRunner(runner, batch_size, recorder, tta=tta)
    stream = _EngineOutputs(dataset, sinks, model, runner.spec.meta.decoding, on_error, skip_hint, readers)
    key = run_key and " ".join([run_key, f"views {model.views}", f"unknown below {unknown_below}"])
    start = time.perf_counter()
    with _settings(), _journal(dataset, names, sinks, key, resume, recorder) as journal:
        spool = journal.spool if journal else None
        context = RunContext(runner.spec.meta, dataset, recorder, spool, stream.skipped)
        if unknown_below is not None or allow_nonfinite:
            _ = context.ignored  # raises if no label is left
        with _opened(sinks, context):
            done = _restored(sinks, journal, stream.reader, recorder, allow_nonfinite)
            with recorder.progress("running images", len(dataset)) as progress:
                progress.advance(len(done))
                todo = [index for index in range(len(dataset)) if index not in done]
                consumer = Consumer(
                    sinks,
                    context,
                    journal,
                    progress,
                    waiting=1 if model.views else max(model.group_size, _WAITING),
                    unknown_below=unknown_below,
                    allow_nonfinite=allow_nonfinite,
                )
                with _consuming(consumer), closing(stream.outputs(todo, progress)) as outputs:
                    for output in outputs:
                        consumer.put(output)
            _refuse_all_skipped(stream.skipped, dataset)
            nonfinite = (
                *(Nonfinite(names[index], count) for index, count in done.items() if count),
                *consumer.nonfinite,
            )
            _warn(recorder, nonfinite, stream.stretched, len(todo))  # before the sinks write reports
    return RunReport(
        images=len(dataset) - len(stream.skipped),
        resumed=len(done),
        skipped=tuple(stream.skipped),
        scores=next((sink.scores for sink in sinks if isinstance(sink, ScoreSink)), None),
        seconds=time.perf_counter() - start,
        engine_seconds=runner.seconds,
        unknown_share=consumer.unknown_share,
        views=model.views,
        views_left_out=0 if model.views else len(runner.spec.meta.default_tta),
        nonfinite=nonfinite,
        stretched=stream.stretched,
        approximations=runner.spec.meta.approximations,
        warnings=tuple(recorder.warnings),
    )


class _EngineOutputs:
    """Reads images and runs the engine on them; a damaged image stops the run or is skipped."""

    def __init__(
        self,
        dataset: Dataset,
        sinks: Sequence[Sink],
        model: ModelRunner,
        decoding: Decoding,
        on_error: OnError,
        skip_hint: bool,
        readers: int | None,
    ) -> None:
        self._model = model
        self.reader = ImageReader(
            dataset,
            decoding,
            model.preprocess,
            keep_image=any(sink.needs_image for sink in sinks),
            read_mask=any(sink.needs_mask for sink in sinks) and dataset.info.has_masks,
            readers=readers or (min(usual_readers(), _READERS_OF_VIEWS) if model.views else None),
        )
        self._on_error = on_error
        self._skip_hint = skip_hint and len(dataset) > 1
        self.skipped: list[Skipped] = []
        self._stretched: Counter[tuple[Size, Size]] = Counter()

    @property
    def stretched(self) -> tuple[Stretched, ...]:
        """The images that were stretched to the engine's size, the most frequent size first."""
        counts = self._stretched.most_common()
        return tuple(Stretched(size, to, images) for (size, to), images in counts)

    def outputs(self, indices: Sequence[int], progress: Progress) -> Generator[EngineOutput, None, None]:
        """The engine's output for each image, in order."""
        with closing(self.reader.items(indices, ahead=self._model.group_size)) as items:
            for group in groups(self._readable(items, progress), self._model.group_size):
                outputs = self._model.run([item.prepared for item in group])
                for item, output in zip(group, outputs, strict=True):
                    if (size := item.prepared[0].stretched_from) is not None:
                        self._stretched[size, output.geometry.network] += 1
                    yield EngineOutput.of(item, output)

    def _readable(self, items: Iterator[Item | Failed], progress: Progress) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Item):
                yield item
                continue
            if self._on_error == "stop":
                if self._skip_hint:
                    item.error.add_hint("--on-error skip leaves such images out, and lists them")
                raise item.error
            self.skipped.append(Skipped(item.name, str(item.error)))
            progress.advance()


@contextmanager
def _settings() -> Iterator[None]:
    """Change settings of the process during a run.

    The run has threads of its own: OpenCV's would compete with them and with the engine. OpenCV's log
    messages about damaged files are off, as segplug raises one clear error instead.
    """
    cv2 = opencv()
    log = cv2.utils.logging
    threads, interval, level = cv2.getNumThreads(), sys.getswitchinterval(), log.getLogLevel()
    cv2.setNumThreads(1)
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        log.setLogLevel(level)
        cv2.setNumThreads(threads)


@contextmanager
def _journal(
    dataset: Dataset,
    names: Sequence[str],
    sinks: Iterable[Sink],
    run_key: str,
    resume: bool,
    reporter: Reporter,
) -> Iterator[Journal | None]:
    """The run's journal: removed if the run succeeds, kept otherwise."""
    if not run_key:
        yield None
        return
    keys = [sink.key for sink in sinks]
    fingerprint = fingerprint_of([run_key, dataset.info.fingerprint, *keys, "images", *names])
    journal = Journal(fingerprint, images=len(names), resume=resume, reporter=reporter)
    if resume and journal.spool is not None and not journal.done:
        reporter.note("there is no interrupted run to continue: starting with the first image")
    finished = False
    try:
        yield journal
        finished = True
    except SegplugError as error:
        error.add_hint(journal.how_to_go_on())
        raise
    except KeyboardInterrupt as interrupt:
        interrupt.args = tuple(filter(None, (journal.how_to_go_on(),)))  # the command line shows it
        raise
    finally:
        journal.close(finished=finished)


@contextmanager
def _opened(sinks: Sequence[Sink], context: RunContext) -> Iterator[None]:
    """Open the sinks in order, and close each opened one exactly once."""
    opened: list[Sink] = []
    try:
        for sink in sinks:
            sink.open(context)
            opened.append(sink)
        yield
        while opened:
            opened.pop(0).close(finished=True)
    finally:
        for sink in reversed(opened):  # a folder that one made may hold those that later ones made
            sink.close(finished=False)


@contextmanager
def _consuming(consumer: Consumer) -> Iterator[None]:
    """At the end, and after an error that a user can act on, consume all outputs that were computed."""
    try:
        try:
            yield
        except SegplugError:
            consumer.finish()
            raise
        consumer.finish()
    finally:
        consumer.abandon()  # also when finish() was interrupted


def _restored(
    sinks: Sequence[Sink],
    journal: Journal | None,
    reader: ImageReader,
    reporter: Reporter,
    allow_nonfinite: bool,
) -> dict[int, int]:
    """Give the sinks the notes of an interrupted run; returns the images that are done, and how many of their
    pixels have scores that are not finite.

    An image whose files have changed since, or whose results are gone, is not done; nor is one whose scores
    are not finite, if that is not allowed any more.
    """
    done: dict[int, int] = {}
    entries = sorted(journal.done.items()) if journal else []
    for index, entry in entries:
        if entry.nonfinite and not allow_nonfinite:
            continue
        notes = [(sink, entry.notes.get(sink.key, {})) for sink in sinks]
        if reader.file_states(index) != entry.files or not all(sink.has(index, note) for sink, note in notes):
            continue
        for sink, note in notes:
            sink.restore(index, note)
        done[index] = entry.nonfinite
    if len(done) < len(entries):
        reporter.note(
            f"computed again: {counted(len(entries) - len(done), 'image')} of the interrupted run, since "
            "files changed, results are gone, or scores are not finite"
        )
    return done


def _warn(
    reporter: Reporter,
    nonfinite: Sequence[Nonfinite],
    stretched: Sequence[Stretched],
    images: int,
) -> None:
    """Warn of what makes scores differ from the model's own."""
    if nonfinite:
        listed = ", ".join(f"{item.name} ({counted(item.pixels, 'pixel')})" for item in nonfinite[:_NAMED])
        more = f" and {len(nonfinite) - _NAMED} more" if len(nonfinite) > _NAMED else ""
        reporter.warn(
            f"the scores of {counted(len(nonfinite), 'image')} are NaN or infinite in "
            f"{sum(item.pixels for item in nonfinite)} pixels, which get the ignored label: {listed}{more}"
        )
    if stretched:
        sizes = [f"{item.size[0]}x{item.size[1]} ({item.images})" for item in stretched]
        more = f" and {len(sizes) - _NAMED} more sizes" if len(sizes) > _NAMED else ""
        height, width = stretched[0].to
        reporter.warn(
            f"{sum(item.images for item in stretched)} of {counted(images, 'image')} stretched "
            f"to {height}x{width} "
            f"(height x width), in place of {', '.join(sizes[:_NAMED])}{more}"
        )


def _names(dataset: Dataset) -> list[str]:
    """The names of the images, which identify the results; raises if two are equal."""
    names = [dataset.name(index) for index in range(len(dataset))]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DatasetError(
            f"the data set {dataset.info.name} lists {counted(len(twice), 'image')} more than once; "
            f"the first is {twice[0]}"
        )
    return names


def _refuse_all_skipped(skipped: Sequence[Skipped], dataset: Dataset) -> None:
    if skipped and len(skipped) == len(dataset):
        raise DatasetError(
            f"no image is left: {counted(len(dataset), 'image')} skipped; the first: {skipped[0].reason}"
        )
