"""How long until imported, until built, until the first training step is done.

    python benchmarks/speed_start.py [--rounds 3] [--threads 2] [--compiled]

Protocol: each row is a process of its own, timed by the clock from the moment at which it is
started; rows take turns, once a round, on the same cores. The files that are read are in the
system's cache from the second round on: the first is not counted. The network is two `SmallCNN`
branches on 28×28 and 32×32 pixels, the step one of 40 random pictures with Adam: by `fit` in Keras,
and in PyTorch eager; `--compiled` adds torch.compile, with an empty cache each time.

PyTorch must be installed: its rows are left out if not.
"""

import importlib
import os
import tempfile

from turns import answer, arguments, settings, since_start, take_turns, version

BATCH = 40
IMPORTED, BUILT, FIRST_STEP = "imported, s", "built, s", "first step, s"


def imports(module):
    if module:
        importlib.import_module(module)
    return {IMPORTED: since_start()}


def in_keras(module):
    import keras

    if module == "mm_models":
        import mm_keras  # noqa: F401
    figures = {IMPORTED: since_start()}
    import numpy as np

    model = importlib.import_module(module).small()
    figures[BUILT] = since_start()
    from mm_keras.training import jit_compile

    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(keras.optimizers.Adam(), loss, jit_compile=jit_compile())
    rng = np.random.default_rng(0)
    inputs = {x.name: rng.uniform(0, 255, (BATCH, *x.shape[1:])) for x in model.inputs}
    model.fit(inputs, rng.integers(0, 10, BATCH), batch_size=BATCH, verbose=0)
    return figures | {FIRST_STEP: since_start()}


def in_torch(compiled):
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        import torch

        figures = {IMPORTED: since_start()}
        import torch_models

        model = torch_models.small()
        figures[BUILT] = since_start()
        optimizer = torch.optim.Adam(model.parameters())
        model = torch.compile(model) if compiled else model
        inputs = [255 * torch.rand(BATCH, 1, size, size) for size in (28, 32)]
        loss = torch.nn.CrossEntropyLoss()(model(inputs), torch.randint(0, 10, (BATCH,)))
        loss.backward()
        optimizer.step()
        return figures | {FIRST_STEP: since_start()}


def main():
    options = arguments(__doc__, rounds=3, steps=1, compiled="with torch.compile, for minutes")
    jobs = {
        "Python alone": ("imports", None),
        "import tensorflow": ("imports", "tensorflow"),
        "import keras": ("imports", "keras"),
        "import mm_keras": ("imports", "mm_keras"),
        "Keras by hand": ("in_keras", "keras_models"),
        "mm_keras, build_mcnn": ("in_keras", "mm_models"),
    }
    if version("torch"):
        jobs["PyTorch eager"] = ("in_torch", False)
    if version("torch") and options.compiled:
        jobs["PyTorch compiled"] = ("in_torch", True)
    warm_up = {row: job for row, job in jobs.items() if row != "PyTorch compiled"}
    take_turns(__file__, warm_up, 1, threads=options.threads)
    rows = take_turns(__file__, jobs, options.rounds, threads=options.threads)
    from seeds import report

    report(
        f"speed_start{options.suffix}",
        rows,
        f"Seconds from the start of the process, {options.threads} threads",
        batch=BATCH,
        **settings(options),
    )


if __name__ == "__main__":
    answer(imports, in_keras, in_torch)
    main()
