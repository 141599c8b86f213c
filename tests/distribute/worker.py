"""A worker of the tests: trains and evaluates, and writes what it found to `rank_<n>.json`.

Arguments: the folder to write to, what to do, with commas. With `LOGICAL_CPUS` it is one process
with that many replicas.
"""

import hashlib
import json
import os
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import mm_keras as mm

if "LOGICAL_CPUS" in os.environ:
    count = int(os.environ["LOGICAL_CPUS"])
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])
else:
    strategy = mm.distribute.strategy()

from tests.distribute.cases import ACCUMULATED, CASES, CLIPPED, EPOCHS, samples

workers = mm.distribute.Workers(strategy)
folder = pathlib.Path(sys.argv[1])
found = {"rank": workers.rank, "count": workers.count, "chief": workers.is_chief}


def digest(model):
    """Says whether weights, statistics and the optimizer's state are the same to the last bit."""
    state = [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in state)).hexdigest()


def replica_digests(model):
    """Says the same of each replica of this process."""
    found = [hashlib.sha256() for _ in range(strategy.num_replicas_in_sync // workers.count)]
    for variable in model.weights:
        for replica, value in enumerate(strategy.experimental_local_results(variable.value)):
            found[replica].update(np.ascontiguousarray(value.numpy()).tobytes())
    return [one.hexdigest() for one in found]


def compiled(name):
    with strategy.scope():
        return CASES[name].model()


def curve(name):
    case, model = CASES[name], compiled(name)
    data = case.data(model)
    # Once, and not of every case: it takes a while to trace.
    validation = data if workers.count == 2 and name not in CLIPPED else None
    history = mm.distribute.fit(
        model, data, epochs=EPOCHS, validation_data=validation, verbose=0, **case.options
    )
    return {
        "history": history.history,
        "digest": digest(model),
        "replicas": replica_digests(model),
        "weights": [weight.tolist() for weight in model.get_weights()],
        "limit": getattr(model.optimizer, name, None),
    }, model


def average():
    """Batch normalisation by parts; each worker's part has statistics of its own."""
    model = compiled("dense")
    data = CASES["dense"].data(model).take(2)
    mm.distribute.fit(model, data, verbose=0, batch_norm="average")
    norm = model.get_layer("norm")
    return {
        "digest": digest(model),
        "mean": norm.moving_mean.numpy().tolist(),
        "synchronized": norm.synchronized,
    }


class Stop(keras.callbacks.Callback):
    """Asks for a stop on the last worker alone."""

    def on_train_batch_begin(self, batch, logs=None):
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if workers.rank == workers.count - 1 and batch == 2:
            self.model.stop_training = True


def uneven():
    """Shards of 5 and 3 batches, then one of unknown length; a stop that one worker asks for."""
    sizes = [5, 3, 4][: workers.count]

    def own(context):
        rank = context.input_pipeline_id
        start = 2 * sum(sizes[:rank])
        return samples(40).skip(start).take(2 * sizes[rank]).batch(2)

    model = compiled("mcnn")
    evaluated = mm.distribute.evaluate(model, own, return_dict=True, verbose=0)
    steps = int(model.optimizer.iterations.numpy())
    history = mm.distribute.fit(model, own, epochs=1, verbose=0)
    steps = int(model.optimizer.iterations.numpy()) - steps
    unknown = samples(40).batch(3).filter(lambda inputs, label: True)  # 14 batches
    stop = Stop()
    mm.distribute.fit(model, unknown, epochs=3, verbose=0, callbacks=[stop])
    return {
        "evaluated": evaluated,
        "steps": steps,
        "loss": history.history["loss"],
        "stopped_at": stop.batch,
        "digest": digest(model),
    }


def resumed():
    """An epoch, a backup of the chief, and a new model that goes on from it."""
    own = folder / f"rank_{workers.rank}"

    def callbacks(name):
        return [
            keras.callbacks.BackupAndRestore(own / "backup", delete_checkpoint=False),
            keras.callbacks.ModelCheckpoint(own / f"{name}.keras"),
            keras.callbacks.CSVLogger(own.with_suffix(f".{name}.csv")),
        ]

    def trained(epochs, name):
        model = compiled("dense")
        data = CASES["dense"].data(model)
        made = mm.distribute.fit(model, data, epochs=epochs, verbose=2, callbacks=callbacks(name))
        return model, made.history["loss"]

    trained(1, "first")
    model, losses = trained(EPOCHS, "second")
    return {"loss": losses, "digest": digest(model)}


def refused():
    """Accumulation by several replicas."""
    with strategy.scope():
        model = ACCUMULATED.model()
    try:
        mm.distribute.fit(model, ACCUMULATED.data(model), verbose=0)
    except ValueError as error:
        return {"message": str(error)}


def killed():
    """The last worker dies in a step."""

    class Die(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if workers.rank == workers.count - 1 and batch == 3:
                os.kill(os.getpid(), 9)

    model = compiled("mcnn")
    data = samples(40).batch(4).repeat()
    start = time.time()
    try:
        mm.distribute.fit(
            model, data, epochs=99, steps_per_epoch=1000, verbose=0, callbacks=[Die()]
        )
    except mm.distribute.WorkerLost as error:
        return {"message": str(error), "seconds": time.time() - start}


for name in sys.argv[2].split(","):
    if name in CASES:
        found[name], model = curve(name)
        if name == "mcnn" and workers.count == 2:
            data = samples(19, seed=3).batch(8)
            predicted = mm.distribute.predict(model, data, verbose=0)
            found["predicted"] = predicted["label"].tolist()
            figures = mm.distribute.evaluate(model, data, verbose=0)
            found["evaluated"] = figures
    else:
        if name == "killed":  # the dying worker writes nothing more
            (folder / f"rank_{workers.rank}.json").write_text(json.dumps(found))
        found[name] = {
            "average": average,
            "uneven": uneven,
            "resumed": resumed,
            "refused": refused,
            "killed": killed,
        }[name]()
    print(f"{name}: {time.process_time():.1f} s of CPU time so far", flush=True)
(folder / f"rank_{workers.rank}.json").write_text(json.dumps(found))
if "killed" not in found:
    workers.exchange(0)  # nobody leaves while another may still need it
