"""Timestamped streams of different rates, joined into windows as they come."""

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mm_keras._checks import PRESENT, check_bool, check_choice, check_int, check_names, check_number

PLACES = {"start": 0.0, "center": 0.5, "end": 1.0}
FILLS = ("zero", "hold")


@dataclasses.dataclass(frozen=True)
class Stream:
    """What one stream gives to each window: `count` items at evenly spaced times.

    A window is divided into `count` cells. For each, the item nearest to the cell's time is taken,
    if it is near enough; if none is, what `fill` says.

    Args:
        shape: Of one item, e.g. `(32, 32, 3)` of a frame, `(160,)` of a chunk of sound.
        count: Number of items in a window, e.g. frames per second times seconds.
        dtype: Of the items.
        place: Where in a cell its time is: `"start"` (a frame every cell, the first at the
            window's start), `"center"`, or `"end"` (of rare items, the latest).
        tolerance: How far from its time an item may be, in seconds; `None`: half a cell, or, at
            `"end"`, a cell.
        fill: What stands for an item that is not there: `"zero"`, or `"hold"`, the last one before
            it in the window, or the first after where there is none before. A model that has seen
            whole windows only may be confused by zeros among them. A window without any item has
            zeros either way, and `found` says what was there.
        join: Whether a window's items are joined along their first axis, rather than stacked:
            chunks of sound become a waveform, one row `(W,)` stays `(W,)`.
    """

    shape: tuple[int, ...]
    count: int = 1
    _: dataclasses.KW_ONLY
    dtype: str = "float32"
    place: str = "start"
    tolerance: float | None = None
    fill: str = "zero"
    join: bool = False

    def __post_init__(self):
        if not isinstance(self.shape, tuple) or not all(isinstance(n, int) for n in self.shape):
            raise TypeError(f"`shape` must be a tuple of integers. Received: shape={self.shape!r}.")
        check_int("count", self.count)
        check_choice("place", self.place, PLACES)
        if self.tolerance is not None:
            check_number("tolerance", self.tolerance)
        check_choice("fill", self.fill, FILLS)
        check_bool("join", self.join)
        if self.join and not self.shape:
            raise ValueError(
                "`join` must be False for items that are numbers. Received: join=True."
            )

    @property
    def window_shape(self) -> tuple[int, ...]:
        """Shape of what a window holds."""
        if self.join:
            return (self.count * self.shape[0], *self.shape[1:])
        return (self.count, *self.shape)


class Window(NamedTuple):
    """What all streams have to say about one stretch of time.

    Args:
        start: In seconds.
        inputs: `{name: array, "<name>_present": (1,) bool}`: a stream is present if any of its
            items is.
        found: `{name: (count,) bool}`: which items are there.
        late: `{name: number}`: items that came after the last window that they belong to had been
            given out, since the window before this.
    """

    start: float
    inputs: dict[str, np.ndarray]
    found: dict[str, np.ndarray]
    late: dict[str, int]


Events = Iterable[tuple[str, float, Any]]
Streams = Mapping[str, Iterable[tuple[float, Any]]]


def align_streams(
    streams: Streams | Events,
    layout: Mapping[str, Stream],
    *,
    window: float,
    hop: float | None = None,
    delay: float = 0.0,
    start: float | None = None,
) -> Iterator[Window]:
    """Joins timestamped streams of different rates into windows, in order, as they come.

    A window is given out as soon as any stream's time has passed its end by more than `delay` (and
    than the tolerance of its items asks for): a stream that stalls holds nothing up. What has not
    come by then is absent: zeros, or what `Stream.fill` says, and the presence says so. Memory is
    bounded by the windows that are open at a time, whatever the rates. When the streams end, so do
    the windows: the last one is the last to start by the latest timestamp.

    Args:
        streams: Of live sources: `(name, timestamp, value)` in the order of arrival, from all
            streams, e.g. out of a queue. Of recordings: `{name: (timestamp, value), …}`, each
            about in order; they are merged by time.
        layout: `{name: mm.data.Stream}`: what each gives to a window.
        window: Length of a window in seconds.
        hop: Step from one window's start to the next in seconds; `None`: `window`.
        delay: How long windows wait for items that come late, in seconds of the streams' time.
        start: Start of the first window in seconds; `None`: the first timestamp that comes.

    Yields:
        A `Window` each, ready for a model: batch `window.inputs`.

    Raises:
        ValueError: For arguments that don't fit, and for items of unknown streams, of another
            shape, or with a timestamp that is no finite number.

    Example:

    >>> import mm_keras as mm
    >>> video = [(0.00, [1.0]), (0.26, [2.0]), (0.74, [4.0])]  # the frame of 0.5 s is lost
    >>> layout = {"video": mm.data.Stream((1,), 4)}
    >>> for part in mm.data.align_streams({"video": video}, layout, window=1.0):
    ...     part.inputs["video"].ravel().tolist(), part.found["video"].tolist()
    ([1.0, 2.0, 0.0, 4.0], [True, True, False, True])
    """
    aligner = _Aligner(layout, window, window if hop is None else hop, delay, start)
    return aligner.run(_merge(streams) if isinstance(streams, Mapping) else streams)


def stream_dataset(
    make_streams: Callable[[], Streams | Events], layout: Mapping[str, Stream], **options
) -> tf.data.Dataset:
    """Returns the windows of `align_streams` as a dataset: `(inputs, start in seconds)`.

    Args:
        make_streams: A function that opens the streams; each pass over the dataset calls it.
        layout: As for `align_streams`.
        **options: The further arguments of `align_streams`.

    Returns:
        Single windows, for `.batch(…)` and `model.predict`, which ignores the start.

    Example:

    >>> import mm_keras as mm
    >>> layout = {"sensor": mm.data.Stream((2,), join=True, place="center")}
    >>> data = mm.data.stream_dataset(
    ...     lambda: {"sensor": [(0.1, [1, 2]), (1.2, [3, 4])]}, layout, window=1.0, start=0.0
    ... )
    >>> [inputs["sensor"].numpy().tolist() for inputs, _ in data]
    [[1.0, 2.0], [3.0, 4.0]]
    """
    align_streams({}, layout, **options)  # raises for arguments that don't fit
    signature = {}
    for name, stream in layout.items():
        signature[name] = tf.TensorSpec(stream.window_shape, stream.dtype)
        signature[name + PRESENT] = tf.TensorSpec((1,), tf.bool)

    def windows() -> Iterator[tuple]:
        for part in align_streams(make_streams(), layout, **options):
            yield part.inputs, part.start

    return tf.data.Dataset.from_generator(
        windows, output_signature=(signature, tf.TensorSpec((), tf.float64))
    )


def _merge(streams: Streams) -> Iterator[tuple[str, float, Any]]:
    def tagged(name):
        return ((name, timestamp, value) for timestamp, value in streams[name])

    return heapq.merge(*(tagged(name) for name in streams), key=lambda event: event[1])


class _Slots:
    """The items of one stream in one window: for each cell the nearest one so far."""

    def __init__(self, count: int):
        self.rank = [(math.inf, math.inf)] * count  # distance, then time
        self.values: list[np.ndarray | None] = [None] * count

    def offer(self, cell: int, distance: float, timestamp: float, value: np.ndarray) -> None:
        if (distance, timestamp) < self.rank[cell]:
            self.rank[cell] = (distance, timestamp)
            self.values[cell] = value

    def fill(self, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        """Returns the array of the window and which items are there."""
        array = np.zeros((stream.count, *stream.shape), stream.dtype)
        for cell, value in enumerate(self.values):
            if value is not None:
                array[cell] = value
        found = np.array([value is not None for value in self.values])
        if stream.fill == "hold" and found.any():
            cells = np.arange(stream.count)
            before = np.maximum.accumulate(np.where(found, cells, -1))
            array = array[np.where(before < 0, np.argmax(found), before)]
        return array.reshape(stream.window_shape), found


class _Aligner:
    """The windows that are open, and what has come for them."""

    def __init__(self, layout, window, hop, delay, start):
        if not isinstance(layout, Mapping) or not layout:
            raise ValueError(
                f"`layout` must be {{name: mm.data.Stream}}, with at least one. "
                f"Received: layout={layout!r}."
            )
        check_names("layout", layout)
        for name, stream in layout.items():
            if not isinstance(stream, Stream):
                raise TypeError(
                    f"`layout[{name!r}]` must be a mm.data.Stream. Received: {stream!r}."
                )
        for argument, value in (("window", window), ("hop", hop)):
            check_number(argument, value, minimum=1e-6)
        check_number("delay", delay)
        if start is not None:
            check_number("start", start, minimum=-math.inf)
        self.layout, self.window, self.hop, self.start = dict(layout), window, hop, start
        self.offsets, self.tolerance = {}, {}
        for name, stream in layout.items():
            cell = window / stream.count
            self.offsets[name] = (np.arange(stream.count) + PLACES[stream.place]) * cell
            default = cell if stream.place == "end" else cell / 2
            self.tolerance[name] = default if stream.tolerance is None else stream.tolerance
        # How long after its start a window has to wait for the last item that may be its own.
        reach = max(self.offsets[name][-1] + self.tolerance[name] for name in layout)
        self.wait = max(window, reach) + delay
        self.next = 0  # number of the next window that is given out
        self.open: dict[int, dict[str, _Slots]] = {}
        self.late = dict.fromkeys(layout, 0)
        self.now = -math.inf

    def run(self, events: Events) -> Iterator[Window]:
        for name, timestamp, value in events:
            timestamp, value = self._check(name, timestamp, value)
            if self.start is None:
                self.start = timestamp
            self.now = max(self.now, timestamp)
            while self.now > self._start_of(self.next) + self.wait:
                yield self._close()
            self._insert(name, timestamp, value)
        while self.start is not None and self._start_of(self.next) <= self.now:
            yield self._close()

    def _check(self, name, timestamp, value) -> tuple[float, np.ndarray]:
        check_choice("streams", name, self.layout)
        timestamp = float(timestamp)
        if not math.isfinite(timestamp):
            raise ValueError(
                f"`streams` must have finite timestamps. Received: {timestamp} in {name!r}."
            )
        stream = self.layout[name]
        value = np.asarray(value, stream.dtype)
        if value.shape != stream.shape:
            raise ValueError(
                f"`streams` must give {name!r} in items of shape {stream.shape}. "
                f"Received: {value.shape} at {timestamp} s."
            )
        return timestamp, value

    def _start_of(self, number: int) -> float:
        return self.start + number * self.hop

    def _insert(self, name: str, timestamp: float, value: np.ndarray) -> None:
        offsets, tolerance = self.offsets[name], self.tolerance[name]
        since = timestamp - self.start
        # One more window on either side, for rounding: distances decide.
        first = math.floor((since - tolerance - offsets[-1]) / self.hop) - 1
        last = math.ceil((since + tolerance - offsets[0]) / self.hop) + 1
        belongs = taken = False
        for number in range(max(first, 0), last + 1):
            distances = np.abs(self._start_of(number) + offsets - timestamp)
            cells = np.flatnonzero(distances <= tolerance)
            if not cells.size:
                continue
            belongs = True
            if number < self.next:
                continue
            taken = True
            if number not in self.open:
                self.open[number] = {k: _Slots(stream.count) for k, stream in self.layout.items()}
            for cell in cells:
                self.open[number][name].offer(cell, distances[cell], timestamp, value)
        self.late[name] += belongs and not taken

    def _close(self) -> Window:
        slots = self.open.pop(self.next, None)
        inputs, found = {}, {}
        for name, stream in self.layout.items():
            mine = slots[name] if slots else _Slots(stream.count)
            inputs[name], found[name] = mine.fill(stream)
            inputs[name + PRESENT] = found[name].any(keepdims=True)
        late, self.late = self.late, dict.fromkeys(self.layout, 0)
        window = Window(self._start_of(self.next), inputs, found, late)
        self.next += 1
        return window
