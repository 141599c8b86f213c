"""A step of `fit` on what `build_mcnn` makes, beside the same graph written by hand in Keras.

    python benchmarks/speed_overhead.py [--rounds 4] [--steps 160] [--threads 2] [--short]

Protocol: two `SmallCNN` branches on 28×28 and 32×32 pixels of one channel, concatenated, batches of
40 random pictures from memory, Adam, accuracy as a metric. The networks have the same number of
parameters and, for the same weights, the same outputs: checked first. A round is a process with
both, which take turns, eight times, each time another first; a figure is the median over all of its
steps, the ratio the median of those of the turns. `ratio, CPU` compares processor time, on which
other programs weigh less than on the clock. Aim: a ratio of 1.01 at most.
"""

import importlib
import itertools
import statistics
import time

from turns import answer, arguments, run_job, settings, take_turns

TURNS = 8
BATCH = 40
MODULES = {"build_mcnn": "mm_models", "by hand": "keras_models"}


def compare(steps):
    import keras
    from training_rate import keras_times, random_inputs

    from mm_keras.training import jit_compile

    keras.utils.set_random_seed(0)
    models = {name: importlib.import_module(module).small() for name, module in MODULES.items()}
    for model in models.values():
        model.compile(
            keras.optimizers.Adam(),
            keras.losses.SparseCategoricalCrossentropy(),
            metrics=["accuracy"],
            jit_compile=jit_compile(),
        )
    names = [x.name for x in models["by hand"].inputs]
    shapes = [x.shape[1:] for x in models["by hand"].inputs]
    inputs, labels = random_inputs(shapes, BATCH, 255.0)
    inputs = dict(zip(names, inputs, strict=True))
    for model in models.values():  # graphs are made
        keras_times(model, inputs, labels, BATCH, 2)
    clock, processor = ({name: [] for name in models} for _ in range(2))
    for turn in range(TURNS):
        for name in list(models) if turn % 2 else reversed(list(models)):
            began = time.process_time()
            clock[name].append(keras_times(models[name], inputs, labels, BATCH, steps // TURNS))
            processor[name].append(time.process_time() - began)
    figures = {
        f"{name}, ms a step": 1e3 * statistics.median(itertools.chain(*times))
        for name, times in clock.items()
    }
    medians = {name: map(statistics.median, times) for name, times in clock.items()}
    return figures | {"ratio": ratio(medians), "ratio, CPU": ratio(processor)}


def ratio(times):
    """Returns the median over the turns of ours to that by hand."""
    pairs = zip(times["build_mcnn"], times["by hand"], strict=True)
    return statistics.median(ours / other for ours, other in pairs)


def check_parity():
    from parity import check

    return check("small", torch_too=False)


def main():
    options = arguments(__doc__, rounds=4, steps=160)
    options.steps = max(options.steps, 2 * TURNS)
    parameters = run_job(__file__, ("check_parity",), options.threads)
    jobs = {"two small CNNs": ("compare", options.steps)}
    rows = take_turns(__file__, jobs, options.rounds, threads=options.threads)
    from seeds import report

    report(
        f"speed_overhead{options.suffix}",
        rows,
        f"A step of fit, batch {BATCH}, build_mcnn and by hand in Keras, {options.threads} threads",
        batch=BATCH,
        parameters=parameters,
        **settings(options),
    )


if __name__ == "__main__":
    answer(compare, check_parity)
    main()
