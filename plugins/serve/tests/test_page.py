"""The page in a real browser: what a person sees who drops an image on it."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from serve_support.bands import band_image, npy, save_model
from serve_support.browser import SHOWN, Tab, chromium
from serve_support.models import Project
from serve_support.servers import Running, picture, png

pytestmark = pytest.mark.server

PALETTE = np.array([[128, 64, 128], [70, 70, 70], [70, 130, 180], [0, 0, 142]], np.uint8)
NAMES = ("road", "building", "sky", "car")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser, server) -> Iterator[Callable[..., Tab]]:
    """Opens the page, of the shared server or another one."""
    tabs = []

    def opened(address: str = f"{server.page}", **settings: Any) -> Tab:
        tabs.append(Tab(browser, address, **settings))
        return tabs[-1]

    yield opened
    for each in tabs:
        each.close()


def _labels(server: Running, image: np.ndarray) -> np.ndarray:
    return server.post(png(image)).image


def test_a_dropped_photo_gets_its_mask_and_a_legend_that_lights_it_up(tab, server) -> None:
    image = picture(1)
    labels = _labels(server, image)
    found = tab()
    found.drop("my photo.png", png(image))
    found.page.wait_for_selector(SHOWN)
    assert np.array_equal(found.canvas("photo")[..., 2::-1], image)
    assert np.array_equal(found.canvas("mask")[..., :3], PALETTE[labels])
    present = sorted(set(labels.ravel().tolist()), key=lambda label: -(labels == label).sum())
    shares = [f"{NAMES[label]} {100 * (labels == label).mean():.1f} %" for label in present]
    assert found.texts("#legend button") == shares
    assert found.page.get_by_role("img", name=f"Mask of my photo.png: {shares[0]}").count() == 1

    def lit() -> set[tuple[int, ...]]:
        """The colours that are drawn, but for the white line."""
        drawn = found.canvas("mask").reshape(-1, 4)
        colours = {tuple(pixel[:3].tolist()) for pixel in drawn[drawn[:, 3] > 0]}
        return colours - {(255, 255, 255)}

    for number, label in enumerate(present[:2]):
        button = found.page.locator("#legend button").nth(number)
        (button.hover if number else button.focus)()
        assert lit() == {tuple(PALETTE[label].tolist())}
    found.page.mouse.move(0, 0)
    found.page.locator("#opacity").focus()
    assert lit() == {tuple(PALETTE[label].tolist()) for label in present}
    assert {url.startswith((f"{server.address}/", "blob:")) for _, url in found.asked} == {True}
    assert sum(method == "POST" for method, _ in found.asked) == 1
    assert found.complaints == []


@pytest.mark.slow
def test_the_command_line_that_the_page_shows_gives_the_mask(tab, server, tmp_path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    name = 'it\'s a "$HOME" photo.png'
    tmp_path.joinpath(name).write_bytes(png(picture(2)))
    found = tab()
    found.drop(name, png(picture(2)))
    found.page.wait_for_selector(SHOWN)
    found.page.locator("#opacity").fill("100")
    mask, painted = found.page.locator("#commands code").all_inner_texts()
    for line in (mask, painted):
        subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    stem = name.removesuffix(".png")
    with Image.open(tmp_path / f"{stem}-mask.png") as written:
        labels = np.asarray(written)
    assert np.array_equal(labels, _labels(server, picture(2)))
    assert np.array_equal(cv2.imread(str(tmp_path / f"{stem}-painted.png"))[..., ::-1], PALETTE[labels])


@pytest.mark.slow
def test_downloads_are_the_servers_answers(tab, server) -> None:
    found = tab()
    found.drop("a.png", png(picture(3)))
    found.page.wait_for_selector(SHOWN)
    for button, name, query in (
        ("#save-mask", "a-mask.png", ""),
        ("#save-painted", "a-painted.png", "?output=painted&opacity=0.55"),
    ):
        with found.page.expect_download() as download:
            found.page.click(button)
        assert download.value.suggested_filename == name
        assert download.value.path().read_bytes() == server.post(png(picture(3)), query).body


@pytest.mark.slow
def test_refusals_are_shown_in_the_servers_words_and_explained(tab, server) -> None:
    found = tab()
    cut_off = png(picture(1, 64, 64))[:-200]
    for name, content, kind, status in (
        ("notes.txt", b"hello", "text/plain", 415),
        ("cut.png", cut_off, "image/png", 400),
        ("large.png", bytes((32 << 20) + 1), "image/png", 413),
    ):
        # A list of 32 million numbers would take minutes to get into the browser.
        if len(content) > 1 << 20:
            found.page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})
        else:
            found.drop(name, content, kind)
        found.page.wait_for_selector(f"#problem:not([hidden]) >> text=status {status}")
        said = " ".join(found.texts("#problem"))
        assert f"for {name} (status" in said
        if status != 413:
            assert server.post(content, content_type=kind).json["error"] in said
        assert (
            server.ask("GET", "/openapi.json").json["paths"][f"/predictions/{server.model}"]["post"][
                "responses"
            ][str(status)]["description"]
            in said
        )
        assert found.page.locator("#problem").get_attribute("role") == "alert"
        assert not found.page.locator("#result").is_visible()
    found.drop("good.png", png(picture(1)))
    found.page.wait_for_selector(SHOWN)
    assert not found.page.locator("#problem").is_visible()


@pytest.mark.slow
def test_a_server_that_is_gone_is_said_and_can_be_tried_again(tab, started, project: Project) -> None:
    server: Running = started(project.artifact(".onnx"))
    found = tab(server.page)
    found.page.wait_for_selector("#card:not([hidden])")
    server.stop()
    found.drop("a.png", png(picture(1)))
    found.page.wait_for_selector("h2 >> text=No answer")
    again = started(project.artifact(".onnx"), "--port", str(server.port))
    assert again.page == server.page
    found.page.get_by_role("button", name="Try again").click()
    found.page.wait_for_selector(SHOWN)


@pytest.mark.slow
def test_the_token_is_asked_for_and_kept_in_the_tab(tab, started, project: Project, tmp_path) -> None:
    (tmp_path / "token").write_text("s3cret")
    server: Running = started(project.artifact(".onnx"), "--token-file", str(tmp_path / "token"))
    assert server.ask("GET", "/").status == 200
    for path in ("/models", "/openapi.json", "/samples", "/samples/0", "/metrics"):
        assert server.ask("GET", path).status == 401, path
    found = tab(server.page)
    found.page.wait_for_selector("#token-form:not([hidden])")
    for typed in ("wrong", "s3cret"):
        found.page.get_by_label("Token", exact=True).fill(typed)
        found.page.get_by_role("button", name="Use this token").click()
        if typed == "wrong":
            found.page.wait_for_selector("text=did not accept this token")
    found.page.wait_for_selector("#card:not([hidden])")
    found.drop("a.png", png(picture(1)))
    found.page.wait_for_selector(SHOWN)
    assert '-H "Authorization: Bearer $TOKEN"' in found.texts("#commands code")[0]
    assert found.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    found.page.goto(f"{server.page}docs")
    found.page.wait_for_selector("#api h2")


@pytest.mark.slow
def test_a_file_that_no_browser_shows_is_shown_by_the_server(tab, started, tmp_path) -> None:
    server: Running = started(save_model("five", tmp_path))
    content = npy(band_image("five"))
    found = tab(server.page)
    found.drop("bands.npy", content, "")
    found.page.wait_for_selector(SHOWN)
    shown = server.post(content, "?output=painted&opacity=0.001").image
    assert np.array_equal(found.canvas("photo")[..., 2::-1], shown)
    found.page.click("text=made-up-street.npy")
    found.page.wait_for_selector("h2 >> text=made-up-street.npy")
    assert found.page.locator(SHOWN).count() == 1


@pytest.mark.slow
def test_a_pixel_of_several_classes_has_all_of_them(tab, started, tmp_path) -> None:
    changes = {"activation": "sigmoid", "threshold": 0.5, "palette": tuple(map(tuple, PALETTE.tolist()))}
    server: Running = started(save_model("five", tmp_path, **changes))
    content = npy(band_image("five"))
    bits = server.post(content).image[..., None] >> np.arange(4) & 1
    there = bits.astype(bool)
    assert (bits.sum(axis=2) > 1).mean() > 0.2
    found = tab(server.page)
    found.drop("bands.npy", content, "")
    found.page.wait_for_selector(SHOWN)
    means = np.rint(bits @ PALETTE / np.maximum(bits.sum(axis=2, keepdims=True), 1))
    drawn = found.canvas("mask")
    assert np.abs(drawn[..., :3].astype(int) - means)[there.any(axis=2)].max() <= 1
    assert (drawn[..., 3] > 0).tolist() == there.any(axis=2).tolist()
    shares = {name: there[..., bit].mean() for bit, name in enumerate(NAMES)}
    shares["no class"] = (~there.any(axis=2)).mean()
    ordered = sorted(shares, key=lambda name: -shares[name])
    assert found.texts("#legend button") == [f"{name} {100 * shares[name]:.1f} %" for name in ordered]
    for name in NAMES[:2]:  # alone, where it is, in its own colour inside a white line
        found.page.locator("#legend button", has_text=name).focus()
        lit = found.canvas("mask")
        number = NAMES.index(name)
        assert (lit[..., 3] > 0).tolist() == there[..., number].tolist()
        colours = {tuple(pixel) for pixel in lit[lit[..., 3] > 0][:, :3].tolist()}
        assert colours <= {tuple(PALETTE[number].tolist()), (255, 255, 255)}
    row, column = np.argwhere(bits.sum(axis=2) == 3)[0].tolist()
    box = found.page.locator("#mask").bounding_box()
    height, width = there.shape[:2]
    found.page.mouse.move(
        box["x"] + (column + 0.5) / width * box["width"], box["y"] + (row + 0.5) / height * box["height"]
    )
    under = {NAMES[bit] for bit in range(4) if there[row, column, bit]}
    assert set(found.texts("#under")[0].split(", ")) == under
    assert set(found.texts("#legend button.under .name")) == under
    assert found.complaints == []


@pytest.mark.slow
def test_a_photo_that_a_camera_turned_lies_under_its_mask(tab, server) -> None:
    turned = Image.fromarray(picture(5, 40, 64)[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    turned.save(content, "JPEG", exif=exif)
    found = tab()
    found.drop("turned.jpg", content.getvalue(), "image/jpeg")
    found.page.wait_for_selector(SHOWN)
    assert found.canvas("mask").shape[:2] == found.canvas("photo").shape[:2] == (64, 40)
    assert sum(method == "POST" for method, _ in found.asked) == 1


@pytest.mark.slow
def test_pictures_come_from_the_clipboard_from_samples_and_from_the_camera(tab, server) -> None:
    found = tab()
    found.page.wait_for_selector("#card:not([hidden])")
    found.page.evaluate(
        """(bytes) => {
            const clipboardData = new DataTransfer();
            const file = new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" });
            clipboardData.items.add(file);
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
        }""",
        list(png(picture(1))),
    )
    found.page.wait_for_selector("h2 >> text=pasted.png")
    found.page.click("text=made-up-street.png")
    found.page.wait_for_selector("h2 >> text=made-up-street.png")
    assert f'curl -s "{server.address}/samples/0" | curl' in found.texts("#commands code")[0]
    found.page.get_by_role("button", name="Use the camera").click()
    found.page.get_by_role("button", name="Take the picture").click()
    found.page.wait_for_selector("h2 >> text=camera.jpg")
    assert found.page.locator("#camera-dialog").is_hidden()
    assert found.complaints == []


@pytest.mark.slow
def test_the_keyboard_reaches_everything_and_everything_has_a_name(tab) -> None:
    found = tab()
    found.drop("a.png", png(picture(1)))
    found.page.wait_for_selector(SHOWN)
    first = found.page.locator("#legend button").first
    for _ in range(30):
        found.page.keyboard.press("Tab")
        if first.evaluate("(each) => each === document.activeElement"):
            break
    else:
        pytest.fail("the Tab key does not reach the legend")
    found.page.keyboard.press("Enter")
    assert first.get_attribute("aria-pressed") == "true"
    found.page.keyboard.press("Escape")
    assert first.get_attribute("aria-pressed") == "false"
    for role in ("button", "link", "slider", "img", "table", "region"):
        for each in found.page.get_by_role(role).all():
            named = each.evaluate(
                """(each) => {
                    const other = document.getElementById(each.getAttribute("aria-labelledby"));
                    const texts = [other?.textContent, each.labels?.[0]?.textContent, each.textContent];
                    return [each.ariaLabel, ...texts].some((text) => (text ?? "").trim() !== "");
                }"""
            )
            assert named, (role, each.evaluate("(each) => each.outerHTML"))
    levels = found.page.locator("h1, h2, h3").evaluate_all(
        "(all) => all.filter((each) => each.checkVisibility()).map((each) => Number(each.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert found.page.locator("html").get_attribute("lang") == "en"
    assert found.page.locator("main").count() == 1
    assert found.page.locator("[role=status][aria-live=polite]").inner_text().startswith("a.png: 64 ")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read_in_light_and_dark(tab, scheme) -> None:
    phone = {"width": 390, "height": 844}
    found = tab(viewport=phone, color_scheme=scheme, has_touch=True, is_mobile=True)
    found.drop("a.png", png(picture(1)))
    found.page.wait_for_selector(SHOWN)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= phone["width"]
    assert found.page.locator("#snap").get_attribute("capture") == "environment"
    colours = found.page.evaluate(
        """() => Object.fromEntries(["back", "panel", "text", "muted", "accent", "on-accent", "code",
            "bad-back", "bad-text"].map((name) =>
                [name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim()]))"""
    )
    for text, behind in (
        ("text", "back"), ("text", "panel"), ("text", "code"),
        ("muted", "back"), ("muted", "panel"), ("muted", "code"),
        ("accent", "back"), ("on-accent", "accent"), ("bad-text", "bad-back"),
    ):  # fmt: skip
        assert _contrast(colours[text], colours[behind]) >= 4.5, (scheme, text, behind)


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.1)."""

    def luminance(colour: str) -> float:
        values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.slow
def test_the_docs_show_every_address_and_status(tab, server) -> None:
    found = tab(f"{server.page}docs")
    found.page.wait_for_selector("#api h2")
    document = server.ask("GET", "/openapi.json").json
    operations = [(method, path) for path, each in document["paths"].items() for method in each]
    assert found.texts("#api h2") == [f"{method.upper()} {path}" for method, path in operations]
    shown = " ".join(found.texts("#api"))
    for status, answer in document["paths"][f"/predictions/{server.model}"]["post"]["responses"].items():
        assert status in shown
        assert answer["description"] in shown
    assert {url.startswith(server.address) for _, url in found.asked} == {True}
    assert found.complaints == []


@pytest.mark.slow
def test_the_page_reads_labels_from_every_kind_of_png(tab) -> None:
    found = tab()
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (37, 53)).astype(np.uint8), (0, 0), 4)
    wide = smooth.astype(np.uint16) * 200
    filters = [cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_FILTER_SUB, cv2.IMWRITE_PNG_FILTER_UP]
    filters += [cv2.IMWRITE_PNG_FILTER_AVG, cv2.IMWRITE_PNG_FILTER_PAETH]
    for image in (smooth, wide):
        for chosen in filters:
            content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_FILTER, chosen])[1].tobytes()
            labels = found.page.evaluate(
                """async (bytes) => {
                    const { decodeLabels } = await import(new URL("page/png.js", document.baseURI));
                    return [...(await decodeLabels(new Uint8Array(bytes).buffer)).labels];
                }""",
                list(content),
            )
            assert np.array_equal(np.array(labels).reshape(image.shape), image), (image.dtype, chosen)
