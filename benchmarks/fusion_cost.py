"""What fusion costs, and how it grows: time and memory of a training step of each layer.

    python benchmarks/fusion_cost.py [--rounds 1] [--steps 15] [--threads 2] [--short]

Protocol: M modalities of N positions of width D in batches of B; at first M = 2, N = 256, D = 64,
B = 32, then one of the four is changed at a time. A step is the gradient of the outputs' squares
with respect to features and weights, as a TensorFlow graph on CPU, without XLA. Time is the median
of the steps, for a sample; memory is by how much the peak of what TensorFlow has allocated during
a step is above what it holds before, for a sample: features and weights are not in it, gradients
are. TensorFlow counts that where it is built with oneDNN, as on x86, but for tensors below 256 KB;
the memory of a process is too coarse, since it keeps what it has freed. Each layer has a process of
its own. "tensor" ends where (1 + width)^M exceeds a million; what would need more than two
gigabytes if it grew with the square of N or M is left out, so that its line ends early.

Layers: all of mm.layers.FUSIONS with their defaults; those that exchange between modalities, MMTM,
attention bottleneck and cross-modal non-local block, whole and in chunks of 64 queries; `matching`:
similarity and alignment of every pair of modalities, as in build_cmn; `gates` of build_dfn.
"""

import itertools
import os
import statistics
import time

from turns import answer, arguments, settings, take_turns

BASE = {"N": 256, "M": 2, "D": 64, "B": 32}
GRID = {
    "N": (64, 128, 256, 512),
    "M": (2, 3, 4, 8),
    "D": (16, 64, 256),
    "B": (8, 32, 128),
}
LETTERS = {"N": "positions N", "M": "modalities M", "D": "width D", "B": "batch B"}
FUSIONS = (
    "concat",
    "sum",
    "mean",
    "max",
    "gated",
    "low_rank",
    "tensor",
    "cross_attention",
    "joint",
)
OTHERS = ("MMTM", "bottleneck", "non_local", "non_local, chunks", "matching", "gates")
LAYERS = (*FUSIONS, *OTHERS)
CHUNK = 64
LONGEST, LARGEST = 1.0, 2e9  # seconds that one size is timed for; bytes of a step
MICROSECONDS, KILOBYTES = "µs a sample", "KB a sample"


def sizes_of(axis, value):
    return BASE | {axis: value}


def layer_of(name, modalities):
    """Returns a function of `{name: (B, N, D)}` and the layers with its weights."""
    import mm_keras as mm

    if name in mm.layers.FUSIONS:
        layer = mm.layers.get_fusion(name)
        return layer, [layer]
    if name == "matching":
        return matching(modalities)
    layer = {
        "MMTM": mm.layers.MMTM,
        "bottleneck": mm.layers.AttentionBottleneck,
        "non_local": mm.layers.CrossModalNonLocal,
        "non_local, chunks": lambda: mm.layers.CrossModalNonLocal(chunk=CHUNK),
        "gates": mm.layers.ModalityGate,
    }[name]()
    return (lambda x: layer(x)["features"]) if name == "gates" else layer, [layer]


def matching(modalities):
    import mm_keras as mm

    pairs = list(itertools.combinations(modalities, 2))
    layers = [(mm.layers.Similarity(), mm.layers.SimilarityAlignment()) for _ in pairs]

    def call(features):
        found = []
        for pair, (similarity, alignment) in zip(pairs, layers, strict=True):
            two = {name: features[name] for name in pair}
            found.append(alignment(two, similarity(two)))
        return found

    return call, [layer for pair in layers for layer in pair]


def measure(name, grid, repeats, threads):
    """Returns the figures of a layer, `"µs a sample, N = 16"` and so on, for every size."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    figures, known = {}, {}
    for axis, values in grid.items():
        before = None  # the smaller value, with its bytes
        for value in values:
            sizes = sizes_of(axis, value)
            key = tuple(sizes.values())
            if key not in known:
                power = 2 if axis in "NM" else 1  # as which memory grows at most
                too_large = before and before[1] * (value / before[0]) ** power > LARGEST
                known[key] = None if too_large else measure_step(name, *key, repeats)
            if known[key] is None:
                break
            seconds, size = known[key]
            figures[f"{MICROSECONDS}, {axis} = {value}"] = 1e6 * seconds / sizes["B"]
            figures[f"{KILOBYTES}, {axis} = {value}"] = size / 1e3 / sizes["B"]
            before = (value, size)
    return figures


def measure_step(name, positions, modalities, width, batch, repeats):
    """Returns seconds and bytes of a step; `None` where the layer doesn't take these sizes."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    names = [f"m{number}" for number in range(modalities)]
    features = {key: tf.random.normal((batch, positions, width)) for key in names}
    call, layers = layer_of(name, names)
    try:
        call(features)
    except ValueError as error:
        if name == "tensor" and "(1 + width)^M" in str(error):
            return None
        raise
    weights = [v.value for layer in layers for v in layer.trainable_variables]

    @tf.function(jit_compile=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = sum(tf.reduce_sum(y**2) for y in tf.nest.flatten(call(x)))
        return tape.gradient(loss, [x, *weights])

    def seconds():
        start = time.perf_counter()
        wait_for(step(features))
        return time.perf_counter() - start

    for _ in range(2):
        once = seconds()
    count = max(1, min(repeats, int(LONGEST / once)))
    times = [seconds() for _ in range(count)]
    tf.config.experimental.reset_memory_stats("CPU:0")
    held = tf.config.experimental.get_memory_info("CPU:0")["current"]
    wait_for(step(features))
    return statistics.median(times), tf.config.experimental.get_memory_info("CPU:0")["peak"] - held


def wait_for(gradients):
    """Waits for a step, whose last operation may still run when it returns."""
    import tensorflow as tf

    for tensor in tf.nest.flatten(gradients):
        tensor.numpy()


def tabled(rows):
    """Returns the rows as the table has them: the cost at the start, and how often it grows."""
    shown = {}
    for name, figures in rows.items():
        shown[name] = {f: figures[f"{f}, N = {BASE['N']}"] for f in (MICROSECONDS, KILOBYTES)}
        for figure, axis in itertools.product((MICROSECONDS, KILOBYTES), GRID):
            first, last = f"{figure}, {axis} = {BASE[axis]}", f"{figure}, {axis} = {largest(axis)}"
            if last in figures:
                growth = [b / a for a, b in zip(figures[first], figures[last], strict=True)]
                unit = figure.split()[0]
                shown[name][f"× {unit}, {axis} = {largest(axis):,}"] = [round(g, 2) for g in growth]
    return shown


def largest(axis):
    return GRID[axis][-1]


def draw(rows, path):
    """Draws time and memory of all layers against each of the four sizes."""
    from matplotlib.lines import Line2D

    from mm_keras.plots.style import COLOURS, ShownFigure

    figure = ShownFigure(figsize=(14, 7.5), layout="constrained")
    panels = figure.subplots(2, len(GRID), sharex="col", sharey="row")
    styles = {}
    for index, name in enumerate(rows):
        dashes = ("-", "--", ":")[index // len(COLOURS)]
        marker = "osD^vP*X"[index % 8]
        colour = COLOURS[index % len(COLOURS)]
        styles[name] = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 5}
    for row, unit in zip(panels, (MICROSECONDS, KILOBYTES), strict=True):
        for axes, axis in zip(row, GRID, strict=True):
            for name, figures in rows.items():
                points = {
                    size: statistics.mean(figures[f"{unit}, {axis} = {size}"])
                    for size in GRID[axis]
                    if f"{unit}, {axis} = {size}" in figures
                }
                axes.plot(list(points), list(points.values()), linewidth=1.3, **styles[name])
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(GRID[axis], [f"{size:,}" for size in GRID[axis]])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(unit)
    for axes, axis in zip(panels[1], GRID, strict=True):
        axes.set_xlabel(LETTERS[axis])
    lines = [Line2D([], [], **style) for style in styles.values()]
    figure.legend(lines, list(styles), loc="outside right center", frameon=False, fontsize=9)
    start = ", ".join(f"{letter} = {value}" for letter, value in BASE.items())
    figure.suptitle(f"A training step of each fusion; what is not on the axis: {start}")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    options = arguments(__doc__, rounds=1, steps=15)
    rows = take_turns(
        __file__,
        {name: ("measure", name, GRID, options.steps, options.threads) for name in LAYERS},
        options.rounds,
        threads=options.threads,
    )
    from seeds import RESULTS, report

    import mm_keras as mm

    if set(FUSIONS) != set(mm.layers.FUSIONS):
        raise RuntimeError(f"FUSIONS must be those of mm.layers: {list(mm.layers.FUSIONS)}.")
    file = "fusion_cost" + options.suffix
    report(
        file,
        tabled(rows),
        "A training step of each fusion, "
        + ", ".join(f"{letter} = {value}" for letter, value in BASE.items())
        + f", and how often more for a larger one, {options.threads} threads",
        **settings(options),
        load=os.getloadavg()[2],
        chunk=CHUNK,
        curves=rows,
    )
    draw(rows, RESULTS / f"{file}.png")


if __name__ == "__main__":
    answer(measure)
    main()
