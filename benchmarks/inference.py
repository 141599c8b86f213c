"""Latency of two MobileNetV2 towers: Keras, its compiled call, LiteRT and PyTorch, in turns.

    python benchmarks/inference.py [--rounds 2] [--steps 60] [--threads 2] [--short]

Protocol: two MobileNetV2 towers on pictures of 96×96, each projected to 128, averaged and
concatenated, 10 classes. Weights are random, and normalizations have the statistics of a batch: see
norm_statistics.py. Before anything is timed, PyTorch's network is compared with that of Keras in
numbers of parameters and, for the same weights, in outputs; so are the outputs of the LiteRT file.
A row is a process of its own that loads what serves that row and nothing else; rows take turns,
once a round, on the same cores, with as many threads for each library. Timed is one call after the
other on random pictures in memory, after calls that are not timed: median and 95th percentile, a
third as many calls at batch 32.

- `predict`: `model.predict` of one batch; compiled call: a `tf.function` of the model, no XLA.
- LiteRT: the interpreter; int8 is quantized after training, and takes uint8 pixels.
- PyTorch, eval and inference mode: eager and `torch.compile`, each in both layouts of memory, and
  compiled with `freezing`, which folds the normalizations into the kernels as LiteRT does. It must
  be installed: its rows are left out if not.

The ratios are of medians within a round: to `predict`, and to the fastest of PyTorch's rows.
"""

import os
import pathlib
import tempfile
import time

import numpy as np
from turns import add_ratio, answer, arguments, run_job, settings, take_turns, version

BATCHES = (1, 32)
SHAPE = (96, 96, 3)
NAMES = ("left", "right")
WARM_UP = 5
BACKBONE_PARAMETERS = 2_257_984
SAMPLES = 64  # to calibrate int8 with


def pictures(count, seed=0):
    """Returns `{name: (count, 96, 96, 3)}`, float32 pixels that are whole numbers."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 256, (count, *SHAPE)).astype("float32") for name in NAMES}


def latencies(call, calls, prepared=lambda inputs: inputs):
    """Returns the figures of a row.

    Args:
        call: Takes what `prepared` makes of `{name: pictures}`, and waits for the result.
        calls: How many are timed at batch 1.
        prepared: Not timed.
    """
    figures = {}
    for batch in BATCHES:
        inputs = prepared(pictures(batch))
        times = []
        for _ in range(WARM_UP + (calls if batch == 1 else max(calls // 3, 1))):
            start = time.perf_counter()
            call(inputs)
            times.append(1000 * (time.perf_counter() - start))
        figures[median_of(batch)] = float(np.median(times[WARM_UP:]))
        figures[f"95 % ms, batch {batch}"] = float(np.percentile(times[WARM_UP:], 95))
    return figures


def median_of(batch):
    return f"median ms, batch {batch}"


def make_files(folder, torch_too):
    """Writes the LiteRT files after a check that all networks are one; returns their sizes."""
    import tensorflow as tf
    from parity import agree, check

    import mm_keras as mm

    counts = check("mobilenet", torch_too, {"padding": "keras"})
    model = keras_model()
    for name in NAMES:
        found = model.get_layer(f"{name}_backbone").count_params()
        agree("parameters of a backbone", BACKBONE_PARAMETERS, found)
    images = pictures(SAMPLES)
    plain = mm.compress.quantize(model, "float32")
    some = {name: x[:4] for name, x in images.items()}
    agree(
        "outputs of LiteRT", model.predict(some, verbose=0)["label"], plain.predict(some)["label"]
    )
    data = tf.data.Dataset.from_tensor_slices(images).batch(8)
    small = mm.compress.quantize(model, representative=data)
    sizes = {}
    for name, made in {"float32": plain, "int8": small}.items():
        made.save(pathlib.Path(folder, f"{name}.tflite"))
        sizes[f"{name} bytes"] = len(made.content)
    return {"parameters": counts["mm_keras"], **sizes}


def keras_model():
    import keras
    import mm_models
    from norm_statistics import set_in_keras

    keras.utils.set_random_seed(0)
    model = mm_models.mobilenet()
    set_in_keras(model, pictures(32))
    return model


def in_predict(threads, calls):
    from mm_keras.training import jit_compile

    limit_tensorflow(threads)
    model = keras_model()
    model.compile(jit_compile=jit_compile())
    return latencies(lambda inputs: model.predict(inputs, verbose=0), calls)


def in_compiled_call(threads, calls):
    import tensorflow as tf

    limit_tensorflow(threads)
    model = keras_model()
    function = tf.function(lambda inputs: model(inputs, training=False), jit_compile=False)

    def prepared(inputs):
        return {name: tf.constant(x) for name, x in inputs.items()}

    return latencies(lambda inputs: function(inputs)["label"].numpy(), calls, prepared)


def limit_tensorflow(threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def in_litert(folder, mode, threads, calls):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(pathlib.Path(folder, f"{mode}.tflite")), num_threads=threads)
    runner = interpreter.get_signature_runner()
    types = {name: detail["dtype"] for name, detail in runner.get_input_details().items()}

    def prepared(inputs):
        return {name: x.astype(types[name]) for name, x in inputs.items()}

    return latencies(lambda inputs: runner(**inputs), calls, prepared)


def in_torch(compiled, channels_last, threads, calls, freezing=False):
    import torch
    import torch_models
    from norm_statistics import set_in_torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def prepared(inputs):
        tensors = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in inputs.values()]
        return [x.contiguous(memory_format=layout) for x in tensors]

    model = torch_models.mobilenet().eval().to(memory_format=layout)
    set_in_torch(model, prepared(pictures(32)))
    if compiled:
        options = {"freezing": True} if freezing else None
        model = torch.compile(model, dynamic=False, options=options)

    with torch.inference_mode():
        return latencies(lambda inputs: torch.softmax(model(inputs), 1).numpy(), calls, prepared)


def main():
    options = arguments(__doc__, rounds=2, steps=60)
    given = (options.threads, options.steps)
    with tempfile.TemporaryDirectory() as folder:
        jobs = {
            "Keras, predict": ("in_predict", *given),
            "Keras, compiled call": ("in_compiled_call", *given),
            "LiteRT float32": ("in_litert", folder, "float32", *given),
            "LiteRT int8": ("in_litert", folder, "int8", *given),
        }
        torch_jobs = {
            "PyTorch eager": ("in_torch", False, False, *given),
            "PyTorch eager, channels last": ("in_torch", False, True, *given),
            "PyTorch compiled": ("in_torch", True, False, *given),
            "PyTorch compiled, channels last": ("in_torch", True, True, *given),
            "PyTorch compiled, freezing": ("in_torch", True, True, *given, True),
        }
        if version("torch"):
            jobs |= torch_jobs
        else:
            print("PyTorch is not installed: its rows are left out.")
        sizes = run_job(__file__, ("make_files", folder, bool(version("torch"))), options.threads)
        rows = take_turns(
            __file__,
            jobs,
            options.rounds,
            threads=options.threads,
            environment={"TORCHINDUCTOR_CACHE_DIR": os.path.join(folder, "inductor")},
        )
    for batch in BATCHES:
        figure = median_of(batch)
        for baseline, name in ((["Keras, predict"], "predict"), (torch_jobs, "fastest PyTorch")):
            add_ratio(rows, figure, baseline, f"× {name}, batch {batch}", smaller=True)
    from seeds import report

    report(
        "inference" + options.suffix,
        rows,
        f"Two MobileNetV2 towers at 96×96, inference, {options.threads} threads",
        **settings(options),
        **sizes,
        load=os.getloadavg()[2],
        litert=version("ai-edge-litert"),
    )


if __name__ == "__main__":
    answer(make_files, in_predict, in_compiled_call, in_litert, in_torch)
    main()
