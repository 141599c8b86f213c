"""Training of MultiBench's network for AV-MNIST: mm_keras, Keras by hand and PyTorch, in turns.

    python benchmarks/speed_av_mnist.py [--rounds 2] [--steps 40] [--threads 2] [--short]

Protocol: late fusion as MultiBench publishes it (Liang et al., 2021): LeNets of 6 channels, with 3
and 5 further blocks, on 28×28 and 112×112 pixels, concatenation, a hidden layer of 100; SGD at 0.1,
weight decay 1e-4, gradients clipped to a norm of 8. `build_mcnn` adds a projection of each branch,
two dense layers more than the others have. Before anything is timed, numbers of parameters and
outputs are compared. Batches come from random arrays in memory, in float32. A row is a process of
its own; rows take turns, once a round, on the same cores. `samples/s` is that of the median of the
timed steps, `--steps` for batches of 40, fewer for larger ones; the ratio is to the fastest PyTorch
row of the round.

PyTorch trains in its usual loop on slices of tensors, eager in both layouts of memory, and compiled
(in one: in trials the other took the same processor time). It must be installed: its rows are left
out if not.
"""

import importlib
import tempfile

from turns import add_ratio, answer, arguments, run_job, settings, take_turns, version

BATCHES = (40, 128)
RATE, DECAY, CLIP = 0.1, 1e-4, 8.0
PER_EXECUTION = 8


def in_keras(module, steps, per_execution):

    import keras
    from training_rate import keras_times, samples_a_second

    from mm_keras.training import jit_compile

    keras.utils.set_random_seed(0)
    figures = {}
    for batch in BATCHES:
        model = importlib.import_module(module).av_mnist()
        model.compile(
            keras.optimizers.SGD(RATE, weight_decay=DECAY, global_clipnorm=CLIP),
            keras.losses.SparseCategoricalCrossentropy(),
            jit_compile=jit_compile(),
            steps_per_execution=per_execution,
        )
        inputs, labels = arrays(batch)
        count = steps_of(batch, steps)
        times = keras_times(model, inputs, labels, batch, count, per_execution)
        figures[figure(batch)] = samples_a_second(times, batch)
    return figures


def in_torch(compiled, channels_last, steps):
    import torch
    import torch_models
    from training_rate import as_tensors, samples_a_second, torch_times

    torch.manual_seed(0)
    figures = {}
    for batch in BATCHES:
        model = torch_models.av_mnist()
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), RATE, weight_decay=DECAY, fused=True)
        inputs, labels = arrays(batch)
        tensors = as_tensors(inputs.values(), labels, channels_last)
        torch.compiler.reset()
        trained = torch.compile(model, dynamic=False) if compiled else model
        times = torch_times(trained, optimizer, *tensors, batch, steps_of(batch, steps), CLIP)
        figures[figure(batch)] = samples_a_second(times, batch)
    return figures


def arrays(batch):
    from training_rate import random_inputs

    shapes = {"image": (28, 28, 1), "spectrogram": (112, 112, 1)}
    inputs, labels = random_inputs(shapes.values(), batch, 1.0)
    return dict(zip(shapes, inputs, strict=True)), labels


def steps_of(batch, steps):
    """Returns how many to time: a multiple of PER_EXECUTION, for much the same time."""
    return -(-steps * min(BATCHES) // batch // PER_EXECUTION) * PER_EXECUTION


def figure(batch):
    return f"samples/s, batch {batch}"


def check_parity(torch_too):
    from parity import check

    return check("av_mnist", torch_too)


def main():
    options = arguments(__doc__, rounds=2, steps=40)
    jobs = {
        "mm_keras": ("in_keras", "mm_models", options.steps, 1),
        f"mm_keras, {PER_EXECUTION} steps per execution": (
            *("in_keras", "mm_models", options.steps, PER_EXECUTION),
        ),
        "Keras by hand": ("in_keras", "keras_models", options.steps, 1),
    }
    torch_jobs = {
        "PyTorch eager": ("in_torch", False, False, options.steps),
        "PyTorch eager, channels last": ("in_torch", False, True, options.steps),
        "PyTorch compiled": ("in_torch", True, False, options.steps),
    }
    if version("torch"):
        jobs |= torch_jobs
    parameters = run_job(__file__, ("check_parity", bool(version("torch"))), options.threads)
    with tempfile.TemporaryDirectory() as cache:  # of torch.compile, once for all rounds
        variables = {"TORCHINDUCTOR_CACHE_DIR": cache}
        rows = take_turns(
            __file__, jobs, options.rounds, threads=options.threads, environment=variables
        )
    for batch in BATCHES:
        add_ratio(rows, figure(batch), torch_jobs, f"× fastest PyTorch, batch {batch}")
    from seeds import report

    report(
        f"speed_av_mnist{options.suffix}",
        rows,
        f"Training of MultiBench's AV-MNIST network, {options.threads} threads",
        parameters=parameters,
        **settings(options),
    )


if __name__ == "__main__":
    answer(in_keras, in_torch, check_parity)
    main()
