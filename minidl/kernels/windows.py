"""The windows of a convolution: where they begin, what they see, and the memory in which neighbours are neighbours.

A convolution's windows lie `stride` apart. Of an image with a stride of 2, the even columns and the odd ones are images
of their own, and in each of them the windows that see it are neighbours again; likewise the rows. So a kernel that
wants neighbouring windows cuts the image into such *phases*, puts a frame of zeros around it while it copies, and then
every tap of a window is one offset, whatever the stride, padding and dilation are.

A task frames only the rows that it needs, into memory that stays in its core's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from minidl.kernels.jit import helper
from minidl.kernels.simd import at, move, narrow_columns

Pair = tuple[int, int]
move_register, move_half = move(1), move(2)
FRAME = 1 << 18  # bytes: a task frames so much at once, more only for a single row of windows


@dataclass(frozen=True)
class Windows:
    """The windows on an image, the same for all its channels.

    Attributes:
        places: (P, Q), how many there are.
        frame: (top, left), the zeros before the image; where negative, so much of it is not seen.
        stride: how far apart windows are, rows and columns.
        rows, columns: of a filter's taps (r, s), where they lie in a window.
    """

    places: Pair
    frame: Pair
    stride: Pair
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def phases(self) -> tuple[list[int], list[int]]:
        """The phases, of rows and of columns, that a tap sees."""
        return sorted({r % self.stride[0] for r in self.rows}), sorted({s % self.stride[1] for s in self.columns})

    def reach(self) -> Pair:
        """How many rows and columns of a phase follow a window's first one."""
        return max(self.rows) // self.stride[0], max(self.columns) // self.stride[1]

    def lie_in(self, size: Pair) -> bool:
        """Whether the image itself, of that size, serves: it needs no frame, and rows follow each other as here."""
        high, wide = self.places[0] + self.reach()[0], self.places[1] + self.reach()[1]
        return self.frame == (0, 0) and self.stride == (1, 1) and high <= size[0] and wide == size[1]


@dataclass(frozen=True)
class Layout:
    """How windows are framed.

    Attributes:
        taps: where the taps (c, r, s) of a window lie.
        numbers: for `frame_rows`.
        band: so many rows of windows are framed at once; there are `bands` of them.
        wide: so long is a row of the frame.
        size: values of the frame; 0 if the image itself serves.
    """

    taps: np.ndarray
    numbers: np.ndarray
    band: int
    bands: int
    wide: int
    size: int


@lru_cache(maxsize=256)
def layout(windows: Windows, channels: int, size: Pair, itemsize: int, parts: int, least: int) -> Layout:
    """For so many channels of images of that size, in at least `parts` bands if possible.

    `least` is how many neighbouring places are read at once: the image itself must have as many.
    """
    (P, Q), (sh, sw) = windows.places, windows.stride
    (down, along), (below, beside) = windows.phases(), windows.reach()
    planes, wide = channels * len(down) * len(along), Q + beside
    band = max(1, min(FRAME // (planes * wide * itemsize) - below, -(-P // parts)))
    bands = -(-P // band)
    band = -(-P // bands)
    bands = -(-P // band)
    high = band + below
    in_place = windows.lie_in(size) and (P - (bands - 1) * band) * wide >= least + beside
    if in_place:
        high = size[0]
    r = [down.index(r % sh) * len(along) * high + r // sh for r in windows.rows]
    s = [along.index(s % sw) * high * wide + s // sw for s in windows.columns]
    plane = np.arange(channels)[:, None, None] * (len(down) * len(along) * high * wide)
    taps = (plane + np.array(r)[:, None] * wide + np.array(s)).ravel()
    numbers = np.array([*windows.stride, *windows.frame, high, wide, len(down), len(along), *down, *along])
    return Layout(taps, numbers, band, bands, wide, 0 if in_place else planes * high * wide)


@helper()
def frame_rows(x, n, first_channel, channels, first, numbers, framed, start):  # type: ignore[no-untyped-def]
    """framed[start:] for some channels of image n: phases of the rows that the windows from row `first` on see."""
    sh, sw, top, left, high, wide = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    downs, alongs = numbers[6], numbers[7]
    _, C, H, W = x.shape
    values, to = x.reshape(-1), start
    for c in range(channels):
        plane = (n * C + first_channel + c) * H * W
        for i in range(downs):
            for j in range(alongs):
                shift = numbers[8 + downs + j] - left
                begin = min(max((sw - 1 - shift) // sw, 0), wide)
                end = max(min((W - shift + sw - 1) // sw, wide), begin)
                for line in range(high):
                    h = (first + line) * sh + numbers[8 + i] - top
                    last = end if 0 <= h < H else begin
                    source = plane + h * W + shift
                    for w in range(begin):
                        framed[at(to + w)] = 0
                    if sw == 1:
                        put_row(values, source + begin, last - begin, values.dtype.type(0), framed, to + begin, 1)
                    else:
                        for w in range(begin, last):
                            framed[at(to + w)] = values[at(source + sw * w)]
                    for w in range(last, wide):
                        framed[at(to + w)] = 0
                    to += wide


@helper()
def put_row(x, start, count, shift, y, to, along):  # type: ignore[no-untyped-def]
    """y[to + j · along] = x[start + j] + shift for j < count; the last vector begins earlier and repeats values."""
    lanes = narrow_columns(x)
    half = lanes // 2
    if along == 1 and count >= lanes:
        for j in range(0, count - lanes, lanes):
            move_register(x, start + j, y, to + j, shift)
        move_register(x, start + count - lanes, y, to + count - lanes, shift)
    elif along == 1 and count >= half:
        move_half(x, start, y, to, shift)
        move_half(x, start + count - half, y, to + count - half, shift)
    else:
        for j in range(count):
            y[at(to + j * along)] = x[at(start + j)] + shift
