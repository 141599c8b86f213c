"""The warm-up from all negatives to the hardest."""

import keras
import numpy as np
import pytest

import mm_keras as mm
from tests.conformance.cases import floats

SPECS = {"a": mm.Features(3), "b": mm.Features(3)}
X = {"a": floats(4, 3), "b": floats(4, 3, seed=1)}


def test_hardness_follows_the_epochs():
    model = mm.build_cmn(SPECS, None, contrastive="vse", embedding=4)
    model.compile("sgd", jit_compile=False)
    layer, seen = model.get_layer("contrast"), []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(float(layer.current_hardness))
    )
    warm_up = mm.training.HardNegativeWarmUp(warmup=1, rampup=2)
    model.fit(X, epochs=4, verbose=0, callbacks=[warm_up, note])
    np.testing.assert_allclose(seen, [0, 0.5, 1, 1])


@pytest.mark.parametrize("contrastive", ["info_nce", None])
def test_without_such_a_layer(contrastive):
    model = mm.build_cmn(SPECS, 2, contrastive=contrastive, embedding=4)
    model.compile("sgd", {"label": mm.losses.classification()}, jit_compile=False)
    with pytest.raises(ValueError, match=r"`model` must have a ContrastiveLearning layer.*'cmn'"):
        model.fit(
            X,
            {"label": np.zeros(4)},
            verbose=0,
            callbacks=[mm.training.HardNegativeWarmUp()],
        )


def test_errors():
    with pytest.raises(ValueError, match="`warmup` must be an integer of at least 0"):
        mm.training.HardNegativeWarmUp(-1)
    with pytest.raises(ValueError, match="`rampup` must be an integer of at least 0"):
        mm.training.HardNegativeWarmUp(rampup=-1)
