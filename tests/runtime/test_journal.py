"""Journals that are torn, damaged, changed or none at all: a resumed run gives the scores of a whole run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime import journal as journals
from segplug.runtime.journal import Journal, state_folder
from segplug.runtime.pipeline import run
from segplug.runtime.raw import RawSink
from segplug.runtime.sinks import LabelMapSink, PaintSink, ScoreSink
from segplug.scores import RunReport
from segplug.testing.engines import ArrayDataset, FunctionEngine

META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)
IMAGES = 6


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def dataset() -> ArrayDataset:
    images = [np.random.default_rng(n).integers(0, 256, (8, 12, 3), dtype=np.uint8) for n in range(IMAGES)]
    masks = [image.argmax(axis=2).astype(np.uint8) for image in images]
    return ArrayDataset(images, masks, DatasetInfo("d", META.classes, fingerprint="d"))


def resumed(resume: bool = True, stop_at: int | None = None, sinks: tuple = ()) -> RunReport:
    def network(batch: np.ndarray) -> np.ndarray:
        if stop_at is not None and len(engine.shapes) > stop_at:
            raise KeyboardInterrupt
        return np.roll(batch, 3, axis=3)

    engine = FunctionEngine(EngineSpec(META, "logits", backend="test"), network)
    return run(engine, dataset(), [ScoreSink(), *sinks], run_key="k", resume=resume)


@pytest.fixture
def whole(state: None) -> str:
    """The scores of a run that was not interrupted."""
    return str(resumed(resume=False).scores)


@pytest.fixture
def journal(state: None, whole: str) -> Path:
    """The journal of a run that was interrupted after some images."""
    with pytest.raises(KeyboardInterrupt):
        resumed(resume=False, stop_at=5)
    (path,) = state_folder().glob("*/journal.jsonl")
    assert len(path.read_bytes().splitlines()) > 3
    return path


@pytest.fixture
def lines(journal: Path) -> list[bytes]:
    """What it holds."""
    return journal.read_bytes().splitlines(keepends=True)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def check(whole: str, at_most: int = IMAGES) -> RunReport:
    """A resumed run gives the scores of a whole one, and removes the journal."""
    report = resumed()
    assert str(report.scores) == whole
    assert report.images == IMAGES
    assert report.resumed <= at_most
    assert not list(state_folder().iterdir())
    return report


def test_every_length_that_a_journal_can_be_cut_to(journal: Path, whole: str) -> None:
    content = journal.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    near = {end + beside for end in ends for beside in (-1, 0, 1)}
    for length in sorted({*range(0, len(content), 9), *near} & {*range(len(content) + 1)}):
        write(journal, content[:length])
        report = check(whole)
        assert report.resumed == max(sum(end <= length for end in ends) - 1, 0)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_change_of_a_journal_changes_scores(
    journal: Path, lines: list[bytes], whole: str, data: st.DataObject
) -> None:
    lines = list(lines)
    damage = data.draw(st.sampled_from(["byte", "insert", "remove", "repeat", "swap", "garbage"]))
    if damage == "byte":
        content = bytearray(b"".join(lines))
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        lines = [bytes(content)]
    else:
        at = data.draw(st.integers(0, len(lines) - 1))
        if damage == "insert":
            lines.insert(at, data.draw(st.binary(max_size=300)) + b"\n")
        elif damage == "remove":
            del lines[at]
        elif damage == "repeat":
            lines.insert(at, lines[data.draw(st.integers(0, len(lines) - 1))])
        elif damage == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at:] = [data.draw(st.binary(max_size=2000))]
    write(journal, b"".join(lines))
    check(whole)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**30, -1, float("nan")]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["0", "1", "2", "99", "-1", "²", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
COUNTS = st.dictionaries(st.sampled_from(["0", "1", "2", "3", "-1", "²", "1" * 5000, "x"]), JSON, max_size=3)
ENTRIES = st.fixed_dictionaries(
    {
        "index": JSON | st.integers(-2, 8),
        "notes": JSON | st.dictionaries(st.sampled_from(["scores", "x"]), JSON | COUNTS, max_size=2),
        "files": JSON | st.just([]) | st.lists(st.none() | st.lists(st.integers(), max_size=2), max_size=2),
    },
    optional={"nonfinite": JSON, "more": JSON},
)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(entries=st.lists(JSON | ENTRIES, max_size=3))
def test_wrong_types_with_right_hashes_are_no_traceback(
    journal: Path, lines: list[bytes], entries: list
) -> None:
    """As a program would write them that knows how: what has the wrong type counts for nothing."""
    written = lines[:1]
    for entry in entries:
        content = entry if isinstance(entry, dict) else {"index": entry}
        with contextlib.suppress(ValueError):  # integers of more digits than JSON may have
            written.append(journals._line(content, journals._hash(written[-1])))
    write(journal, b"".join(written))
    report = resumed()
    assert report.images == IMAGES
    assert report.scores is not None
    assert 0 <= report.scores.metrics["mIoU"] <= 1


NESTED = b'{"hash":"' + b"0" * 32 + b'","index":' + b"[" * 100_000 + b"\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [],
        lambda lines: [b"\n"],
        lambda lines: [*lines[:2], b"\0" * 70_000],
        lambda lines: [*lines[:2], NESTED],
        lambda lines: [lines[0].replace(b"fingerprint", b"fingerprant"), *lines[1:]],
        lambda lines: [b'{"fingerprint":"' + b"0" * 64 + b'"}\n', b'{"index":0,"notes":{},"files":[]}\n'],
        lambda lines: lines[1:],
    ],
)
def test_damage_of_each_kind(journal: Path, whole: str, damage: Callable[[list[bytes]], list[bytes]]) -> None:
    write(journal, b"".join(damage(journal.read_bytes().splitlines(True))))
    check(whole, at_most=1)


def test_deep_nesting_with_a_right_hash(journal: Path, whole: str) -> None:
    first = journal.read_bytes().splitlines(True)[0]
    text = b'"index":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    line = b'{"hash":"' + journals._digest(journals._hash(first), text) + b'",' + text + b"\n"
    write(journal, first + line)
    check(whole, at_most=0)


def test_a_damaged_journal_is_named_once(journal: Path, whole: str) -> None:
    lines = journal.read_bytes().splitlines(True)
    write(journal, b"".join([*lines[:2], b"garbage\n", *lines[2:]]))
    reporter = QuietReporter()
    notes: list[str] = []
    reporter.note = notes.append  # type: ignore[method-assign]
    engine = FunctionEngine(
        EngineSpec(META, "logits", backend="test"), lambda batch: np.roll(batch, 3, axis=3)
    )
    report = run(engine, dataset(), [ScoreSink()], run_key="k", resume=True, reporter=reporter)
    assert report.resumed == 1
    assert [note for note in notes if "damaged" in note] == [
        "the journal of the interrupted run is damaged after 1 image: the others are computed again"
    ]


@contextlib.contextmanager
def replaced(path: Path, kind: str) -> Iterator[None]:
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(path.parents[3] / "precious")
    elif kind == "folder":
        path.mkdir()
    yield


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_a_journal_that_is_no_file_is_one_warning(
    journal: Path, whole: str, tmp_path: Path, kind: str, name: str
) -> None:
    (tmp_path / "precious").write_text("precious")
    with replaced(journal.with_name(name), kind):
        report = resumed()
    assert str(report.scores) == whole
    assert report.resumed == 0 or (name, kind) == ("lock", "folder")  # a folder can be locked, too
    assert len(report.warnings) == (report.resumed == 0)
    assert (tmp_path / "precious").read_text() == "precious"


def test_another_runs_journal_counts_for_nothing(journal: Path, whole: str) -> None:
    lines = journal.read_bytes().splitlines(True)
    contents = [json.loads(line) for line in lines]
    for content in contents:
        del content["hash"]
    contents[0]["fingerprint"] = "0" * 64
    written: list[bytes] = []
    for content in contents:
        written.append(journals._line(content, journals._hash(written[-1]) if written else ""))
    write(journal, b"".join(written))
    check(whole, at_most=0)


def test_a_run_that_failed_on_its_first_image_leaves_no_journal() -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            resumed(resume=False, stop_at=0)
        assert not list(state_folder().iterdir())


def test_a_killed_run_without_a_finished_image_is_not_called_interrupted(monkeypatch) -> None:
    notes: list[str] = []
    journal = Journal("k", images=9, resume=False, reporter=QuietReporter())
    monkeypatch.setattr("shutil.rmtree", lambda *args, **options: None)
    journal.close(finished=False)
    assert len(list(state_folder().glob("*/journal.jsonl"))) == 1
    monkeypatch.undo()
    reporter = QuietReporter()
    reporter.note = notes.append  # type: ignore[method-assign]
    Journal("k", images=9, resume=False, reporter=reporter).close(finished=True)
    assert notes == []


@pytest.mark.parametrize("make", [PaintSink, LabelMapSink, RawSink])
def test_a_result_that_was_cut_off_is_written_again(tmp_path: Path, journal: Path, make: Callable) -> None:
    out = tmp_path / "out.npz"
    resumed(sinks=(make(tmp_path / "whole.npz"),), resume=False)
    with pytest.raises(KeyboardInterrupt):
        resumed(resume=False, stop_at=5, sinks=(make(out),))
    folder = (
        out if out.is_dir() else next(path for path in state_folder().glob("*/spool") if any(path.iterdir()))
    )
    first, second = sorted(folder.iterdir())[:2]
    first.write_bytes(first.read_bytes()[:5])
    second.write_bytes(b"")
    report = resumed(sinks=(make(out),))
    assert report.resumed >= 1
    if out.is_dir():
        for path in out.iterdir():
            assert path.read_bytes() == (tmp_path / "whole.npz" / path.name).read_bytes()
    else:
        with np.load(out) as ours, np.load(tmp_path / "whole.npz") as theirs:
            assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


TWICE = """
    import sys
    import numpy as np
    from pathlib import Path
    from segplug.engine import EngineSpec
    from segplug.model import ModelMeta
    from segplug.runtime.folder import FolderDataset
    from segplug.runtime.pipeline import run
    from segplug.runtime.raw import RawSink
    from segplug.runtime.sinks import LabelMapSink, ScoreSink
    from segplug.testing.engines import FunctionEngine

    folder, out, stop = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    count = 0

    def network(batch):
        global count
        count += 1
        if count == stop:
            raise KeyboardInterrupt
        return np.roll(batch, 3, axis=3)

    meta = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)
    report = run(
        FunctionEngine(EngineSpec(meta, "logits"), network),
        FolderDataset(folder),
        [ScoreSink(), RawSink(out / "raw.npz", force=True), LabelMapSink(out / "maps")],
        resume=not stop,
        run_key="k",
    )
    print(report.scores.to_dict())
"""


def test_two_processes_that_resume_one_run_at_once_both_end_right(tmp_path: Path) -> None:
    from PIL import Image

    data = tmp_path / "data"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    for index in range(60):
        image = np.random.default_rng(index).integers(0, 256, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(image).save(data / "images" / f"{index:02}.png")
        Image.fromarray(image.argmax(axis=2).astype(np.uint8)).save(data / "masks" / f"{index:02}.png")

    def start(out: str, stop: int = 0) -> subprocess.Popen[str]:
        (tmp_path / out).mkdir(exist_ok=True)
        command = [sys.executable, "-c", textwrap.dedent(TWICE), str(data), str(tmp_path / out), str(stop)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, **output)

    whole, _ = start("whole").communicate()
    start("out", stop=20).communicate()
    assert list(state_folder().glob("*/journal.jsonl"))
    both = [start("out") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out == whole
    for path in (tmp_path / "whole" / "maps").iterdir():
        assert (tmp_path / "out" / "maps" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["maps", "raw.npz"]
    assert not list(state_folder().iterdir())
