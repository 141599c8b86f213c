"""A training that others interrupt, in processes of its own."""

import json
import pathlib

MOMENTS = ("step", "validation")


def train(folder, counts=None):
    """Trains in `folder`, from its last checkpoint on; leaves weights and history there.

    Args:
        folder: Of checkpoints and results.
        counts: Shared counters, by number of the moment, of how often it has begun.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    import mm_keras as mm

    class Moments(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if counts:
                counts[MOMENTS.index("step")] += 1

        def on_test_batch_begin(self, batch, logs=None):
            if counts:
                counts[MOMENTS.index("validation")] += 1

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(94, 300)).astype("float32") for name in ("a", "b")}
    inputs["b_present"] = np.ones((94, 1), bool)
    data = tf.data.Dataset.from_tensor_slices((inputs, np.arange(94) % 3))
    trained = data.shuffle(94, seed=1, reshuffle_each_iteration=True).batch(8)
    trained = mm.data.drop_modalities(trained, {"b": 0.3}, seed=2)
    model = mm.build_mcnn(
        {"a": mm.Features(300), "b": mm.Features(300, optional=True)},
        3,
        width=128,
        hidden=(256,),
        dropout=0.2,
        modality_dropout=0.1,
    )
    model.compile(
        keras.optimizers.Adam(0.003),
        mm.losses.classification(),
        metrics=["accuracy"],
        jit_compile=False,
    )
    folder = pathlib.Path(folder)
    history = mm.distribute.fit(
        model,
        trained,
        epochs=7,
        validation_data=data.batch(10),
        callbacks=[
            keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=0.01),
            keras.callbacks.EarlyStopping("val_loss", patience=99, restore_best_weights=True),
            Moments(),
        ],
        checkpoints=mm.training.Checkpoints(folder / "checkpoints", keep=2, every=2),
        resume=True,
        verbose=0,
    )
    np.savez(folder / "unfinished.npz", *model.get_weights())
    (folder / "history.json").write_text(json.dumps(history.history))
    (folder / "unfinished.npz").rename(folder / "weights.npz")
