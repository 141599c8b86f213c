"""How long a retrieval index takes to search: exact search by matrix products, in chunks.

    taskset -c 0 python benchmarks/retrieval_index.py [--seeds 1]

Protocol: unit vectors of width 128, made up, since the time does not depend on what they say, are
put in as items; a search for the 10 nearest is timed with one query and with a batch of 32, the
median of 20 calls after 3. The encoder of queries is one dense layer on a vector: its own time is
in the figure, and small. Times are those of the processor, pinned to one core, so that what else
runs on the machine does not count. The baseline is NumPy on the same vectors: a product and a full
sort.
"""

import argparse
import statistics
import time

import keras
import numpy as np
from seeds import repeat, report

import mm_keras as mm

WIDTH = 128
K = 10
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def milliseconds(call, runs=20, warm_up=3):
    """Returns the median time of a call."""
    times = []
    for _ in range(warm_up + runs):
        start = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times[warm_up:])


def row(count):
    """Returns the function of a seed to the figures of an index of `count` items."""

    def run(seed):
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        modalities = {"text": mm.Features(WIDTH), "image": mm.Features(WIDTH)}
        model = mm.build_cmn(modalities, None, width=WIDTH, embedding=WIDTH)
        index = mm.exporting.RetrievalIndex(model, "text", "image", k=K)
        start = time.process_time()
        index.add({"image": rng.normal(size=(count, WIDTH)).astype("float32")}, batch_size=4096)
        figures = {"CPU seconds to add all": time.process_time() - start}
        queries = rng.normal(size=(32, WIDTH)).astype("float32")
        figures["CPU ms, one query"] = milliseconds(lambda: index.search({"text": queries[:1]}))
        figures["CPU ms, 32 queries"] = milliseconds(lambda: index.search({"text": queries}))
        items = rng.normal(size=(count, WIDTH)).astype("float32")
        figures["CPU ms, one query, NumPy sort"] = milliseconds(
            lambda: np.argsort(-(queries[:1] @ items.T), kind="stable")[:, :K], runs=5, warm_up=1
        )
        figures["MB of embeddings"] = 4 * count * WIDTH / 1e6
        return figures

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    report(
        "retrieval_index",
        repeat({f"{count:,} items": row(count) for count in SIZES}, range(options.seeds)),
        f"Exact search for the {K} nearest of so many items, width {WIDTH}, on one CPU core",
        seeds=options.seeds,
        width=WIDTH,
        k=K,
    )


if __name__ == "__main__":
    main()
