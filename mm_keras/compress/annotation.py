"""Which layers TFMOT's quantization-aware training takes, and why not the others."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mm_keras.compress.carried import carried_layer
from mm_keras.compress.legacy import tf_keras, tfmot
from mm_keras.compress.weights import SPARSE

FEW_VALUES = 64  # a kernel with no more different values counts as clustered
ACTIVATIONS = ("linear", "relu", "sigmoid", "softmax", "tanh")
FOLDED = ("Conv2D", "Dense", "DepthwiseConv2D")  # take in a BatchNormalization that follows
CARRIED = "tf_keras has no such layer"
UNSUPPORTED = "TFMOT has no quantization-aware form of it"
NOT_PRESERVED = "TFMOT would not preserve its zeros and values right before a ReLU"
SHARED = "it is called more than once"
NORMALIZATION = "TFMOT takes a normalization only right after a convolution or dense layer"


def quantization_aware(
    model: Any, sparsity: bool, clusters: bool, kept: Mapping[str, str]
) -> tuple[Any, dict[str, str]]:
    """Returns a tf_keras model that rounds as an int8 one will, and `{layer: why it does not}`.

    Args:
        model: A flat functional tf_keras model, of a `Bridge`.
        sparsity: Whether weights that are zero stay zero.
        clusters: Whether kernels keep their number of different values.
        kept: `{layer: reason}` of those that stay in float32.
    """
    toolkit = tfmot().quantization.keras
    scheme = _scheme(sparsity, clusters)
    refused: dict[str, str] = {}
    for layer in model.layers:  # in an order in which they can run
        reason = kept.get(layer.name) or _refusal(layer, scheme, refused)
        if not reason and (sparsity or clusters) and _before_relu(layer):
            reason = NOT_PRESERVED
        if reason:
            refused[layer.name] = reason
    if sparsity or clusters:
        _freeze_unpreserved(model.get_layer(name) for name in refused)

    def annotate(layer):
        if layer.name in refused or _is_input(layer):
            return layer
        return toolkit.quantize_annotate_layer(layer)

    annotated = tf_keras().models.clone_model(model, clone_function=annotate)
    with toolkit.quantize_scope({"Carried": carried_layer()}):
        return toolkit.quantize_apply(annotated, scheme), refused


def has_few_values(kernel: np.ndarray) -> bool:
    """Whether a kernel counts as clustered."""
    return kernel.size > 2 * FEW_VALUES and len(np.unique(kernel)) <= FEW_VALUES


def _freeze_unpreserved(layers: Iterable[Any]) -> None:
    """Stops the training of layers whose zeros and few values nothing would keep."""
    for layer in layers:
        kernels = [w.numpy() for w in layer.weights if len(w.shape) > 1]
        if any((k == 0).mean() >= SPARSE or has_few_values(k) for k in kernels):
            layer.trainable = False


def _before_relu(layer) -> bool:
    """Whether it has a kernel, and a ReLU reads it: TFMOT's layout then quantizes it plainly."""
    if type(layer).__name__ not in FOLDED or len(layer.outbound_nodes) != 1:
        return False
    after = layer.outbound_nodes[0].layer
    activation = getattr(getattr(after, "activation", None), "__name__", "")
    return type(after).__name__ == "ReLU" or activation == "relu"


def takes(layers: Any) -> bool:
    """Whether TFMOT takes one of a model's layers."""
    scheme, refused = _scheme(False, False), {}
    for layer in layers:
        refused[layer.name] = _refusal(layer, scheme, refused)
    return any(not refused[layer.name] for layer in layers if layer.weights)


def _is_input(layer) -> bool:
    return isinstance(layer, tf_keras().layers.InputLayer)


def _refusal(layer, scheme, refused) -> str | None:
    """Returns why a layer cannot be trained quantized, or `None` where it can."""
    if _is_input(layer):
        return None
    if isinstance(layer, carried_layer()):
        return CARRIED
    if len(layer.inbound_nodes) > 1:
        return SHARED
    if isinstance(layer, tf_keras().layers.BatchNormalization):
        return None if _follows_kernel(layer, refused) else NORMALIZATION
    if not scheme.get_quantize_registry().supports(layer):
        return UNSUPPORTED
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if activation not in ACTIVATIONS:
        return f"TFMOT has no quantization-aware form of its activation, {activation}"
    return None


def _follows_kernel(layer, refused) -> bool:
    """Whether a normalization is the only one that reads a layer with a kernel that is taken."""
    before = layer.inbound_nodes[0].inbound_layers
    return (
        type(before).__name__ in FOLDED
        and before.name not in refused
        and len(before.outbound_nodes) == 1
        and before.activation.__name__ == "linear"
    )


class _FreshRegistry:
    """Makes each layer's configuration anew: TFMOT's own share state between layers.

    There, a layer without zeros ends the preservation of zeros in all that come after it.
    """

    def __init__(self, scheme):
        self.scheme = scheme
        toolkit = tfmot().quantization.keras
        self.default = toolkit.default_8bit.Default8BitQuantizeScheme().get_quantize_registry()

    def supports(self, layer):
        # The cluster-preserving registry takes anything that has no weights.
        return self.default.supports(layer) and self.scheme.get_quantize_registry().supports(layer)

    def get_quantize_config(self, layer):
        return self.scheme.get_quantize_registry().get_quantize_config(layer)


def _scheme(sparsity: bool, clusters: bool) -> Any:
    toolkit, combine = tfmot().quantization.keras, tfmot().experimental.combine
    if clusters:
        scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=sparsity)
    elif sparsity:
        scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    else:
        return toolkit.default_8bit.Default8BitQuantizeScheme()
    fresh = _FreshRegistry(scheme)

    class Scheme(toolkit.QuantizeScheme):
        def get_layout_transformer(self):
            return scheme.get_layout_transformer()

        def get_quantize_registry(self):
            return fresh

    return Scheme()
