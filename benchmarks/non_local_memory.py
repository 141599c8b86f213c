"""Memory and time of a non-local block, whole and in chunks, on one sequence of N positions.

    python benchmarks/non_local_memory.py [--positions 2048 4096 8192] [--chunk 256] [--seeds 1]

Protocol: one sequence of width 32, embedded Gaussian form, self-attention, one head. A training
step is the gradient of the output's squares with respect to weights and input, as a TensorFlow
graph on CPU. Each figure comes from a process of its own: the growth of its peak resident memory
over a step with 64 positions, and the CPU milliseconds of the second step.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
from seeds import repeat, report

from mm_keras.layers import NonLocalBlock

WIDTH = 32


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(positions, chunk, seed):
    """Prints the megabytes and CPU milliseconds of a training step."""
    block = NonLocalBlock(chunk=chunk, normalization="layer")

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(block(x) ** 2)
        return tape.gradient(loss, [x, *(v.value for v in block.trainable_variables)])

    def inputs(count):
        noise = np.random.default_rng(seed).normal(size=(1, count, WIDTH))
        return tf.constant(noise, "float32")

    small, large = inputs(64), inputs(positions)
    block(small)
    step(small)
    before = peak_mb()
    step(large)
    start = time.process_time()
    step(large)
    print(peak_mb() - before, 1000 * (time.process_time() - start))


def row(positions, chunk):
    def run(seed):
        figures = {}
        for count in positions:
            command = [sys.executable, __file__, "--measure", str(count), str(chunk), str(seed)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            megabytes, ms = map(float, done.stdout.split()[-2:])
            figures |= {f"MB, N = {count:,}": megabytes, f"CPU ms, N = {count:,}": ms}
        return figures

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--measure", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        positions, chunk, seed = options.measure
        measure(positions, chunk or None, seed)
        return
    runs = {
        "whole": row(options.positions, 0),
        f"chunks of {options.chunk}": row(options.positions, options.chunk),
    }
    report(
        "non_local_memory",
        repeat(runs, range(options.seeds)),
        "A training step of a non-local block, one sequence of N positions, CPU",
        seeds=options.seeds,
        chunk=options.chunk,
        width=WIDTH,
    )


if __name__ == "__main__":
    main()
