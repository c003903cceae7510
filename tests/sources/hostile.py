"""What a broken, misconfigured or malicious server may send; each case with what must become of it.

The receiver expects images of (2, 3) uint16. A case is one message; it takes the next number unless it says
otherwise, and a good message follows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.sources.hostile_samples import attribute, compressed, dimensions, events, ntndarray

IMAGE = np.arange(6, dtype="u2").reshape(2, 3)
SQUARE = np.arange(4096, dtype="u2").reshape(64, 64)
RGB = np.arange(18, dtype="u2").reshape(2, 3, 3)
BIG = 2**31 - 1


@dataclass(frozen=True)
class Case:
    """`fate` of its frame, and what must stand in the reason where it was decoded and refused.

    `step` is from the number of the good message before; `number` overrules it.
    """

    name: str
    message: Callable[[], dict[str, Any]]
    fate: str = "corrupt"
    reason: str = ""
    step: int = 1
    number: int | None = None


def good():
    return ntndarray(IMAGE)


def image(**change):
    return lambda: ntndarray(IMAGE) | change


def packed(words, **options):
    return lambda: events(words, **options)


def squeezed(kind, /, **change):
    """A larger image, so that the payload has something to lose; of another shape than was announced."""
    return lambda: ntndarray(SQUARE, codec=kind) | change


def payload(kind, spoil):
    """The compressed square, its payload spoilt."""

    def make():
        data = spoil(compressed(kind, SQUARE).copy())
        return ntndarray(SQUARE, codec=kind) | {
            "value": ({"ubyteValue": data},),
            "compressedSize": data.size,
        }

    return make


def overwritten(at, *numbers):
    def spoil(data):
        data[at : at + len(numbers)] = numbers
        return data

    return spoil


def mode(number, data=IMAGE):
    return lambda: ntndarray(data) | {"attribute": [attribute("ColorMode", number)]}


def stamp(seconds, nanoseconds=0):
    return image(timeStamp={"secondsPastEpoch": seconds, "nanoseconds": nanoseconds, "userTag": 0})


def codec(name, parameters=6):
    """The label of a codec on an image that is not compressed, or of another type."""
    return {"name": name, "parameters": ({"value": parameters},)}


CASES = [
    # Dimensions
    Case("no dimensions", image(dimension=[]), reason="neither an image"),
    Case("one dimension", image(dimension=dimensions(6)), reason="packed events of uint16"),
    Case("four dimensions", image(dimension=dimensions(3, 2, 1, 1)), reason="neither an image"),
    Case("a thousand dimensions", image(dimension=dimensions(*[1] * 1000)), reason="neither an image"),
    Case("a dimension of none", image(dimension=dimensions(0, 2)), reason="neither an image"),
    Case("negative dimensions", image(dimension=dimensions(-3, -2)), reason="neither an image"),
    Case("a product beyond 64 bits", image(dimension=dimensions(BIG, BIG, BIG)), reason="6 values"),
    Case("too few pixels", image(dimension=dimensions(3, 3)), reason="6 values"),
    Case("too many pixels", image(dimension=dimensions(2, 2)), reason="6 values"),
    Case("no pixels", image(value=({"ushortValue": IMAGE[:0].ravel()},)), reason="0 values"),
    Case("x and y exchanged", image(dimension=dimensions(2, 3))),  # an image, but not the one announced
    # Another type, another layout
    Case("floats", lambda: ntndarray(IMAGE.astype("f8"))),
    Case("signed", lambda: ntndarray(IMAGE.astype("i2"))),
    Case("a stack", lambda: ntndarray(np.stack([IMAGE, IMAGE]))),
    Case(
        "booleans", image(value=({"booleanValue": [True] * 6},)), reason="'booleanValue', which is no image"
    ),
    Case("nothing at all", image(value=()), fate="missing"),
    # Colour
    Case("Bayer", mode(1), reason="colour mode Bayer"),
    Case("RGB1", mode(2, RGB), reason="colour mode RGB1"),
    Case("RGB2", mode(3, RGB), reason="colour mode RGB2"),
    Case("RGB3", mode(4, RGB), reason="colour mode RGB3"),
    Case("YUV444", mode(5, RGB), reason="colour mode YUV444"),
    Case("YUV422", mode(6), reason="colour mode YUV422"),
    Case("YUV421", mode(7), reason="colour mode YUV421"),
    Case("a colour nobody knows", mode(-9), reason="colour mode number -9"),
    Case("a colour in words", mode("Mono"), reason="ColorMode is missing or no number"),
    Case("a colour that is no number", mode(float("nan")), reason="ColorMode is missing or no number"),
    # Attributes
    Case("no attributes", image(attribute=[]), fate="accepted"),
    Case("nameless attributes", image(attribute=[attribute("", 1)] * 50), fate="accepted"),
    Case("an attribute of a megabyte", image(attribute=[attribute("x", "y" * 2**20)]), fate="accepted"),
    Case("two colours", image(attribute=[attribute("ColorMode", n) for n in (0, 2)]), reason="RGB1"),
    # Clocks
    Case("a clock before 1970", stamp(-5), reason="time stamp of -5 s"),
    Case("a clock of another age", stamp(2**62), reason="is none"),
    Case("negative nanoseconds", stamp(1000, -1), reason="-1 ns is none"),
    Case("too many nanoseconds", stamp(1000, 10**9), reason="is none"),
    Case("a clock that jumps back", stamp(1), fate="accepted"),
    Case("a clock that jumps ahead", stamp(2**32), fate="accepted"),
    # Numbers
    Case("the same number again", good, fate="duplicate", step=0),
    Case("a number long past", good, fate="duplicate", step=-7),
    Case("the number before the first", good, fate="stale", number=0),
    Case("a negative number", good, fate="stale", number=-BIG),
    Case("a number never asked for", good, fate="stale", number=BIG),
    Case("a jump by three", good, fate="accepted, 3 missing", step=4),
    Case("late, when given up", good, fate="stale", step=-4),
    Case("corrupt, and late", image(dimension=[]), fate="stale", step=-4, reason="neither an image"),
    Case("corrupt, and again", image(dimension=[]), fate="duplicate", step=0, reason="neither an image"),
    # Codecs
    Case(
        "an unknown codec",
        image(codec=codec("zlib"), value=({"ubyteValue": IMAGE.view("u1").ravel()},), compressedSize=12),
        reason="codec 'zlib' is unknown",
    ),
    Case("lz4 that is none", image(codec=codec("lz4")), reason="holds uint16, not bytes"),
    Case("lz4 said to be blosc", squeezed("lz4", codec=codec("blosc")), reason="blosc"),
    Case("blosc said to be lz4", squeezed("blosc lz4", codec=codec("lz4")), reason="lz4"),
    Case("bslz4 said to be lz4", squeezed("bslz4", codec=codec("lz4")), reason="lz4"),
    Case("lz4 said to be bslz4", squeezed("lz4", codec=codec("bslz4")), reason="block"),
    Case("lz4 said to be jpeg", squeezed("lz4", codec=codec("jpeg")), reason="jpeg"),
    Case(
        "lz4 without its type", squeezed("lz4", codec={"name": "lz4", "parameters": ()}), reason="parameters"
    ),
    Case("lz4 of a type in words", squeezed("lz4", codec=codec("lz4", "u2")), reason="parameters"),
    Case("lz4 of strings", squeezed("lz4", codec=codec("lz4", 11)), reason="parameter 11"),
    Case("lz4 of bytes", squeezed("lz4", codec=codec("lz4", 5)), reason="8192"),
    Case("a negative compressed size", squeezed("lz4", compressedSize=-1), reason="states -1 bytes"),
    Case("an absurd compressed size", squeezed("lz4", compressedSize=2**62), reason=f"states {2**62} bytes"),
    Case("no compressed size", squeezed("lz4", compressedSize=0), reason="lz4"),
    Case("an absurd uncompressed size", squeezed("lz4", uncompressedSize=2**62), reason=f"for {2**62}"),
    Case(
        "a forged image of 8 exabytes",
        squeezed("lz4", dimension=dimensions(2**31 - 1, 2**31 - 1), uncompressedSize=(2**31 - 1) ** 2 * 2),
        reason="larger than any message",
    ),
    Case(
        "a bomb",
        lambda: (
            ntndarray(np.zeros(2**22, "u2")[None], codec="lz4")
            | {"dimension": dimensions(3, 2), "uncompressedSize": 12}
        ),
        reason="cannot be decompressed",
    ),
    Case("lz4 without its end", payload("lz4", lambda data: data[:-9]), reason="lz4"),
    Case("lz4 with more", payload("lz4", lambda data: np.append(data, data)), reason="lz4"),
    Case("lz4 of no bytes", payload("lz4", lambda data: data[:0]), reason="lz4"),
    Case(
        "an lz4 chunk without its end",
        payload("lz4 chunk", lambda data: data[:-9]),
        reason="block at byte 12",
    ),
    Case(
        "an lz4 chunk of no blocks", payload("lz4 chunk", lambda data: data[:12]), reason="block at byte 12"
    ),
    Case("bslz4 without its end", payload("bslz4", lambda data: data[:-9]), reason="block"),
    Case("a bslz4 block beyond its end", payload("bslz4", overwritten(0, 127, 255)), reason="states"),
    Case("a bslz4 block of no bytes", payload("bslz4", overwritten(0, 0, 0, 0, 0)), reason="states 0 bytes"),
    Case("absurd bslz4 blocks", payload("bslz4 chunk", overwritten(8, 255, 255)), reason="blocks"),
    Case("blosc without its end", payload("blosc lz4", lambda data: data[:-9]), reason="blosc frame states"),
    Case(
        "blosc of another size",
        payload("blosc zstd", overwritten(4, 255, 255, 255, 127)),
        reason="blosc frame",
    ),
    Case(
        "blosc with absurd blocks", payload("blosc lz4", overwritten(8, 255, 255, 255, 127)), reason="blosc"
    ),
    Case("blosc of an unknown version", payload("blosc lz4", overwritten(0, 99)), reason="blosc"),
    Case(
        "jpeg of 16 bits",
        lambda: (
            ntndarray(SQUARE.astype("u1"), codec="jpeg") | {"codec": codec("jpeg"), "uncompressedSize": 8192}
        ),
        reason="jpeg holds one image of 8 bits",
    ),
    Case(
        "jpeg without its end",
        lambda: ntndarray(SQUARE.astype("u1"), codec="jpeg") | {"compressedSize": 300},
        reason="jpeg has no end",
    ),
    Case("an intact image of another shape", squeezed("bslz4")),
    # Packed events
    Case("events where images were announced", packed([(100, 0, 1)])),
    Case("an event outside the image", packed([(100, 6, 1)]), reason="event 0 .* or outside"),
    Case("an event before its message", packed([(99, 0, 1)]), reason="event 0"),
    Case("an event after its message", packed([(103, 0, 1), (104, 0, 1)]), reason="event 1"),
    Case("events out of order", packed([(102, 0, 1), (101, 0, 1)]), reason="event 1"),
    Case(
        "events without their attributes",
        lambda: packed([])() | {"attribute": []},
        reason="FirstFrame is missing",
    ),
    Case("no frames of events", packed([], frames=0), reason=r"frames 100 \+ 0 do not fit"),
    Case("a billion frames of events", packed([], frames=10**9), reason="do not fit"),
    Case("frames before the first", packed([], first=-1), reason="do not fit"),
    Case("events of an image of none", packed([], nx=0), reason="are empty, or larger"),
    Case("events of too large an image", packed([], nx=2**31, ny=2**31), reason="or larger"),
    Case(
        "events said to be more",
        lambda: packed([(100, 0, 1)])() | {"dimension": dimensions(2)},
        reason="1 values",
    ),
    Case(
        "events compressed wrongly",
        lambda: packed([(100, 0, 1)], codec="lz4")() | {"codec": codec("bslz4", 8)},
        reason="block",
    ),
]


def numbered():
    """Every message that is sent, in order: a good one, then each case and a good one behind it."""
    last = 1
    yield last, None
    for case in CASES:
        number = last + case.step if case.number is None else case.number
        yield number, case
        last = max(last, last + case.step if case.number is None else last) + 1
        yield last, None
