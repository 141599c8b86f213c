"""A learning rate for each modality."""

from collections.abc import Mapping

from mm_keras._checks import check_number
from mm_keras.training.grouping import RegroupingCallback, group_weights, recompile_training
from mm_keras.training.layers_of import layers_of


class ModalityRates(RegroupingCallback):
    """Lets modalities, or layers, learn at rates of their own: a multiple of the optimizer's.

    For an encoder that is pretrained, say, or learns too fast beside the others. Any Keras
    optimizer serves; schedules and callbacks act on the common rate. When `fit` starts, the
    model's optimizer becomes an `mm.training.GroupedOptimizer`, which stays with the model, files
    included. With several replicas compile with such an optimizer instead.

    Args:
        rates: `{name: factor}`, each at least 0. A name is that of a modality or of layers, as in
            `mm.training.layers_of`; where two mean one layer, the later one holds.

    Raises:
        TypeError: If `rates` is no dict, or a factor no number.
        ValueError: If it is empty or a factor negative; when `fit` starts: if the model has no
            such modality or layer, or its optimizer has taken steps with other groups.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"image": mm.Features(8), "audio": mm.Features(6)}, 2)
    >>> model.compile("adam", {"label": mm.losses.classification()}, jit_compile=False)
    >>> x = {"image": np.ones((4, 8)), "audio": np.ones((4, 6))}
    >>> rates = mm.training.ModalityRates({"image": 0.1})
    >>> history = model.fit(x, {"label": np.zeros(4)}, verbose=0, callbacks=[rates])
    >>> model.optimizer.rates
    (1.0, 0.1)

    Reference: Howard and Ruder, ULMFiT, 2018 (discriminative rates); Yao and Mihalcea,
    Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion, 2022.
    """

    def __init__(self, rates: Mapping[str, float]):
        super().__init__()
        self.rates = self.checked("rates", rates, "factor", check_number)

    def on_train_begin(self, logs=None):
        wanted = {
            id(weight): float(rate)
            for name, rate in self.rates.items()
            for layer in layers_of(self.model, name)
            for weight in layer.weights
        }
        optimizer, groups = group_weights(self.model, wanted)
        rates = list(optimizer.rates)
        for weight, group in groups.items():
            rates[group] = wanted.get(weight, 1.0)
        optimizer.rates = tuple(rates)
        recompile_training(self.model)
