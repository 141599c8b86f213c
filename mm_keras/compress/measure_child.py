"""Run by `measure`, in a process of its own: how fast a file is, and how much memory it takes.

It imports nothing of mm_keras, so that what is measured is what serving the file takes.

    python -P measure_child.py FILE INPUTS.npz RUNS

FILE is a `.tflite` file or the folder of a SavedModel. Prints JSON: `{"latency_ms": {size of a
batch: [milliseconds of each run]}, "peak_memory": bytes}`.
"""

import json
import pathlib
import sys
import time

import numpy as np

WARM_UP = 5


def load(path):
    """Returns a function of `{name: array}`."""
    if path.endswith(".tflite"):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(path)
        runner = interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))
        return lambda inputs: runner(**inputs)
    import tensorflow as tf

    served = tf.saved_model.load(path)
    return lambda inputs: served.serve(inputs)


def peak_memory():
    """Returns the most bytes that this process has had in memory."""
    try:  # on Linux, getrusage would count the process that started this one
        lines = pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except FileNotFoundError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def main(path, inputs, runs):
    """Measures and prints."""
    predict = load(path)
    arrays = {}  # {size of a batch: {name: array}}
    for key, array in np.load(inputs).items():
        size, name = key.split("/")
        arrays.setdefault(int(size), {})[name] = array
    latency = {}
    for size, batch in arrays.items():
        if not path.endswith(".tflite"):
            import tensorflow as tf

            batch = {name: tf.constant(array) for name, array in batch.items()}
        times = []
        for _ in range(runs + WARM_UP):
            start = time.perf_counter()
            predict(batch)
            times.append(1e3 * (time.perf_counter() - start))
        latency[size] = times[WARM_UP:]
    print(json.dumps({"latency_ms": latency, "peak_memory": peak_memory()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
