"""What compression costs: size, speed and accuracy of each method on a model of two modalities.

    MM_KERAS_DATA=… python benchmarks/model_compression.py [--sets av_mnist fashion] [--seeds 3]

`compression_av_mnist`: the pairs of benchmarks/av_mnist.py (MNIST digits projected on 4
components, the same digit spoken, with babble at −6 dB; two speakers held out), pixels rounded to
whole numbers. SmallCNN for both, concatenated. Adam, 6 epochs of 3,600 pairs, the rate falling from
0.001 to 0 by a cosine, batches of 64; tested on 2,000 pairs.

`compression_fashion`: the products of benchmarks/dml.py (sub-categories of 150 products or more,
100 of each; a fifth tests, no variant of a product on both sides), photos of 64×64 enlarged to
96×96 through MobileNetV2, and the title's first two words (the whole title gives the class away).
There are no ImageNet weights here: MobileNetV2 learns from scratch, with normalization momentum
0.9, 10 epochs of batches of 32, the same rates. One seed.

Every trained variant starts from the float model: pruning gets 8 more epochs, the rate falling from
0.001 to 0 by a cosine, clustering and quantization-aware training 1 at 0.0001; "float, as long" is
the model with 8 more epochs like those of pruning. Combined is pruned, then clustered, then
quantization-aware. The epochs of pruning were settled on pairs of another seed. int8 ranges come
from 128 training pairs.

Size: of the `.keras` file without optimizer, or the `.tflite` file; zipped: after DEFLATE. Latency:
median of 100 runs in a fresh process on one core, of the compiled function for Keras models (a
tf.function, which leaves out what `predict` does around it), of LiteRT with one thread for others.
Peak memory: of that process, the runtime included.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from av_mnist import SPECS, make_splits, read_fsdd, read_mnist
from dml import read_photos
from seeds import report

import mm_keras as mm
from mm_keras.training import jit_compile

SPARSITY, CLUSTERS = 0.8, 16
PRUNING = 8  # epochs
PER_CLASS = 100
SIDE = 96


def av_mnist(folder, seed):
    """Returns `{split: (inputs, labels)}`, specs, classes, batch size and epochs."""
    splits = make_splits(*folder, seed)
    for inputs, _ in splits.values():
        inputs["image"] = np.round(inputs["image"])
    return splits, SPECS, 10, 64, 6


def fashion(products, seed):
    """Returns the same of fashion products."""
    photos, rows = products
    rng = np.random.default_rng(seed)
    names = np.array([row["subCategory"] for row in rows])
    by_class = [np.flatnonzero(names == name) for name in sorted(set(names))]
    kept = np.concatenate([rng.choice(found, PER_CLASS, replace=False) for found in by_class])
    labels = np.repeat(np.arange(len(by_class)), PER_CLASS)
    words = [rows[row]["title"].lower().split() for row in kept]
    groups = np.array([" ".join(title[:3]) for title in words])
    distinct = rng.permutation(sorted(set(groups)))
    tests = np.isin(groups, distinct[: len(distinct) // 5])
    titles = [" ".join(title[:2]) for title in words]
    title = mm.Text(2, 500).adapt([titles[row] for row in np.flatnonzero(~tests)])
    large = tf.image.resize(photos[kept], (SIDE, SIDE)).numpy().round()
    inputs = {"image": large, "title": title.vectorize(titles)}
    splits = {
        part: ({name: x[chosen] for name, x in inputs.items()}, labels[chosen])
        for part, chosen in (("train", ~tests), ("test", tests))
    }
    image = mm.Image((SIDE, SIDE, 3), backbone="MobileNetV2", weights=None)
    return splits, {"image": image, "title": title}, len(by_class), 32, 10


def batches(part, size, seed=None):
    data = tf.data.Dataset.from_tensor_slices(part)
    return (data if seed is None else data.shuffle(5000, seed=seed)).batch(size)


def trained(specs, classes, train, epochs, seed):
    """Returns the float model."""
    keras.utils.set_random_seed(seed)
    model = mm.build_mcnn(specs, classes)
    for layer in model.get_layer("image_backbone").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * int(train.cardinality()))
    compile_with(model, rate)
    model.fit(train, epochs=epochs, verbose=2)
    return model


def compile_with(model, rate):
    model.compile(
        keras.optimizers.Adam(rate),
        mm.losses.classification(),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )


def variants_of(model, train):
    """Returns `{row: model}`."""
    compress = mm.compress

    def more(epochs=1, rate=1e-4):
        optimizer = {"optimizer": keras.optimizers.Adam(rate)}
        return {"epochs": epochs, "compile": optimizer, "verbose": 2}

    def falling():
        return keras.optimizers.schedules.CosineDecay(1e-3, PRUNING * int(train.cardinality()))

    longer = keras.models.clone_model(model)
    longer.set_weights(model.get_weights())
    compile_with(longer, falling())
    longer.fit(train, epochs=PRUNING, verbose=2)
    pruned = compress.prune(model, train, SPARSITY, **more(PRUNING, falling()))
    few = compress.cluster(pruned, train, CLUSTERS, **more())
    return {
        "float": model,
        "float, as long": longer,
        "float, LiteRT": compress.quantize(model, "float32"),
        "pruned 80 %": pruned,
        "clustered 16": compress.cluster(model, train, CLUSTERS, **more()),
        "PTQ dynamic": compress.quantize(model, "dynamic", representative=train),
        "PTQ int8": compress.quantize(model, representative=train),
        "QAT int8": compress.quantize_aware(model, train, **more()),
        "combined": compress.quantize_aware(few, train, **more()),
    }


def run(prepare, data, seed, short):
    """Returns `{row: figures}` of one seed."""
    splits, specs, classes, size, epochs = prepare(data, seed)
    train = batches(splits["train"], size, seed)
    if short:
        train, epochs = train.take(3), 1
    model = trained(specs, classes, train, epochs, seed)
    made = variants_of(model, train)
    path = pathlib.Path(__file__).parent / "results" / f"compression_{prepare.__name__}"
    path = f"{path}_short" if short else path
    rows = mm.compress.report(made, batches(splits["test"], 64), runs=100)
    if seed == 0:
        samples = len(splits["test"][1])
        points = {row.name: (row.bytes / 1e3, row.metrics["accuracy"]) for row in rows}
        mm.plots.size_tradeoff(points, samples=samples).savefig(f"{path}.png", dpi=120)
    first = rows[0]
    return {
        row.name: {
            "accuracy %": 100 * row.metrics["accuracy"],
            "points lost": 100 * (first.metrics["accuracy"] - row.metrics["accuracy"]),
            "KB": row.bytes / 1e3,
            "% of the size": 100 * row.bytes / first.bytes,
            "KB zipped": row.zipped_bytes / 1e3,
            "% of the zipped size": 100 * row.zipped_bytes / first.zipped_bytes,
            "zeros %": 100 * row.sparsity,
            "ms batch 1": row.latency_ms[1],
            "times as fast batch 1": first.latency_ms[1] / row.latency_ms[1],
            "ms batch 32": row.latency_ms[32],
            "times as fast batch 32": first.latency_ms[32] / row.latency_ms[32],
            "peak MB": row.peak_memory_bytes / 1e6,
        }
        for row in rows
    }


TITLES = {
    "av_mnist": "AV-MNIST, degraded, SmallCNN twice, compressed, 2,000 test pairs",
    "fashion": "fashion products, MobileNetV2 at 96×96 from scratch and two words of the title, "
    "compressed, fifth of the products as test",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="3 steps, to see whether it runs")
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with mnist/, fsdd/ and fashion_products/.")
    folder = pathlib.Path(folder)
    for name in options.sets:
        if name == "av_mnist":
            data = read_mnist(folder / "mnist"), read_fsdd(folder / "fsdd")
        else:
            data = read_photos(folder / "fashion_products")
        prepare = {"av_mnist": av_mnist, "fashion": fashion}[name]
        runs = []
        for seed in range(options.seeds if name == "av_mnist" else 1):
            runs.append(run(prepare, data, seed, options.short))
            rows = {
                row: {f: [round(one[row][f], 4) for one in runs] for f in figures}
                for row, figures in runs[0].items()
            }
            report(  # after each seed, since each takes minutes
                f"compression_{name}" + ("_short" if options.short else ""),
                rows,
                TITLES[name],
                seeds=len(runs),
                sparsity=SPARSITY,
                clusters=CLUSTERS,
                cores=len(os.sched_getaffinity(0)),
            )


if __name__ == "__main__":
    main()
