"""Memory of training: each builder, and backbones that compute their activations again.

    python benchmarks/training_memory.py [--rounds 3] [--steps 6] [--threads 2] [--short]

Protocol: each row is a process of its own, which trains on batches of 32 of random data, with Adam.
`MB` is by how much the peak of what TensorFlow has allocated during a step is over what it holds
before: activations, gradients and what kernels need in between, without weights, the optimizer's
state and data. `s a step` is the median of the others.

- Builders: pictures of 32×32 and sounds of 1 s at 8 kHz, a SmallCNN each; views: 6 pictures, one
  SmallCNN; build_afe: half of a batch is the target.
- MobileNetV2 ×2: two towers at 96×96 with `weights=None`; ResNet50: one at 96×96; activations kept,
  as Keras does, and with `rematerialize=True`.

`keras.RematScope("full")` can't be beside them: with TensorFlow, `fit` fails within it.
"""

import statistics
import time

from turns import answer, arguments, settings, take_turns

BATCH, CLASSES = 32, 10
BUILDERS = ("mcnn", "cmn", "dfn", "nasn", "dml", "mvcnn", "afe")
BACKBONES = {"MobileNetV2 ×2": ("MobileNetV2", ("left", "right")), "ResNet50": ("ResNet50", "a")}
WAYS = ("kept", "rematerialize=True")


def builder(name, steps):
    """Returns the figures of a builder's model."""
    import mm_keras as mm

    specs = {
        "image": mm.Image((32, 32, 3), backbone="SmallCNN"),
        "audio": mm.Audio(8000, 8000, backbone="SmallCNN"),
    }
    if name == "mvcnn":
        specs = {"views": mm.Views(6, (32, 32, 3), backbone="SmallCNN")}
    return measure(getattr(mm, f"build_{name}")(specs, CLASSES), steps)


def backbone(name, keys, way, steps):
    """Returns the figures of `build_mcnn` with a backbone for each key."""
    import mm_keras as mm

    image = mm.Image((96, 96, 3), backbone=name, weights=None, rematerialize=way == WAYS[-1])
    return measure(mm.build_mcnn(dict.fromkeys(keys, image), CLASSES), steps)


def measure(model, steps):
    import keras
    import numpy as np
    import tensorflow as tf

    import mm_keras as mm
    from mm_keras.training import jit_compile

    rng = np.random.default_rng(0)
    inputs = {
        key: rng.uniform(0, 255 if len(x.shape) > 2 else 1, (BATCH, *x.shape[1:])).astype("float32")
        for key, x in model.input.items()
    }
    heads = [key for key, x in model.output.items() if x.shape[1:] in ((CLASSES,), (2,))]
    labels = {key: np.arange(BATCH) % model.output[key].shape[-1] for key in heads}
    model.compile(
        keras.optimizers.Adam(),
        dict.fromkeys(heads, mm.losses.classification()),
        jit_compile=jit_compile(),
    )

    def step():
        began = time.perf_counter()
        model.train_on_batch(inputs, labels)
        return time.perf_counter() - began

    seconds = [step() for _ in range(steps)]
    tf.config.experimental.reset_memory_stats("CPU:0")
    held = tf.config.experimental.get_memory_info("CPU:0")["current"]
    step()
    peak = tf.config.experimental.get_memory_info("CPU:0")["peak"]
    return {
        "parameters": model.count_params(),
        "MB": (peak - held) / 1e6,
        "s a step": statistics.median(seconds[1:]),
    }


def main():
    options = arguments(__doc__, rounds=3, steps=6)
    jobs = {f"build_{name}": ("builder", name, options.steps) for name in BUILDERS}
    for row, (name, keys) in BACKBONES.items():
        for way in WAYS:
            jobs[f"{row}, {way}"] = ("backbone", name, keys, way, options.steps)
    rows = take_turns(__file__, jobs, options.rounds, threads=options.threads)
    for row in BACKBONES:
        kept = rows[f"{row}, {WAYS[0]}"]
        for way in WAYS:
            figures = rows[f"{row}, {way}"]
            for figure, name in (("MB", "× memory"), ("s a step", "× time")):
                pairs = zip(figures[figure], kept[figure], strict=True)
                figures[name] = [round(value / other, 4) for value, other in pairs]
    from seeds import report

    report(
        f"training_memory{options.suffix}",
        rows,
        f"Memory that a training step of {BATCH} samples adds",
        batch=BATCH,
        **settings(options),
    )


if __name__ == "__main__":
    answer(builder, backbone)
    main()
