"""Real digits, seen and heard: half of the weights gone, then 16 values for the rest."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mm_keras as mm
from mm_keras.compress.weights import compressible
from mm_keras.datasets import av_digits

FRESH = """
import sys
import keras, numpy as np
import mm_keras as mm
model = keras.models.load_model(sys.argv[1])
batch = dict(np.load(sys.argv[2]))
np.savez(sys.argv[3], label=model.predict(batch, verbose=0)["label"],
         sparsity=mm.compress.sparsity(model).overall)
"""


def accuracy(model, data):
    """Returns the accuracy in per cent."""
    return 100 * model.evaluate(data, verbose=0, return_dict=True)["accuracy"]


@pytest.mark.slow
def test_compressed_digits_are_read_as_well(tmp_path, digits_folder):
    train = av_digits("train", data_dir=digits_folder).batch(48).cache()
    test = av_digits("test", data_dir=digits_folder).batch(100).cache()
    keras.utils.set_random_seed(0)
    image = mm.Image((8, 8, 1), backbone="SmallCNN")
    audio = mm.Audio(6400, 8000, backbone="SmallCNN", mel_bins=16, stride=0.05)
    model = mm.build_mcnn({"image": image, "audio": audio}, 10, width=32)
    model.compile("adam", mm.losses.classification(), metrics=["accuracy"], jit_compile=False)
    model.fit(train, epochs=6, verbose=0)
    before = accuracy(model, test)
    assert before > 80

    pruned = mm.compress.prune(model, train, 0.5, epochs=1, verbose=0)
    assert accuracy(model, test) == before
    assert accuracy(pruned, test) > before - 5
    assert mm.compress.sparsity(pruned).overall == pytest.approx(0.5, abs=0.01)
    check_files(pruned, next(iter(test))[0], tmp_path)

    clustered = mm.compress.cluster(pruned, train, 16, verbose=0)
    assert accuracy(clustered, test) > before - 5
    assert max(mm.compress.unique_weights(clustered).values()) <= 16
    assert mm.compress.sparsity(clustered).overall >= 0.49
    for new, old in zip(clustered.layers, pruned.layers, strict=True):
        for a, b in zip(compressible(new), compressible(old), strict=True):
            assert not a.numpy()[b.numpy() == 0].any()


def check_files(pruned, batch, folder):
    """Checks a file in a fresh process, and a SavedModel."""
    batch = {k: v.numpy() for k, v in batch.items()}
    expected = pruned.predict(batch, verbose=0)["label"]
    pruned.save(folder / "pruned.keras")
    np.savez(folder / "batch.npz", **batch)
    arguments = [str(folder / name) for name in ("pruned.keras", "batch.npz", "out.npz")]
    subprocess.run([sys.executable, "-c", FRESH, *arguments], check=True)
    out = np.load(folder / "out.npz")
    np.testing.assert_allclose(out["label"], expected, atol=1e-6)
    assert out["sparsity"] == mm.compress.sparsity(pruned).overall

    mm.export(pruned, folder / "served", format="saved_model", check=False)
    served = tf.saved_model.load(folder / "served")
    got = served.serve({k: tf.constant(v, "float32") for k, v in batch.items()})
    np.testing.assert_allclose(got["label"], expected, atol=1e-5)
