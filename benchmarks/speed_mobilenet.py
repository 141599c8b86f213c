"""Two MobileNetV2 towers, fine-tuned and frozen: mm_keras, Keras by hand and PyTorch, in turns.

    python benchmarks/speed_mobilenet.py [--rounds 2] [--steps 8] [--threads 2] [--compiled]

Protocol: two pictures of 96×96, a tower each (random weights, which cost what trained ones do), a
projection to 128, mean over positions, concatenation, ten classes; batches of 32 from random arrays
in memory, float32, Adam. Fine-tuning trains all of it; frozen, the towers run as at inference and
what is behind them learns; with `mm.data.cache_features` their features are computed once, and
every epoch reads them from disk. Before anything is timed, numbers of parameters (2,257,984 for a
tower) and outputs are compared. A row is a process of its own; rows take turns, once a round, on
the same cores. `samples/s` is that of the median of the timed steps; the ratio is to the fastest
PyTorch row of the round. `first pass` is what filling the cache takes, in samples a second.

PyTorch trains in its usual loop on slices of tensors, in both layouts of memory, with fused Adam;
its MobileNetV2 pads as torchvision's. `--compiled` adds torch.compile, whose compilation takes
minutes. PyTorch must be installed: its rows are left out if not.
"""

import importlib
import tempfile
import time

from turns import add_ratio, answer, arguments, run_job, settings, take_turns, version

BATCH = 32
RATE = 1e-4
FIGURE = "samples/s"


def in_keras(module, frozen, cached, steps):
    import keras
    import tensorflow as tf
    from keras_models import MOBILENET
    from training_rate import BATCHES, fit_times, random_inputs, samples_a_second

    import mm_keras as mm
    from mm_keras.training import jit_compile

    keras.utils.set_random_seed(0)
    model = importlib.import_module(module).mobilenet(frozen)
    (left, right), labels = random_inputs([MOBILENET] * 2, BATCH, 255.0)
    inputs = {"left": left, "right": right}
    data = tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(BATCH)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        if cached:
            began = time.perf_counter()
            data, model = mm.data.cache_features(model, data, f"{folder}/cache")
            figures["first pass"] = BATCHES * BATCH / (time.perf_counter() - began)
        model.compile(
            keras.optimizers.Adam(RATE),
            keras.losses.SparseCategoricalCrossentropy(),
            jit_compile=jit_compile(),
        )
        times = fit_times(model, data.repeat().prefetch(2), steps * (10 if cached else 1))
    return {FIGURE: samples_a_second(times, BATCH)} | figures


def in_torch(frozen, compiled, channels_last, steps):
    import torch
    import torch_models
    from training_rate import as_tensors, random_inputs, samples_a_second, torch_times

    torch.manual_seed(0)
    model = torch_models.mobilenet(frozen)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, RATE, eps=1e-7, fused=True)
    inputs, labels = random_inputs([(96, 96, 3)] * 2, BATCH, 255.0)
    tensors = as_tensors(inputs, labels, channels_last)
    model = torch.compile(model, dynamic=False) if compiled else model
    times = torch_times(model, optimizer, *tensors, BATCH, steps)
    return {FIGURE: samples_a_second(times, BATCH)}


def check_parity(torch_too):
    from keras import applications
    from parity import agree, check

    tower = applications.MobileNetV2((96, 96, 3), include_top=False, weights=None)
    agree("parameters of a tower", 2_257_984, tower.count_params())
    # Keras pads to the right only, PyTorch's users to both sides: for the comparison as Keras.
    return check("mobilenet", torch_too, {"padding": "keras"})


def main():
    options = arguments(__doc__, rounds=2, steps=8, compiled="with torch.compile, for minutes")
    torch_ways = {"eager": (False, False), "eager, channels last": (False, True)}
    if options.compiled:
        torch_ways |= {"compiled": (True, False), "compiled, channels last": (True, True)}
    torch_ways = torch_ways if version("torch") else {}
    jobs, torch_rows = {}, {}
    for kind, frozen in (("fine-tuning", False), ("frozen", True)):
        ours = {"mm_keras": "mm_models", "Keras by hand": "keras_models"}
        for name, module in ours.items():
            jobs[f"{kind}: {name}"] = ("in_keras", module, frozen, False, options.steps)
        if frozen:
            job = ("in_keras", "mm_models", True, True, options.steps)
            jobs["frozen: mm_keras, cache_features"] = job
        for name, way in torch_ways.items():
            jobs[f"{kind}: PyTorch {name}"] = ("in_torch", frozen, *way, options.steps)
        torch_rows[kind] = [f"{kind}: PyTorch {name}" for name in torch_ways]
    parameters = run_job(__file__, ("check_parity", bool(torch_ways)), options.threads)
    with tempfile.TemporaryDirectory() as cache:  # of torch.compile, once for all rounds
        variables = {"TORCHINDUCTOR_CACHE_DIR": cache}
        rows = take_turns(
            __file__, jobs, options.rounds, threads=options.threads, environment=variables
        )
    for kind, baselines in torch_rows.items():
        part = {name: figures for name, figures in rows.items() if name.startswith(kind)}
        add_ratio(part, FIGURE, baselines, "× fastest PyTorch")
    from seeds import report

    report(
        f"speed_mobilenet{options.suffix}",
        rows,
        f"Training of two MobileNetV2 towers, 96×96, batch {BATCH}, {options.threads} threads",
        batch=BATCH,
        parameters=parameters,
        **settings(options),
    )


if __name__ == "__main__":
    answer(in_keras, in_torch, check_parity)
    main()
