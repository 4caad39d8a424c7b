"""Draw a random street scene from a seed: an image and its label map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .buildings import draw_building
from .canvas import NEAR, SUPERSAMPLING, Camera, Canvas, Colour
from .cars import draw_car
from .roadside import draw_hedge, draw_person, draw_sign, draw_tree
from .street import Brush, Street

CLASSES = ("road", "sidewalk", "building", "sign", "vegetation", "sky", "person", "car")
"""``sign`` means poles with signs, lamps or traffic lights."""
PALETTE = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (220, 220, 0),
    (107, 142, 35),
    (70, 130, 180),
    (220, 20, 60),
    (0, 0, 142),
)
HEIGHT, WIDTH = 256, 512

ROAD, SIDEWALK, BUILDING, SIGN, VEGETATION, SKY, PERSON, CAR = range(len(CLASSES))


@dataclass(frozen=True)
class Weather:
    """The light of a scene. Colours are RGB, 0 to 255."""

    sky_top: Colour
    sky_low: Colour
    clouds: float
    gain: Colour
    """Factor on each channel of the final image."""
    sun: float
    """How much darker a shadow is than the sunlit ground, 0 to 1."""
    sight: float
    """Distance in metres at which haze leaves about a third of a colour."""


WEATHERS = (
    Weather((70, 125, 200), (185, 210, 235), 0.5, (1.06, 1.03, 0.97), 0.45, 220.0),  # a clear day
    Weather((165, 175, 188), (205, 210, 214), 0.25, (0.95, 0.98, 1.02), 0.12, 110.0),  # overcast
    Weather((95, 105, 160), (245, 190, 140), 0.5, (1.08, 0.93, 0.80), 0.35, 120.0),  # a low sun
    Weather((178, 182, 186), (196, 198, 200), 0.08, (0.97, 0.99, 1.00), 0.05, 45.0),  # mist
    Weather((40, 50, 85), (120, 110, 130), 0.3, (0.62, 0.64, 0.78), 0.15, 100.0),  # dusk
)


def draw_scene(seed: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw the scene of a seed.

    Returns:
        The image, uint8 RGB ``(HEIGHT, WIDTH, 3)``, and its labels, uint8 ``(HEIGHT, WIDTH)``.
    """
    rng = np.random.default_rng(seed)
    weather = WEATHERS[rng.choice(len(WEATHERS), p=(0.36, 0.24, 0.16, 0.12, 0.12))]
    height, width = HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING
    camera = Camera(
        focal=width * rng.uniform(0.52, 0.68),
        centre=width * rng.uniform(0.40, 0.60),
        horizon=height * rng.uniform(0.40, 0.52),
        height=rng.uniform(1.35, 2.1),
    )
    half = rng.uniform(3.2, 5.6)
    street = Street(
        camera=camera,
        half=half,
        walk=rng.uniform(2.4, 4.6),
        shift=rng.uniform(-0.45, 0.45) * half,
        bend=rng.normal(0, 0.0022),
        sunny_side=int(rng.choice((-1, 1))),
        sun=weather.sun,
        dark=weather.gain[0] < 0.8,
    )
    canvas = Canvas(height, width, rng, haze=weather.sky_low, sight=weather.sight)
    _draw_sky(canvas, weather, rng)
    _draw_ground(canvas, street, rng)
    for _, draw in sorted(_place_objects(canvas, street, rng), key=lambda placed: -placed[0]):
        draw()
    image, labels = canvas.downscale()
    return _add_camera_effects(image, weather, rng), labels


def _draw_sky(canvas: Canvas, weather: Weather, rng: np.random.Generator) -> None:
    """Draw a gradient with clouds over the whole canvas."""
    canvas.labels[:] = SKY
    down = np.linspace(0, 1.6, canvas.height, dtype=np.float32).clip(0, 1)[:, None, None]
    top, low = np.asarray(weather.sky_top, np.float32), np.asarray(weather.sky_low, np.float32)
    shape = (canvas.height, canvas.width)
    clouds = np.zeros(shape, np.float32)
    for grain, weight in ((6, 1.0), (14, 0.6), (40, 0.3)):
        patch = rng.standard_normal((grain, grain * 2), dtype=np.float32)
        clouds += weight * cv2.resize(patch, shape[::-1], interpolation=cv2.INTER_CUBIC)
    cover = np.clip(clouds * 0.7 - 0.1, 0, 1)[:, :, None] * weather.clouds
    sky = top * (1 - down) + low * down
    canvas.image[:] = np.clip(sky * (1 - cover) + (low * 0.6 + 100) * cover, 0, 255).astype(np.uint8)


def _draw_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Draw road, markings, kerbs and paving: computed for every pixel below the horizon."""
    first, x, z = street.camera.ground(canvas.height, canvas.width)
    offset = x - street.centre(z)
    beyond = np.abs(offset)
    on_road = beyond < street.half
    asphalt = rng.uniform(62, 118) * np.asarray((1.0, rng.uniform(0.97, 1.02), rng.uniform(0.96, 1.06)))
    paving = rng.uniform(115, 185) * np.asarray((1.0, rng.uniform(0.93, 1.0), rng.uniform(0.84, 1.0)))
    colour = np.where(on_road[:, :, None], asphalt, paving).astype(np.float32)

    joint = rng.uniform(0.5, 1.2)
    lines = ((beyond - street.half) % joint < 0.05) | (z % joint < 0.05)
    colour[~on_road & lines & (z < 25)] *= 0.82
    colour[np.abs(beyond - street.half - 0.1) < 0.1] = paving * 1.12  # the kerbstones
    colour[(beyond < street.half) & (beyond > street.half - 0.35)] *= 0.88  # the gutter

    markings = _markings(offset, z, street, rng)
    colour[markings] = colour[markings] * 0.25 + np.asarray((215, 215, 210)) * 0.75
    colour *= _wear(canvas, x, z, rng)[:, :, None]
    if street.sun > 0.2:
        reach = street.half * rng.uniform(-0.9, 0.9)
        toothed = reach + np.interp(z, np.linspace(0, 90, 14), rng.uniform(-2.0, 2.0, 14))
        colour[offset * -street.sunny_side > toothed] *= 1 - street.sun

    colour = canvas.tint(colour, z[:, :, None])
    canvas.image[first:] = np.clip(colour, 0, 255).astype(np.uint8)
    canvas.labels[first:] = np.where(on_road, ROAD, SIDEWALK)


def _markings(
    offset: npt.NDArray[np.float32], z: npt.NDArray[np.float32], street: Street, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """A mask of the white markings: the middle line, edge lines, sometimes a crossing."""
    marked = np.zeros(offset.shape, bool)
    if rng.random() < 0.8:
        dash = rng.uniform(2.0, 4.0)
        marked |= (np.abs(offset) < 0.07) & ((z % (2 * dash) < dash) | (rng.random() < 0.25))
    if rng.random() < 0.4:
        marked |= np.abs(np.abs(offset) - street.half + 0.6) < 0.06
    if rng.random() < 0.4:
        near = rng.uniform(5, 14)
        stripes = (offset + 20) % 1.0 < 0.5
        marked |= stripes & (z > near) & (z < near + 3) & (np.abs(offset) < street.half - 0.3)
    return marked


def _wear(
    canvas: Canvas, x: npt.NDArray[np.float32], z: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Brightness of the worn ground: large patches in perspective, and fine noise."""
    patches = 1 + 0.09 * rng.standard_normal((64, 64), dtype=np.float32)
    columns, rows = (x * 1.5 + 31) % 62, (np.log(np.maximum(z, 0.1)) * 12) % 62
    flat = cv2.remap(patches, columns, rows, cv2.INTER_LINEAR)
    return flat * (1 + 0.06 * rng.standard_normal(x.shape, dtype=np.float32))


PlacedObject = tuple[float, Callable[[], None]]
"""The distance of an object, and the function that draws it."""


def _place_objects(canvas: Canvas, street: Street, rng: np.random.Generator) -> list[PlacedObject]:
    """Choose the objects on the ground, in any order."""
    placed: list[PlacedObject] = []

    def add(depth: float, label: int, draw: Callable[..., None], *where: float) -> None:
        brush = Brush(canvas, street, np.random.default_rng(rng.integers(1 << 62)), label)
        placed.append((depth, lambda: draw(brush, *where)))

    greenery = rng.uniform(0.4, 1.1)
    for side in (-1, 1):
        _add_houses(add, street, rng, side, greenery)
        _add_trees_and_signs(add, street, rng, side, greenery)
        _add_cars(add, street, rng, side)
    if rng.random() < 0.7:
        add(92, BUILDING, draw_building, 0, 60, 90, 92)
    for _ in range(rng.integers(2, 11)):
        z = rng.uniform(4, 15)
        on_road = rng.random() < 0.15
        across = rng.uniform(-1, 1) if on_road else rng.choice((-1, 1)) * rng.uniform(1.08, 1.6)
        add(z, PERSON, draw_person, across * street.half, z)
    return placed


def _add_houses(
    add: Callable[..., None], street: Street, rng: np.random.Generator, side: int, greenery: float
) -> None:
    """Add houses, hedges in front of some, and trees in the gaps."""
    edge = street.half + street.walk
    z = NEAR + rng.uniform(-8, 0)
    while z < 85:
        length = rng.uniform(7, 17)
        # The far end counts as the distance of a house, so that objects in front of it are drawn over it.
        if rng.random() < 0.2:
            add(z + length, VEGETATION, draw_tree, side * (edge + 2.5), z + length * 0.5)
        else:
            add(z + length, BUILDING, draw_building, side, edge, z, z + length)
            if rng.random() < 0.3 * greenery and z > 1:
                add(z + length - 0.1, VEGETATION, draw_hedge, side * (edge - 0.4), z, z + length * 0.8)
        z += length


def _add_trees_and_signs(
    add: Callable[..., None], street: Street, rng: np.random.Generator, side: int, greenery: float
) -> None:
    """Add trees and signs along the kerb."""
    for z in np.arange(rng.uniform(5, 11), 60, rng.uniform(8, 14)):
        if rng.random() < 0.7 * greenery:
            add(z, VEGETATION, draw_tree, side * (street.half + rng.uniform(0.7, 1.6)), z)
    for z in np.arange(rng.uniform(3.5, 9), 17, rng.uniform(5, 9)):
        if rng.random() < 0.75:
            add(z, SIGN, draw_sign, side * (street.half + rng.uniform(0.25, 0.6)), z)


def _add_cars(add: Callable[..., None], street: Street, rng: np.random.Generator, side: int) -> None:
    """Add cars parked at the kerb and cars in the lane."""
    parked = rng.uniform(0.1, 0.8)
    for z in np.arange(rng.uniform(4, 10), 55, rng.uniform(5.5, 7.5)):
        if rng.random() < parked:
            add(z, CAR, draw_car, side * (street.half - 1.05), z, side)
    lane = side * street.half * 0.38
    for z in np.arange(rng.uniform(7, 18), 60, rng.uniform(11, 22)):
        if rng.random() < 0.45:
            add(z, CAR, draw_car, lane + rng.uniform(-0.3, 0.3), z, side)


def _add_camera_effects(
    image: npt.NDArray[np.uint8], weather: Weather, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Add effects of a camera: exposure, colour cast, vignette, blur and sensor noise."""
    height, width = image.shape[:2]
    light = image.astype(np.float32) * np.asarray(weather.gain, np.float32) * rng.uniform(0.82, 1.18)
    light *= rng.uniform(0.96, 1.04, 3).astype(np.float32)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    light *= (1 - rng.uniform(0, 0.25) * (rows**2 + columns**2) / 2)[:, :, None].astype(np.float32)
    light = 255 * (np.clip(light, 0, 255) / 255) ** np.float32(rng.uniform(0.85, 1.2))
    blur = rng.random()
    if blur < 0.45:
        light = cv2.GaussianBlur(light, (5, 5), rng.uniform(0.4, 1.0))
    elif blur < 0.55:
        light = cv2.blur(light, (int(rng.integers(2, 5)), 1))
    light += rng.normal(0, rng.uniform(1.5, 7.0), light.shape).astype(np.float32)
    return np.asarray(np.clip(np.round(light), 0, 255), np.uint8)
