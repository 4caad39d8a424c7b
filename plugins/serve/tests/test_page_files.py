"""The page's files, samples and OpenAPI document, as a client gets them without a browser."""

from __future__ import annotations

import io
import os
import re
from importlib.resources import files
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from segplug_serve.openapi import openapi_document
from segplug_serve.samples import MOST_SAMPLES, find_samples
from serve_support.bands import METAS
from serve_support.models import Project
from serve_support.servers import Running, picture, png

from segplug.errors import UsageError
from segplug.model import ModelMeta
from segplug.palette import distinct_palette
from segplug.serving.requests import CONTROLS, Limits, Output, Request, read_image

WEB = files("segplug_serve").joinpath("web")
COLOURS = ModelMeta(name="m", classes=("a", "b"), out_channels=2)


@pytest.mark.server
def test_the_files_come_with_headers_that_keep_other_addresses_out(server) -> None:
    for path, kind in (
        ("/", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ):
        answer = server.ask("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
        again = server.ask("GET", path, if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        assert server.ask("GET", path, if_none_match='"older"').body == answer.body
    for path in ("/page/none.js", "/page/..%2Fapp.py", "/samples/99", "/samples/x", "/docs/"):
        answer = server.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (404, 404), path
    assert server.ask("POST", "/").status == 405


@pytest.mark.server
def test_a_listed_sample_is_an_image_that_the_server_takes(server) -> None:
    (made,) = server.ask("GET", "/samples").json["samples"]
    sample = server.ask("GET", f"/{made['url']}")
    assert (sample.headers["content-type"], len(sample.body)) == (made["type"], made["size"])
    assert server.post(sample.body, content_type=made["type"]).status == 200


@pytest.mark.slow
@pytest.mark.server
def test_no_page_leaves_all_of_it_out_and_a_palette_colours_masks(started, project: Project) -> None:
    server: Running = started(project.artifact(".onnx"), "--no-page", "--palette", "distinct")
    assert server.page is None
    for path in ("/", "/docs", "/page/app.js", "/openapi.json", "/samples", "/samples/0"):
        answer = server.ask("GET", path)
        assert answer.status == 404
        assert answer.json["error"].endswith("/models lists the model's addresses")
    shares = server.post(png(picture(1)), "?output=json").json["classes"]
    colours = distinct_palette(4)
    assert {entry["label"]: tuple(entry["colour"]) for entry in shares}.items() <= dict(
        enumerate(colours)
    ).items()
    with Image.open(io.BytesIO(server.post(png(picture(1))).body)) as mask:
        assert tuple(mask.getpalette()[:12]) == tuple(value for colour in colours for value in colour)


def test_the_files_name_only_each_other_and_hold_no_inline_code() -> None:
    names = {file.name for file in WEB.iterdir()}
    for file in WEB.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?<!xmlns=\")https?://", text), file.name
        for found in re.findall(r'(?:from "\./|"page/)([\w.]+)"', text):
            assert found in names, (file.name, found)
        if file.name.endswith(".html"):
            assert not re.search(r"<style|style=|\son\w+=|<script(?! type=\"module\" src=)", text), file.name
        assert "innerHTML" not in text


def test_the_document_says_what_the_handler_takes_and_gives() -> None:
    limits = Limits(bytes=1000, pixels=2000)
    document = openapi_document("m", limits=limits, timeout=7, max_requests=3, token=True)
    operation = document["paths"]["/predictions/m"]["post"]
    parameters = {each["name"]: each for each in operation["parameters"]}
    assert set(parameters) == {*CONTROLS, *CONTROLS.values()}
    output = parameters["output"]
    assert output["schema"]["enum"] == list(get_args(Output))
    assert all(f"- {name}: " in output["description"] for name in get_args(Output))
    assert {"400", "401", "413", "415", "422", "503", "504"} <= set(operation["responses"])
    assert "1,000 bytes" in operation["responses"]["413"]["description"]
    assert "2,000 pixels" in operation["responses"]["413"]["description"]
    assert document["security"] == [{"token": []}]
    assert document["paths"]["/ready"]["get"]["security"] == []
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))
    for reference in _references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    open_to_all = openapi_document("m", limits=limits, timeout=7, max_requests=3, token=False)
    assert "security" not in open_to_all
    assert "401" not in open_to_all["paths"]["/predictions/m"]["post"]["responses"]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in _references(each)]
    return [found for each in value for found in _references(each)] if isinstance(value, list) else []


@pytest.mark.parametrize("meta", [COLOURS, *METAS.values()], ids=["colours", *METAS])
def test_the_made_up_sample_is_what_the_model_takes(meta) -> None:
    (made,), _ = find_samples(meta, Limits(), None)
    image = read_image(Request(made.read(), made.media_type), Limits(), meta)
    assert image.shape[2] == meta.in_channels
    assert made.name.endswith(".png" if meta is COLOURS else ".npy")
    small = Limits(edge=500)
    (other,), _ = find_samples(meta.replace(input_size=(600, 700)), small, None)
    assert max(read_image(Request(other.read(), other.media_type), small, meta).shape[:2]) <= 500


def test_a_folder_of_samples_offers_its_image_files_only(tmp_path) -> None:
    for number in range(MOST_SAMPLES + 3):
        (tmp_path / f"{number:02}.png").write_bytes(png(np.zeros((2, 2, 3), np.uint8)))
    (tmp_path / "00b.png").write_bytes(bytes(5000))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "00a.png").mkdir()
    os.mkfifo(tmp_path / "00c.png")
    found, left_out = find_samples(COLOURS, Limits(bytes=4000), str(tmp_path))
    assert [each.name for each in found[1:3]] == ["00.png", "01.png"]
    assert (len(found), left_out) == (MOST_SAMPLES + 1, 3)
    assert found[1].read() == (tmp_path / "00.png").read_bytes()
    (tmp_path / "00.png").write_bytes(bytes(5000))  # it may have become anything
    with pytest.raises(OSError, match="bytes"):
        found[1].read()
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, said in ((empty, "has no image"), (tmp_path / "none", "No such file")):
        with pytest.raises(UsageError, match=said):
            find_samples(COLOURS, Limits(), str(folder))
