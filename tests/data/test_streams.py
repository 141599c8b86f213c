"""`align_streams` against a simple reference that sees everything at once."""

import weakref

import numpy as np
import pytest

import mm_keras as mm
from mm_keras.data import Stream, align_streams, stream_dataset

PLACE = {"start": 0.0, "center": 0.5, "end": 1.0}


def reference(events, layout, window, hop, delay, start):
    """Every window in turn, from all events that had come before it was due."""
    start = events[0][1] if start is None else start
    tolerances, offsets = {}, {}
    for name, stream in layout.items():
        cell = window / stream.count
        offsets[name] = [(i + PLACE[stream.place]) * cell for i in range(stream.count)]
        default = cell if stream.place == "end" else cell / 2
        tolerances[name] = default if stream.tolerance is None else stream.tolerance
    wait = max(window, *(offsets[n][-1] + tolerances[n] for n in layout)) + delay
    latest = max(timestamp for _, timestamp, _ in events)
    windows, number = [], 0
    while start + number * hop <= latest:
        begin = start + number * hop
        due = next((i for i, e in enumerate(events) if e[1] > begin + wait), len(events))
        found = {}
        for name in layout:
            cells = []
            for offset in offsets[name]:
                near = [
                    (abs(begin + offset - timestamp), timestamp, order, value)
                    for order, (source, timestamp, value) in enumerate(events[:due])
                    if source == name and abs(begin + offset - timestamp) <= tolerances[name]
                ]
                cells.append(min(near)[3] if near else None)
            found[name] = cells
        windows.append((begin, found))
        number += 1
    return windows


def random_case(seed):
    rng = np.random.default_rng(seed)
    layout, events = {}, []
    window = float(rng.uniform(0.5, 2))
    for name in ("a", "b", "c")[: rng.integers(1, 4)]:
        rate = rng.uniform(0.5, 20)
        layout[name] = Stream(
            (),
            max(1, round(rate * window)),
            place=str(rng.choice(list(PLACE))),
            tolerance=None if rng.random() < 0.6 else float(rng.uniform(0, 1.5 / rate)),
        )
        times = np.arange(0, 8, 1 / rate)
        times = times + rng.normal(0, rng.choice([0, 0.2, 1]) / rate, len(times))
        times = times[rng.random(len(times)) > rng.choice([0, 0.1, 0.5])]
        arrival = times + rng.exponential(rng.choice([0.001, 0.2]), len(times))
        events += [
            (a, (name, float(t), float(i + 1)))
            for i, (t, a) in enumerate(zip(times, arrival, strict=True))
        ]
    events = [event for _, event in sorted(events)]
    hop = float(window * rng.choice([0.3, 1.0, 1.4]))
    options = {"window": window, "hop": hop, "delay": float(rng.choice([0.0, 0.3]))}
    return events, layout, options | {"start": None if rng.random() < 0.5 else 0.0}


@pytest.mark.parametrize("seed", range(40))
def test_random_rates_jitter_and_drops(seed):
    events, layout, options = random_case(seed)
    windows = list(align_streams(iter(events), layout, **options))
    expected = reference(events, layout, **options)
    assert len(windows) == len(expected)
    for ours, (begin, found) in zip(windows, expected, strict=True):
        assert ours.start == pytest.approx(begin)
        for name, cells in found.items():
            assert ours.found[name].tolist() == [value is not None for value in cells]
            assert ours.inputs[name].tolist() == [value or 0.0 for value in cells]
            assert ours.inputs[f"{name}_present"].tolist() == [any(v is not None for v in cells)]


def test_the_random_cases_have_everything_in_them():
    absent = late = found = 0
    for seed in range(40):
        events, layout, options = random_case(seed)
        for window in align_streams(iter(events), layout, **options):
            late += sum(window.late.values())
            absent += sum((~cells).sum() for cells in window.found.values())
            found += sum(cells.sum() for cells in window.found.values())
    assert late > 30
    assert absent > 500
    assert found > 2000


def test_different_rates_on_a_grid():
    """Exact grids don't depend on the rounding of their times."""
    video = [(frame / 25, np.full((2, 2, 1), frame)) for frame in range(75)]
    audio = [(chunk / 100, np.full(80, chunk)) for chunk in range(300)]
    text = [(0.7, [3, 4]), (2.2, [5, 6])]
    layout = {
        "video": Stream((2, 2, 1), 25),
        "audio": Stream((80,), 100, join=True),
        "text": Stream((2,), dtype="int32", place="center", join=True),
    }
    streams = {"video": video, "audio": audio, "text": text}
    windows = list(align_streams(streams, layout, window=1.0))
    assert [window.start for window in windows] == [0.0, 1.0, 2.0]
    for number, window in enumerate(windows):
        assert window.inputs["video"].shape == (25, 2, 2, 1)
        assert window.inputs["video"][:, 0, 0, 0].tolist() == list(
            range(25 * number, 25 * number + 25)
        )
        assert window.inputs["audio"].shape == (8000,)
        np.testing.assert_array_equal(
            window.inputs["audio"], np.repeat(np.arange(100 * number, 100 * number + 100), 80)
        )
        assert window.inputs["text"].dtype == "int32"
    assert [window.inputs["text"].tolist() for window in windows] == [[3, 4], [0, 0], [5, 6]]
    assert [bool(window.inputs["text_present"][0]) for window in windows] == [True, False, True]


def test_windows_come_while_the_stream_runs():
    """A window is out as soon as time has passed it, and a stream that stalls holds nothing up."""
    sent = []

    def live():
        for step in range(40):
            sent.append(step / 10)
            yield "a", step / 10, step
            if step < 5:  # then it stalls
                yield "b", step / 10, step

    layout = {"a": Stream((), 10), "b": Stream((), 10)}
    windows = align_streams(live(), layout, window=1.0, delay=0.2)
    for number, window in enumerate(windows):
        assert window.start == number
        if number < 2:
            assert number + 1.2 <= sent[-1] < number + 1.2 + 0.2
        assert window.found["a"].all()
        assert window.found["b"].sum() == (5 if number == 0 else 0)


def test_late_items_are_absent_and_counted():
    events = [("a", 0.0, 1), ("a", 1.0, 2), ("a", 2.0, 3), ("a", 0.5, 9), ("a", 3.0, 4)]
    layout = {"a": Stream((), 2)}
    windows = list(align_streams(events, layout, window=1.0))
    assert windows[0].inputs["a"].tolist() == [1, 0]
    assert [window.late["a"] for window in windows] == [0, 1, 0, 0]
    patient = list(align_streams(events, layout, window=1.0, delay=2.0))
    assert patient[0].inputs["a"].tolist() == [1, 9]
    assert sum(window.late["a"] for window in patient) == 0


def test_gaps_between_windows_and_overlaps():
    events = [("a", step / 10, step) for step in range(30)]
    apart = list(align_streams(events, {"a": Stream((), 5)}, window=0.5, hop=1.0))
    assert [window.inputs["a"].tolist() for window in apart] == [
        [0, 1, 2, 3, 4],
        [10, 11, 12, 13, 14],
        [20, 21, 22, 23, 24],
    ]
    assert not any(window.late["a"] for window in apart)
    overlapping = list(align_streams(events, {"a": Stream((), 10)}, window=1.0, hop=0.5))
    np.testing.assert_array_equal(overlapping[1].inputs["a"], np.arange(5, 15))
    assert overlapping[-1].found["a"].tolist() == [True] * 5 + [False] * 5


def test_memory_is_bounded():
    alive, most = 0, 0

    def forget():
        nonlocal alive
        alive -= 1

    def live():
        nonlocal alive, most
        for step in range(20_000):
            value = np.full(4, step, "float32")
            alive += 1
            most = max(most, alive)
            weakref.finalize(value, forget)
            yield "fast", step / 1000, value
            del value

    layout = {"fast": Stream((4,), 10), "silent": Stream((), 3)}
    aligned = align_streams(live(), layout, window=0.5, hop=0.1, delay=0.2)
    assert sum(1 for _ in aligned) == 200
    # At most (window + tolerance + delay) / hop windows are open, of 10 items each.
    assert 10 < most < 120


def test_after_a_long_silence_every_window_comes_in_order():
    events = [("a", 0.0, 1), ("a", 100.0, 2)]
    windows = list(align_streams(events, {"a": Stream(())}, window=1.0))
    assert [window.start for window in windows] == list(range(101))
    assert [bool(w.inputs["a_present"][0]) for w in windows] == [True] + [False] * 99 + [True]


def test_nothing_comes():
    assert list(align_streams([], {"a": Stream(())}, window=1.0)) == []


def test_a_model_predicts_from_the_dataset():
    specs = {
        "video": mm.Video(5, (8, 8, 1), backbone="SmallCNN", optional=True),
        "sensor": mm.Features(3, optional=True),
    }
    model = mm.build_mcnn(specs, 4, width=8)
    layout = {
        "video": Stream((8, 8, 1), 5, dtype="uint8"),
        "sensor": Stream((3,), place="center", join=True),
    }

    def streams():
        frames = ((i / 5, np.full((8, 8, 1), i)) for i in range(20))
        return {"video": frames, "sensor": [(1.5, [1, 2, 3])]}

    data = stream_dataset(streams, layout, window=1.0)
    for _ in range(2):
        inputs, starts = next(iter(data.batch(8)))
        assert starts.numpy().tolist() == [0, 1, 2, 3]
        assert inputs["sensor_present"].numpy()[:, 0].tolist() == [False, True, False, False]
    assert model.predict(data.batch(2), verbose=0)["label"].shape == (4, 4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layout": {}}, ValueError, "`layout` must be"),
        ({"layout": {"a": 3}}, TypeError, r"`layout\['a'\]` must be a mm\.data\.Stream"),
        ({"layout": {"a b": Stream(())}}, ValueError, "`layout` must have names"),
        ({"window": 0}, ValueError, "`window` must be at least"),
        ({"hop": -1}, ValueError, "`hop` must be at least"),
        ({"delay": -1}, ValueError, "`delay` must be at least"),
        ({"start": "now"}, TypeError, "`start` must be a number"),
        ({"streams": [("b", 0.0, 1)]}, ValueError, "`streams` must be one of"),
        ({"streams": [("a", float("nan"), 1)]}, ValueError, "finite timestamps. Received: nan"),
        ({"streams": [("a", 0.5, [1, 2])]}, ValueError, r"items of shape \(\).*\(2,\) at 0.5 s"),
    ],
)
def test_errors(options, error, message):
    options = {"streams": [("a", 0.0, 1)], "layout": {"a": Stream(())}, "window": 1.0} | options
    with pytest.raises(error, match=message):
        list(align_streams(options.pop("streams"), options.pop("layout"), **options))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Stream([2]), TypeError, "`shape` must be a tuple of integers"),
        (lambda: Stream((2,), 0), ValueError, "`count` must be an integer of at least 1"),
        (lambda: Stream((2,), place="middle"), ValueError, "`place` must be one of"),
        (lambda: Stream((2,), tolerance=-1), ValueError, "`tolerance` must be at least"),
        (lambda: Stream((), join=True), ValueError, "`join` must be False"),
        (lambda: Stream((2,), join=1), TypeError, "`join` must be a bool"),
        (lambda: stream_dataset(dict, {}, window=1.0), ValueError, "`layout` must be"),
    ],
)
def test_errors_of_layouts(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_lost_item_is_what_fill_says():
    frames = [(0.25, [2.0]), (0.75, [4.0]), (1.0, [5.0])]  # those of 0.0, 0.5 and all others lost
    sounds = [(0.0, [1.0, 2.0]), (0.75, [7.0, 8.0])]

    def run(fill):
        layout = {
            "video": Stream((1,), 4, fill=fill),
            "audio": Stream((2,), 4, fill=fill, join=True),
        }
        streams = {"video": frames, "audio": sounds}
        return list(align_streams(streams, layout, window=1.0, start=0.0))

    zero, hold = run("zero"), run("hold")
    assert zero[0].inputs["video"].ravel().tolist() == [0, 2, 0, 4]
    assert hold[0].inputs["video"].ravel().tolist() == [2, 2, 2, 4]
    assert zero[0].inputs["audio"].tolist() == [1, 2, 0, 0, 0, 0, 7, 8]
    assert hold[0].inputs["audio"].tolist() == [1, 2, 1, 2, 1, 2, 7, 8]
    assert hold[1].inputs["video"].ravel().tolist() == [5] * 4  # nothing of the window before
    assert not hold[1].inputs["audio"].any()
    assert not hold[1].inputs["audio_present"].any()
    for one, other in zip(zero, hold, strict=True):
        for name in ("video", "audio"):
            np.testing.assert_array_equal(one.found[name], other.found[name])
    with pytest.raises(ValueError, match=r"`fill` must be one of .*Did you mean 'hold'"):
        Stream((1,), fill="holt")
