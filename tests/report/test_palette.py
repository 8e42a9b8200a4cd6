"""Colours that tell things apart stay apart for people who see few of them, in light and in dark."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from klaviyo_nb.report import diagrams, series
from klaviyo_nb.report.charts import answers
from klaviyo_nb.report.look import COLOURS

Floats = NDArray[np.float64]

#: What people see without one kind of cone, in linear light: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes,
#: A physiologically-based model for simulation of color vision deficiency, IEEE Transactions on Visualization
#: and Computer Graphics 15 (2009), severity 1.0.
SIGHT = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
#: From linear sRGB to Oklab: https://bottosson.github.io/posts/oklab/
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
#: Least distance in Oklab; 0.02 can just be seen (https://www.w3.org/TR/css-color-4/#color-difference-OK).
APART = 0.065
#: Colours that stand in one chart, each for something else.
TOGETHER = {
    "calls by status": tuple(dict.fromkeys(series.CLASSES.values())),
    "map of failures": tuple(role for _, role, _ in answers._LEVELS),
    "ledger": tuple(role for role, _ in answers._BECAME.values()),
    "use of a limit": ("series", "throttled"),
    "durations": ("series", "band", "paper"),
    "timeline": tuple(role for role, _ in diagrams._LANES.values()),
}


def seen(colour: str, sight: str) -> Floats:
    """A colour in Oklab, as one kind of sight has it."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    found: Floats = np.array(TO_LAB) @ np.cbrt(
        np.array(TO_CONES) @ np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    )
    return found


def apart(one: str, other: str, sight: str) -> float:
    return float(np.linalg.norm(seen(one, sight) - seen(other, sight)))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("chart", TOGETHER)
def test_colours_of_one_chart_are_told_apart(chart: str, mode: int, sight: str) -> None:
    for one, other in combinations(TOGETHER[chart], 2):
        assert apart(COLOURS[one][mode], COLOURS[other][mode], sight) >= APART, (one, other)


def test_red_and_green_of_one_lightness_are_one_colour_without_their_cones() -> None:
    assert apart("#b85c38", "#7d7a2c", "all cones") > APART
    assert apart("#b85c38", "#7d7a2c", "deuteranopia") < APART


def test_white_stays_white() -> None:
    for sight in SIGHT:
        assert seen("#ffffff", sight) == pytest.approx([1, 0, 0], abs=1e-3)
