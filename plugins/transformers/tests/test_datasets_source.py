"""What the library datasets leaves on disk, read as the library itself reads it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from segplug_transformers.datasets_source.layout import find_layout
from segplug_transformers.datasets_source.options import DatasetsOptions
from segplug_transformers.datasets_source.provider import provider

from segplug import Segplug
from segplug.errors import DatasetError, MissingDependencyError, UsageError
from segplug.preprocessing import Decoding
from segplug.providers import Confidence
from segplug.requests import LoadDatasetRequest
from segplug.testing import make_request

datasets = pytest.importorskip("datasets")
library = pytest.importorskip("datasets.data_files")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
PIL_Image = pytest.importorskip("PIL.Image")

ROWS, SIZE = 7, (20, 31)
COLOUR = Decoding()
RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (ROWS, *SIZE, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 4, (ROWS, *SIZE), dtype=np.uint8)
CLASSES = ["road", "tree", "sky", "car"]


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    datasets.disable_progress_bars()


def encoded(pixels: npt.NDArray[Any], kind: str, path: str | None = None, **settings: Any) -> dict[str, Any]:
    file = io.BytesIO()
    PIL_Image.fromarray(pixels).save(file, kind, **settings)
    return {"bytes": file.getvalue(), "path": path}


def table(**columns: tuple[list[Any], Any]) -> Any:
    features = datasets.Features({name: feature for name, (_, feature) in columns.items()})
    return datasets.Dataset.from_dict(
        {name: values for name, (values, _) in columns.items()}, features=features
    )


def pictures(rows: int = ROWS) -> Any:
    """JPEG photos and PNG masks, as most data sets on the hub have them."""
    return table(
        image=([encoded(PIXELS[row], "JPEG") for row in range(rows)], datasets.Image()),
        label=([encoded(LABELS[row], "PNG") for row in range(rows)], datasets.Image()),
    )


def opened(path: Path, **options: Any) -> Any:
    request = make_request(
        LoadDatasetRequest, location=str(path), options=DatasetsOptions(**options), cfg_options={}
    )
    return provider.load_dataset(request)


def saved(data: Any, folder: Path) -> Path:
    data.save_to_disk(str(folder))
    return folder


def parquet(data: Any, file: Path, **settings: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    data.to_parquet(str(file), **settings)
    return file


def sharded(data: Any, folder: Path) -> Path:
    """As push_to_hub writes it: files of a few rows in ``data``, with several row groups."""
    for shard in range(2):
        part = data.shard(2, shard, contiguous=True)
        parquet(part, folder / "data" / f"train-{shard:05d}-of-00002.parquet", batch_size=2)
    return folder


LAYOUTS: dict[str, Callable[[Any, Path], Path]] = {
    "saved": lambda data, path: saved(data, path / "set"),
    "saved splits": lambda data, path: saved(datasets.DatasetDict(validation=data), path / "set"),
    "file": lambda data, path: parquet(data, path / "set.parquet"),
    "folder": lambda data, path: sharded(data, path / "set"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_and_masks_are_those_that_the_library_reads(layout: str, tmp_path: Path) -> None:
    data = pictures()
    location = LAYOUTS[layout](data, tmp_path)
    assert provider.accepts(str(location)) is Confidence.LIKELY
    found = opened(location)
    assert len(found) == ROWS
    assert found.info.has_masks
    assert [found.name(row) for row in range(ROWS)] == [f"{row:06d}.png" for row in range(ROWS)]
    for row in reversed(range(ROWS)):
        np.testing.assert_array_equal(found.read_image(row, COLOUR)[:, :, ::-1], np.array(data[row]["image"]))
        np.testing.assert_array_equal(found.read_mask(row), np.array(data[row]["label"]))
        assert found.read_mask(row).dtype == np.uint8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_are_read_as_images_and_masks(layout: str, tmp_path: Path) -> None:
    rows = datasets.List(datasets.ClassLabel(names=CLASSES))
    data = table(
        pixel_values=(list(PIXELS), datasets.Array3D((*SIZE, 3), "uint8")),
        label=([mask.tolist() for mask in LABELS], datasets.List(rows)),
    )
    found = opened(LAYOUTS[layout](data, tmp_path))
    assert found.info.classes == tuple(CLASSES)
    for row in range(ROWS):
        np.testing.assert_array_equal(found.read_image(row, COLOUR), PIXELS[row][:, :, ::-1])
        np.testing.assert_array_equal(found.read_mask(row), LABELS[row])


def test_many_threads_read_the_same_rows_of_parquet(tmp_path: Path) -> None:
    found = opened(sharded(pictures(), tmp_path))
    wanted = [int(row) for row in np.random.default_rng(0).integers(0, ROWS, 200)]
    with ThreadPoolExecutor(8) as pool:
        masks = list(pool.map(found.read_mask, wanted))
    for row, mask in zip(wanted, masks, strict=True):
        np.testing.assert_array_equal(mask, LABELS[row])


def test_nothing_is_copied_into_a_cache(tmp_path: Path) -> None:
    folder = sharded(pictures(), tmp_path / "set")
    code = (
        "import sys; from segplug import Segplug; from segplug.preprocessing import Decoding\n"
        "data = Segplug().load_dataset(sys.argv[1], source='datasets')\n"
        "assert data.read_image(0, Decoding()).shape == (20, 31, 3)"
    )
    cache = tmp_path / "cache"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, env={**os.environ, "HF_HOME": str(cache)}
    )
    assert not cache.exists()


def test_images_are_named_after_their_files(tmp_path: Path) -> None:
    images = [encoded(PIXELS[row], "JPEG", path=f"/somewhere/photo_{row}.jpg") for row in range(ROWS)]
    data = table(image=(images, datasets.Image()))
    for location in (parquet(data, tmp_path / "set.parquet"), saved(data, tmp_path / "set")):
        assert opened(location).name(3) == "photo_3.jpg"


def test_names_that_files_cannot_have_are_rows(tmp_path: Path) -> None:
    for number, name in enumerate(("../{}.jpg/..", "same.jpg", "{}", ".{}", "a\\{}.png")):
        images = [encoded(PIXELS[row], "JPEG", path=name.format(row)) for row in range(ROWS)]
        data = table(image=(images, datasets.Image()))
        assert opened(parquet(data, tmp_path / f"{number}.parquet")).name(3) == "000003.png"


def test_masks_of_the_test_split_are_scored_after_reduction(tmp_path: Path) -> None:
    found = opened(saved(pictures(), tmp_path / "set"), reduce_zero_label=True, ignore_index=255)
    expected = np.where(LABELS[0] == 0, 255, LABELS[0].astype(int) - 1)
    np.testing.assert_array_equal(found.read_mask(0), expected)


def test_labels_above_255_and_minus_one(tmp_path: Path) -> None:
    labels = LABELS.astype(np.int32) * 100
    labels[:, 0] = -1
    data = table(
        image=([encoded(pixels, "PNG") for pixels in PIXELS], datasets.Image()),
        mask=(list(labels), datasets.Array2D(SIZE, "int32")),
    )
    mask = opened(saved(data, tmp_path / "set"), ignore_index=65535).read_mask(1)
    np.testing.assert_array_equal(mask, np.where(labels[1] < 0, 65535, labels[1]))
    with pytest.raises(DatasetError, match=r"000001.png of .* holds 300, which is no label from 0 to 255"):
        opened(tmp_path / "set").read_mask(1)


def test_photos_are_turned_as_the_library_turns_them(tmp_path: Path) -> None:
    exif = PIL_Image.Exif()
    exif[0x0112] = 6
    data = table(image=([encoded(PIXELS[0], "JPEG", exif=exif)], datasets.Image()))
    image = opened(saved(data, tmp_path / "set")).read_image(0, COLOUR)
    assert image.shape == (31, 20, 3)
    np.testing.assert_array_equal(image[:, :, ::-1], np.array(data[0]["image"]))


def test_parquet_of_another_library_needs_no_features(tmp_path: Path) -> None:
    photos = [encoded(pixels, "PNG")["bytes"] for pixels in PIXELS]
    masks = [encoded(mask, "PNG")["bytes"] for mask in LABELS]
    rows = pa.table({"img": photos, "annotation": masks, "id": list(range(ROWS))})
    pq.write_table(rows, tmp_path / "x.parquet")
    found = opened(tmp_path / "x.parquet")
    np.testing.assert_array_equal(found.read_image(2, COLOUR), PIXELS[2][:, :, ::-1])
    np.testing.assert_array_equal(found.read_mask(2), LABELS[2])


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["data/train-00000-of-00001.parquet", "data/val-00000-of-00001-0a1b2c.parquet"], ["train", "val"]),
        (["train/0000.parquet", "test/0000.parquet"], ["test", "train"]),
        (["default/test/0000.parquet", "default/validation/0000.parquet"], ["test", "validation"]),
        (["train.parquet", "valid-1.parquet"], ["train", "valid"]),
        (["my_photos-train.parquet", "my_photos.test.0.parquet"], ["test", "train"]),
        (["a.parquet", "b.parquet"], ["train"]),
    ],
)
def test_splits_are_named_by_folders_and_files(files: list[str], splits: list[str], tmp_path: Path) -> None:
    for file in files:
        parquet(pictures(1), tmp_path / file)
    if splits[1:]:
        with pytest.raises(UsageError, match=f"has several splits: {', '.join(splits)}"):
            opened(tmp_path)
    for split in splits:
        assert len(opened(tmp_path, split=split)) == (len(files) if len(splits) == 1 else 1)
    with pytest.raises(UsageError, match="has no split other"):
        opened(tmp_path, split="other")
    patterns = library.get_data_patterns(str(tmp_path))
    theirs = library.DataFilesDict.from_patterns(patterns, base_path=str(tmp_path))
    ours = find_layout(str(tmp_path))[1].values()
    assert {frozenset(map(str, split.files)) for split in ours} == set(map(frozenset, theirs.values()))


def test_configurations_are_not_mixed(tmp_path: Path) -> None:
    for name in ("full", "small"):
        parquet(pictures(2), tmp_path / name / "train-00000-of-00001.parquet")
    with pytest.raises(DatasetError, match="the split train has files in 2 folders") as error:
        opened(tmp_path)
    assert "name one of the folders" in str(error.value)
    assert len(opened(tmp_path / "full")) == 2


def test_a_folder_of_images_is_not_taken(tmp_path: Path) -> None:
    parquet(pictures(1), tmp_path / "index" / "train.parquet")
    assert provider.accepts(str(tmp_path)) is Confidence.LIKELY
    PIL_Image.fromarray(PIXELS[0]).save(tmp_path / "a.PNG")
    assert provider.accepts(str(tmp_path)) is Confidence.NO
    assert type(Segplug().load_dataset(tmp_path)).__name__ == "FolderDataset"


def test_other_files_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("PAR")
    (tmp_path / "state.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe.parquet")
    for name in ("no.parquet", "pipe.parquet", "missing.parquet", "", "s3://bucket/set", "a\0b.parquet"):
        assert provider.accepts(str(tmp_path / name) if "\0" not in name else name) is Confidence.NO


def test_recognising_imports_neither_datasets_nor_pyarrow(tmp_path: Path) -> None:
    folder = saved(pictures(1), tmp_path / "set")
    code = (
        "import sys; from segplug_transformers.datasets_source.provider import provider\n"
        "assert provider.accepts(sys.argv[1])\n"
        "print(*sorted({'datasets', 'pyarrow', 'numpy', 'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code, str(folder)], text=True).strip() == ""


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(pictures(1), tmp_path / "set")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError) as error:
        opened(folder)
    assert "segplug-transformers[datasets]" in str(error.value)


def test_columns_are_chosen_and_refused(tmp_path: Path) -> None:
    data = table(
        photo=([encoded(PIXELS[0], "PNG")], datasets.Image()),
        mask=([encoded(LABELS[0], "PNG")], datasets.Image()),
        annotation=([encoded(LABELS[1], "PNG")], datasets.Image()),
        label=([1], datasets.ClassLabel(names=["indoor", "outdoor"])),
    )
    file = parquet(data, tmp_path / "set.parquet")
    with pytest.raises(UsageError, match="no column of images is found among photo, mask, annotation, label"):
        opened(file)
    with pytest.raises(UsageError, match="several columns may hold the masks: mask, annotation"):
        opened(file, image_column="photo")
    with pytest.raises(UsageError, match="the column label holds no masks"):
        opened(file, image_column="photo", label_column="label")
    with pytest.raises(UsageError, match="there is no column seg"):
        opened(file, image_column="photo", label_column="seg")
    found = opened(file, image_column="photo", label_column="annotation")
    np.testing.assert_array_equal(found.read_mask(0), LABELS[1])
    assert found.info.classes == ()  # those of the scene are not those of the pixels


def test_a_data_set_without_masks_says_which_columns_may_be_masks(tmp_path: Path) -> None:
    data = table(
        image=([encoded(PIXELS[0], "PNG")], datasets.Image()),
        segments=([encoded(LABELS[0], "PNG")], datasets.Image()),
    )
    found = opened(saved(data, tmp_path / "set"))
    assert not found.info.has_masks
    assert found.info.masks_hint == "name the column of the masks with label_column: segments"
    with pytest.raises(DatasetError, match="has no masks"):
        found.read_mask(0)


def test_cells_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    pixels = encoded(PIXELS[0], "PNG")["bytes"]
    images = [
        {"bytes": None, "path": "https://example.com/a.png"},
        {"bytes": pixels[:200], "path": None},
        {"bytes": b"text", "path": None},
        None,
    ]
    masks = [[[0, 1], [2]], [[0, None]], [[0.5]], None]
    pq.write_table(pa.table({"image": images, "label": masks}), tmp_path / "set.parquet")
    found = opened(tmp_path / "set.parquet")
    for row, message in enumerate(("only its path https", "cut off", "is text, not an image", "is missing")):
        with pytest.raises(DatasetError, match=message) as error:
            found.read_image(row, COLOUR)
        assert f"{row:06d}.png" in str(error.value)
    for row, message in enumerate(("different lengths", "values that are empty", "holds 0.5", "is missing")):
        with pytest.raises(DatasetError, match=message):
            found.read_mask(row)


def test_a_mode_that_changes_labels_is_refused(tmp_path: Path) -> None:
    data = pictures(1).cast_column("label", datasets.Image(mode="L"))
    with pytest.raises(DatasetError, match="converts the column label to Pillow's mode L"):
        opened(saved(data, tmp_path / "set"))


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    file = parquet(pictures(1), tmp_path / "set.parquet")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"the table .*set.parquet cannot be read"):
        opened(file)
    folder = saved(pictures(1), tmp_path / "set")
    arrow = next(folder.glob("*.arrow"))
    content = arrow.read_bytes()
    arrow.write_bytes(b"")
    with pytest.raises(DatasetError, match="cannot be read"):
        opened(folder)
    arrow.write_bytes(content[:100])
    with pytest.raises(DatasetError, match="cannot be read"):
        opened(folder)
    arrow.unlink()
    os.mkfifo(arrow)
    with pytest.raises(DatasetError, match="it is a pipe"):
        opened(folder)
    several = sharded(pictures(), tmp_path / "several")
    first = min(several.rglob("*.parquet"))
    first.unlink()
    os.mkfifo(first)
    with pytest.raises(DatasetError) as caught:
        opened(several)
    assert caught.value.message == f"the table {first} cannot be read: it is a pipe, not a file"


def test_a_saved_table_without_rows(tmp_path: Path) -> None:
    folder = saved(pictures(0), tmp_path / "set")
    with pytest.raises(DatasetError, match=f"there is no row in {folder}"):
        opened(folder)


@pytest.mark.parametrize("name", ["../data-00000-of-00001.arrow", "/etc/passwd", "..", "", 3])
def test_files_out_of_the_folder_are_refused(name: Any, tmp_path: Path) -> None:
    folder = saved(pictures(1), tmp_path / "set")
    state = json.loads((folder / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(DatasetError, match="names data files that do not lie beside it"):
        opened(folder)


def test_a_loading_script_is_not_run(tmp_path: Path) -> None:
    folder = sharded(pictures(), tmp_path / "set")
    (folder / "set.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert len(opened(folder)) == ROWS
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_written_anew_is_another_data_set(tmp_path: Path) -> None:
    file = parquet(pictures(), tmp_path / "set.parquet")
    first = opened(file).info.fingerprint
    assert opened(file).info.fingerprint == first
    assert opened(file, reduce_zero_label=True).info.fingerprint != first
    parquet(pictures(3), file)
    assert opened(file).info.fingerprint != first
