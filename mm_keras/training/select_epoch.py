"""Which epoch to keep where the target has no labels."""

from collections.abc import Mapping

import keras
import numpy as np

from mm_keras._checks import check_choice, check_int
from mm_keras.models import inference_model

CRITERIA = ("information", "entropy", "density")
TEMPERATURE = 0.05  # of the neighbourhood, as in the paper


def target_score(predictions: np.ndarray, criterion: str = "information") -> float:
    """Says how well predictions for unlabelled samples look; the higher, the better.

    - `"information"`: `H(mean p) − mean H(p)`, the mutual information of samples and classes: sure
      of each sample, and all classes in use. At most ln C.
    - `"entropy"`: `−mean H(p)`: sure of each sample. All samples in one class are best for it.
    - `"density"`: soft neighbourhood density: the mean entropy of each sample's similarities to the
      others, high where samples lie in dense clusters rather than alone.

    Each can be fooled by predictions that are sure and wrong: look at the source's validation loss
    too. None sees a label.

    Args:
        predictions: Probabilities `(n, C)`, n of at least 2.
        criterion: One of these.

    Raises:
        ValueError: If an argument does not fit.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> sure, unsure = np.eye(2), np.full((2, 2), 0.5)
    >>> round(mm.training.target_score(sure), 4), round(mm.training.target_score(unsure), 4)
    (0.6931, 0.0)

    Reference: Bridle et al., Unsupervised Classifiers, Mutual Information and "Phantom Targets",
    1992; Saito et al., Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft
    Neighborhood Density, 2021.
    """
    check_choice("criterion", criterion, CRITERIA)
    p = np.asarray(predictions, "float64")
    if p.ndim != 2 or len(p) < 2:
        raise ValueError(
            "`predictions` must be probabilities (n, C) of two samples or more. "
            f"Received shape: {p.shape}."
        )
    if criterion == "density":
        return _density(p)
    score = -_entropy(p).mean()
    if criterion == "information":
        score += _entropy(p.mean(axis=0))
    return float(score)


def _entropy(p):
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)


def _density(p):
    unit = p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12)
    total = 0.0
    for start in range(0, len(p), 1024):  # never all pairs at once
        rows = unit[start : start + 1024]
        scores = rows @ unit.T / TEMPERATURE
        scores[np.arange(len(rows)), start + np.arange(len(rows))] = -np.inf
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        total += _entropy(powers / powers.sum(axis=1, keepdims=True)).sum()
    return float(total / len(p))


class SelectEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch whose predictions for the unlabelled target look best.

    Choosing the epoch by the target's labels would be using them. The discriminator's accuracy says
    nothing either: at chance it may just be weak. So this scores, after each epoch, the predictions
    for the target by `target_score`, logs the score as `"target_<criterion>"`, and puts the best
    epoch's weights back at the end. The source's validation loss, the other figure that needs no
    label of the target, is that of `fit`: `keras.callbacks.EarlyStopping("val_label_loss",
    restore_best_weights=True)`.

    Args:
        target: `{input: array}`, or a dataset of batches: inputs, or `(inputs, labels)`, whose
            labels are not used.
        criterion: `"information"`, `"entropy"` or `"density"`: see `mm.training.target_score`.
        output: The output that is scored: classes.
        start: First epoch, counted from 0, that may be chosen.
        batch_size: For arrays.

    Raises:
        ValueError: If an argument does not fit, or the model has no such output.

    Example:

    >>> import numpy as np
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(4)}, 2, width=4)
    >>> model.compile("adam", mm.losses.classification())
    >>> select = mm.training.SelectEpoch({"a": np.ones((4, 4))})
    >>> history = model.fit(
    ...     {"a": np.zeros((4, 4))}, np.zeros(4), epochs=2, verbose=0, callbacks=[select]
    ... )
    >>> len(history.history["target_information"]), select.best_epoch in (0, 1)
    (2, True)
    """

    def __init__(
        self,
        target,
        criterion: str = "information",
        output: str = "label",
        start: int = 0,
        batch_size: int = 256,
    ):
        super().__init__()
        check_choice("criterion", criterion, CRITERIA)
        check_int("start", start, minimum=0)
        check_int("batch_size", batch_size)
        if not isinstance(target, Mapping) and not hasattr(target, "element_spec"):
            raise TypeError(
                "`target` must be {input: array} or a tf.data.Dataset. "
                f"Received: {type(target).__name__}."
            )
        self.target = target
        self.criterion = criterion
        self.output = output
        self.start = start
        self.batch_size = batch_size

    def on_train_begin(self, logs=None):
        check_choice("output", self.output, sorted(self.model.output))
        self._shipped = inference_model(self.model, outputs=[self.output])
        self._best, self._weights, self.best_epoch = -np.inf, None, None

    def on_epoch_end(self, epoch, logs=None):
        arrays = isinstance(self.target, Mapping)
        inputs = self.target
        if arrays:
            inputs = {key: self.target[key] for key in self._shipped.input}
        predictions = self._shipped.predict(
            inputs, batch_size=self.batch_size if arrays else None, verbose=0
        )
        score = target_score(predictions[self.output], self.criterion)
        if logs is not None:
            logs[f"target_{self.criterion}"] = score
        if epoch >= self.start and score > self._best:
            self._best, self.best_epoch = score, epoch
            self._weights = self.model.get_weights()

    def on_train_end(self, logs=None):
        if self._weights is not None:
            self.model.set_weights(self._weights)
