"""What twelve views cost: a network of views beside twelve calls of the network of one picture.

    python benchmarks/mvcnn_cost.py [--seeds 3] [--repeats 15]

All views of a batch go through the shared backbone in one call. Timed is `predict_on_batch` of
arrays in memory, after three calls that are not timed: once for B objects with 12 views each, then
by `build_mcnn` with the same backbone for B pictures, and for all 12·B pictures in one call; in
turn, in one process, without XLA. The first ratio is to twelve times the call of B pictures; where
B is large, it also has what a larger batch costs by itself, which the second, to one call of 12·B,
has not. A figure is the median over the repeats, a ratio that of their ratios. A seed is a pair of
new models with random weights and pictures.
"""

import argparse
import time

import keras
import numpy as np
from seeds import repeat, report

import mm_keras as mm
from mm_keras.training import jit_compile

VIEWS = 12
CASES = {
    "SmallCNN, 32×32, 1 object": ("SmallCNN", (32, 32, 1), 1),
    "SmallCNN, 32×32, 8 objects": ("SmallCNN", (32, 32, 1), 8),
    "MobileNetV2, 96×96, 1 object": ("MobileNetV2", (96, 96, 3), 1),
    "MobileNetV2, 96×96, 8 objects": ("MobileNetV2", (96, 96, 3), 8),
}


def milliseconds(model, pictures):
    start = time.perf_counter()
    model.predict_on_batch({"views": pictures})
    return 1000 * (time.perf_counter() - start)


def row(backbone, shape, objects, repeats):
    def run(seed):
        keras.utils.set_random_seed(seed)
        options = {"backbone": backbone, "weights": None}
        many = mm.build_mvcnn({"views": mm.Views(VIEWS, shape, **options)}, 10)
        one = mm.build_mcnn({"views": mm.Image(shape, **options)}, 10)
        for model in (many, one):
            model.compile(jit_compile=jit_compile())
        views = np.random.default_rng(seed).uniform(0, 255, (objects, VIEWS, *shape))
        views = views.astype("float32")
        picture = np.ascontiguousarray(views[:, 0])
        timed = [
            (
                milliseconds(many, views),
                VIEWS * milliseconds(one, picture),
                milliseconds(one, views.reshape(-1, *shape)),
            )
            for _ in range(repeats + 3)
        ][3:]
        all_views, calls, one_call = np.array(timed).T
        return {
            "ms of 12 views": float(np.median(all_views)),
            "ratio to 12 calls": float(np.median(all_views / calls)),
            "ratio to one call": float(np.median(all_views / one_call)),
        }

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    runs = {name: row(*case, options.repeats) for name, case in CASES.items()}
    report(
        "mvcnn_cost",
        repeat(runs, range(options.seeds)),
        f"Time of predict_on_batch on CPU, medians of {options.repeats} interleaved repeats",
        seeds=options.seeds,
        repeats=options.repeats,
        views=VIEWS,
    )


if __name__ == "__main__":
    main()
