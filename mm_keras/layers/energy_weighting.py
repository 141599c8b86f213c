"""Late fusion weighted by how sure each modality's own logits are."""

import keras
from keras import ops

from mm_keras._checks import check_number
from mm_keras.layers.students import check_students, stack_students


@keras.saving.register_keras_serializable("mm_keras")
class EnergyWeighting(keras.layers.Layer):
    """Sums the logits of several modalities, each weighted by its own negative energy.

    `l = Σ_m w_m l_m` with `w_m = logsumexp(l_m) / scale`, through which no gradient flows: a
    modality can't be heard by shouting, but must fit the labels with logits of its own. So give
    each modality's logits a loss too. The weights are not normalised, and grow by `c / scale`
    where c is added to all logits of a modality. They are no measure of a modality's importance.

    Quality-aware multimodal fusion also ranks the weights by each sample's history of losses,
    which a layer has no access to: that part is left out.

    Args:
        scale: What energies are divided by, above 0; 10 in the paper's code.

    Call arguments:
        inputs: `{modality: (B, C)}`: logits of C classes, at least 2.
        mask: Optional, `{modality: (B, N) or (B, 1) bool}`; a name left out is present throughout.
            A modality without any position has a weight of 0, no effect and no gradient.

    Output shape:
        A dict of `"logits"`, `(B, C)` float32, and `"weights"`, `(B, M)` float32 in the order of
        the sorted names.

    Raises:
        ValueError: If `scale`, or the inputs' shapes, don't fit.
        TypeError: If `inputs` is no dict.

    Example:

    A head for each modality, joined; `image` and `audio` are outputs with losses of their own:

    >>> import keras
    >>> import mm_keras as mm
    >>> inputs = {"image": keras.Input((8,)), "audio": keras.Input((6,))}
    >>> logits = {name: keras.layers.Dense(10, name=name)(x) for name, x in inputs.items()}
    >>> fused = mm.layers.EnergyWeighting()(logits)
    >>> model = keras.Model(inputs, {**logits, "label": fused["logits"]})
    >>> fused["weights"].shape
    (None, 2)

    Reference: Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data, 2023.
    """

    def __init__(self, scale: float = 10.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_number("scale", scale)
        if scale == 0:
            raise ValueError("`scale` must be above 0. Received: scale=0.")
        self.scale = scale
        self.supports_masking = True

    def build(self, inputs_shape):
        self.names = check_students("EnergyWeighting", inputs_shape)
        if inputs_shape[self.names[0]][-1] < 2:
            raise ValueError(
                "`inputs` of EnergyWeighting must have logits of at least 2 classes: of one, the "
                f"energy is the logit itself. Received shape: {inputs_shape[self.names[0]]}."
            )

    def call(self, inputs, mask=None):
        x, present = stack_students("EnergyWeighting", self.names, inputs, mask)
        weights = ops.stop_gradient(ops.logsumexp(x, axis=-1, keepdims=True) / self.scale)
        weights = ops.where(present, weights, ops.zeros_like(weights))  # (M, B, 1)
        return {
            "logits": ops.sum(weights * x, axis=0),
            "weights": ops.transpose(weights[..., 0]),
        }

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_spec(self, inputs, mask=None):
        batch, classes = inputs[sorted(inputs)[0]].shape
        return {
            "logits": keras.KerasTensor((batch, classes), dtype="float32"),
            "weights": keras.KerasTensor((batch, len(inputs)), dtype="float32"),
        }

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
