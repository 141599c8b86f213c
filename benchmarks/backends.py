"""One network with TensorFlow, JAX and PyTorch as Keras' backend: training and inference.

    python benchmarks/backends.py [--rounds 2] [--steps 32] [--threads 2] [--short]

Protocol: `build_mcnn` of a picture (32×32) and a second of sound (8 kHz, as a spectrogram), a small
CNN for each, and of one picture at 96×96 for MobileNetV2; 10 classes, SGD, batch 32, NumPy arrays
in memory, `fit` and `predict`. TensorFlow is not compiled with XLA, which costs on CPU, JAX always
is, PyTorch is eager: that is what Keras does with `jit_compile` of `mm.training.jit_compile()`. A
row is a process of its own; rows take turns, once a round, on the same cores. `samples/s` is that
of the median of the epochs; graphs are made and compiled in the check before them.

All backends read the weights of one file. Before a row is timed, its outputs must be those of
TensorFlow within 1e-4, and so must the losses of three steps of SGD, and the outputs after them,
within 1e-3; of MobileNetV2, of one step. JAX and PyTorch must be installed: their rows are left out
if not.
"""

import os
import pathlib
import statistics
import tempfile
import time

import numpy as np
from turns import add_ratio, answer, arguments, run_job, settings, take_turns, version

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
NETWORKS = {"small": "image + audio", "mobilenet": "MobileNetV2, 96×96"}
STEPS_AN_EPOCH = {"small": 8, "mobilenet": 2}
# Training MobileNetV2 from random weights is chaotic: TensorFlow's own losses of two runs differ.
CHECKED_STEPS = {"small": 3, "mobilenet": 1}
BATCH, RATE = 32, 0.01
OUTPUTS, AFTER_TRAINING = 1e-4, 1e-3  # the largest difference
TRAINING, INFERENCE = "training samples/s", "inference samples/s"


def built(network):
    """Returns a network, and inputs and labels for it."""
    import keras

    import mm_keras as mm

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    count = BATCH * STEPS_AN_EPOCH[network]
    if network == "mobilenet":
        image = mm.Image((96, 96, 3), backbone="MobileNetV2", weights=None)
        model = mm.build_mcnn({"image": image}, 10)
    else:
        specs = {
            "image": mm.Image((32, 32, 3), backbone="SmallCNN"),
            "audio": mm.Audio(8000, 8000, backbone="SmallCNN"),
        }
        model = mm.build_mcnn(specs, 10)
    inputs = {}
    for name, tensor in model.input.items():
        low, high = (-1, 1) if name == "audio" else (0, 255)
        inputs[name] = rng.uniform(low, high, (count, *tensor.shape[1:])).astype("float32")
    # SGD for the timing too: Adam would blow up rounding errors of small gradients.
    optimizer = keras.optimizers.SGD(RATE)
    model.compile(optimizer, mm.losses.classification(), jit_compile=mm.training.jit_compile())
    return model, inputs, rng.integers(0, 10, count)


def checked_outputs(network, model, inputs, labels):
    """Returns outputs for a batch before and after a few steps of training, and their losses."""
    some = {name: x[:BATCH] for name, x in inputs.items()}
    before = model.predict(some, verbose=0)["label"]
    steps = range(CHECKED_STEPS[network])
    losses = [float(model.train_on_batch(some, labels[:BATCH])) for _ in steps]
    after = model.predict(some, verbose=0)["label"]
    return {"outputs before": before, "losses in": losses, "outputs after": after}


def write_reference(folder, network):
    """Writes weights, and the outputs of TensorFlow; returns the number of parameters."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    model, inputs, labels = built(network)
    model.save_weights(pathlib.Path(folder, f"{network}.weights.h5"))
    np.savez(
        pathlib.Path(folder, f"{network}.npz"), **checked_outputs(network, model, inputs, labels)
    )
    return {f"{network} parameters": model.count_params()}


def measure(folder, network, backend, epochs, threads):
    os.environ["KERAS_BACKEND"] = backend
    import keras

    if keras.config.backend() != backend:
        raise RuntimeError(f"Keras runs on {keras.config.backend()}, not on {backend}.")
    limit_threads(backend, threads)
    model, inputs, labels = built(network)
    model.load_weights(pathlib.Path(folder, f"{network}.weights.h5"))
    expected = np.load(pathlib.Path(folder, f"{network}.npz"))
    found = checked_outputs(network, model, inputs, labels)
    for what, values in found.items():
        largest = OUTPUTS if what == "outputs before" else AFTER_TRAINING
        difference = np.abs(values - expected[what]).max()
        if not difference <= largest:  # nor NaN
            raise RuntimeError(
                f"The {what} training with {backend} must be those of TensorFlow within "
                f"{largest}. Their difference is {difference}."
            )

    def seconds(function):
        times = []
        for _ in range(epochs + 1):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    epoch = seconds(lambda: model.fit(inputs, labels, batch_size=BATCH, verbose=0))
    predicted = seconds(lambda: model.predict(inputs, batch_size=BATCH, verbose=0))
    return {
        TRAINING: len(labels) / epoch,
        INFERENCE: len(labels) / predicted,
    }


def limit_threads(backend, threads):
    """Sets the threads of a library that isn't told by OMP_NUM_THREADS; JAX counts the cores."""
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)


def main():
    options = arguments(__doc__, rounds=2, steps=32)
    epochs = max(options.steps // STEPS_AN_EPOCH["small"], 1)
    backends = [backend for backend in BACKENDS if version(backend)]
    for backend in BACKENDS:
        if backend not in backends:
            print(f"{BACKENDS[backend]} is not installed: its rows are left out.")
    rows, parameters = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for network, title in NETWORKS.items():
            job = ("write_reference", folder, network)
            parameters |= run_job(__file__, job, options.threads)
            given = (epochs, options.threads)
            found = take_turns(
                __file__,
                {
                    f"{title}: {BACKENDS[b]}": ("measure", folder, network, b, *given)
                    for b in backends
                },
                options.rounds,
                threads=options.threads,
            )
            for figure in (TRAINING, INFERENCE):
                add_ratio(found, figure, [next(iter(found))], f"× TensorFlow, {figure.split()[0]}")
            rows |= found
    from seeds import report

    report(
        "backends" + options.suffix,
        rows,
        f"build_mcnn by the backend of Keras, batch {BATCH}, {options.threads} threads",
        **settings(options),
        epochs=epochs,
        load=os.getloadavg()[2],
        jax=version("jax"),
        **parameters,
    )


if __name__ == "__main__":
    answer(write_reference, measure)
    main()
