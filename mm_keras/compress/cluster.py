"""Weight clustering."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mm_keras._checks import check_bool, check_choice, check_int
from mm_keras.compress.bridge import Bridge, to_tf_keras
from mm_keras.compress.fine_tuning import check_training, compile_arguments
from mm_keras.compress.graph import check_functional
from mm_keras.compress.hosted import Hosted
from mm_keras.compress.legacy import tf_keras, tfmot
from mm_keras.compress.weights import SPARSE, Layers, compressible, select_layers, weight_path

CENTROIDS = {
    "kmeans++": "KMEANS_PLUS_PLUS",
    "density": "DENSITY_BASED",
    "linear": "LINEAR",
    "random": "RANDOM",
}


def cluster(
    model: keras.Model,
    train: tf.data.Dataset,
    number_of_clusters: int = 16,
    *,
    epochs: int = 1,
    centroids: str = "kmeans++",
    per_channel: bool = False,
    preserve_sparsity: bool | None = None,
    layers: Layers = None,
    compile: Mapping[str, Any] | None = None,
    validation_data: tf.data.Dataset | None = None,
    steps_per_epoch: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> keras.Model:
    """Lets each kernel have few different values, while the model is trained further.

    TFMOT clusters the weights and trains the centroids; the training runs through Keras' own `fit`,
    with the optimizer, losses, metrics and callbacks that the model is compiled with. Few values
    make a file that compresses well; they stay the values of any later int8 quantization. `model`
    stays as it is.

    Clustered are kernels and embedding tables, also within layers such as attention and fusion, and
    in frozen layers; those with no more weights than clusters are left as they are.

    Args:
        model: A functional `keras.Model`, trained.
        train: Batches of `({name: array}, labels)`, or with sample weights.
        number_of_clusters: How many values a kernel may have: at least 2, and 3 where zeros stay.
        epochs: Number of passes.
        centroids: Where they start: `"kmeans++"`; `"density"`: equally many weights for each;
            `"linear"`: equally far apart from the least to the greatest weight; `"random"`.
        per_channel: Gives each output channel of a Conv2D values of its own, which suits the int8
            quantization of convolutions.
        preserve_sparsity: Whether weights that are zero stay so: what `prune` gained. `None`:
            in kernels of which at least 5 % are zero.
        layers: Which layers, by names or paths, or a function `f(layer) -> bool`. `None`: all.
        compile: Arguments of `compile` for this training, such as a smaller learning rate. Those
            left out are as the model is compiled. XLA is not used.
        validation_data: As `train`.
        steps_per_epoch: Of `train`, where its length is unknown.
        callbacks: Keras callbacks. Their `self.model` has TFMOT's wrappers within: its `save`
            writes the plain Keras 3 model as it is at that time, its `layers` are those of the
            model but for the weights that are being trained, and `load_weights` raises.
        verbose: As for `fit`.

    Returns:
        A Keras 3 model, compiled. Training it further gives the weights other values again.

    Raises:
        TypeError, ValueError: If an argument does not fit, before any training.
        RuntimeError: If a kernel has more values than asked for, or has lost zeros.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import mm_keras as mm
    >>> model = mm.build_mcnn({"a": mm.Features(10), "b": mm.Features(10)}, 2, width=20)
    >>> model.compile("adam", mm.losses.classification(), jit_compile=False)
    >>> inputs = {"a": np.ones((8, 10), "float32"), "b": np.ones((8, 10), "float32")}
    >>> train = tf.data.Dataset.from_tensor_slices((inputs, [0, 1] * 4)).batch(4)
    >>> clustered = mm.compress.cluster(model, train, number_of_clusters=4, verbose=0)
    >>> max(mm.compress.unique_weights(clustered).values())
    4

    Reference: Han et al., Deep Compression, 2016.
    """
    check_functional(model)
    check_int("number_of_clusters", number_of_clusters, minimum=2)
    check_choice("centroids", centroids, CENTROIDS)
    check_bool("per_channel", per_channel)
    if preserve_sparsity is not None:
        check_bool("preserve_sparsity", preserve_sparsity)
    arguments = compile_arguments(model, compile) | {"jit_compile": False}
    chosen = set(select_layers(model, layers))
    bridge = to_tf_keras(model)
    bridge.source.compile(**arguments)
    check_training(bridge.source, train, validation_data, epochs, steps_per_epoch)
    wrapping = _Wrapping(
        bridge, chosen, number_of_clusters, centroids, per_channel, preserve_sparsity
    )
    clustered = wrapping.wrap()

    def strip():
        with bridge.kept_weights():  # a checkpoint must not change the weights in training
            return bridge.to_keras(tfmot().clustering.keras.strip_clustering(clustered))

    host = Hosted(clustered, strip, bridge.source.layers)
    host.compile(**compile_arguments(model, compile) | {"jit_compile": False})
    host.fit(
        train,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_data,
        callbacks=list(callbacks),
        verbose=verbose,
        shuffle=False,  # that is up to the dataset
    )
    result = strip()
    wrapping.verify(result)
    result.compile(**compile_arguments(model, compile))
    return result


class _Wrapping:
    """Which layers to cluster, and whether that came about."""

    def __init__(
        self,
        bridge: Bridge,
        chosen: set[str],
        number_of_clusters: int,
        centroids: str,
        per_channel: bool,
        preserve_sparsity: bool | None,
    ):
        self.bridge, self.number = bridge, number_of_clusters
        self.centroids, self.per_channel = centroids, per_channel
        self.zeros: dict[str, dict[str, np.ndarray]] = {}  # {tf_keras layer: {weight: where}}
        for name, bridged in bridge.layers.items():
            if bridged.path not in chosen or bridged.kind not in ("native", "carried"):
                continue
            self._add(name, bridged, preserve_sparsity)
        if not self.zeros:
            raise ValueError(
                "`number_of_clusters` must be below the number of weights of some kernel that "
                f"`layers` chooses. Received: number_of_clusters={number_of_clusters}."
            )

    def _add(self, name, bridged, preserve):
        weights = compressible(bridged.layer)
        if min(map(self._size, weights)) <= self.number:
            return
        share = np.mean([np.mean(w.numpy() == 0) for w in weights])
        keeps = share >= SPARSE if preserve is None else preserve
        if keeps and self.number < 3:
            raise ValueError(
                "`number_of_clusters` must be at least 3 where zeros stay zero: one value is 0. "
                f"Received: number_of_clusters={self.number}."
            )
        self.zeros[name] = {w.path: w.numpy() == 0 for w in weights} if keeps else {}

    def _size(self, weight):
        size = int(np.prod(weight.shape))
        return size // weight.shape[-1] if self._by_channel(weight) else size

    def _by_channel(self, weight):
        return self.per_channel and len(weight.shape) == 4

    def wrap(self):
        """Returns the tf_keras model with TFMOT's wrappers."""
        toolkit = tfmot().clustering.keras
        start = getattr(toolkit.CentroidInitialization, CENTROIDS[self.centroids])

        frozen = []

        def wrapped(layer):
            if layer.name not in self.zeros:
                return layer
            if not layer.trainable:  # TFMOT finds no weights in frozen layers
                frozen.append(layer)
                layer.trainable = True
            options = {"cluster_per_channel": True} if self.per_channel else {}
            return toolkit.cluster_weights(
                layer,
                self.number,
                cluster_centroids_init=start,
                preserve_sparsity=bool(self.zeros[layer.name]),
                **options,
            )

        clustered = tf_keras().models.clone_model(self.bridge.model, clone_function=wrapped)
        for layer in frozen:
            layer.trainable = False
        return clustered

    def verify(self, model):
        """Raises where a weight of the result has too many values, or lost zeros."""
        layers = select_layers(model, None)
        for name, zeros in self.zeros.items():
            bridged = self.bridge.layers[name]
            layer = layers[bridged.path]
            for old, new in zip(compressible(bridged.layer), compressible(layer), strict=True):
                path, values = weight_path(bridged.path, layer, new), new.numpy()
                parts = np.moveaxis(values, -1, 0) if self._by_channel(new) else [values]
                count = max(len(np.unique(part)) for part in parts)
                if count > self.number:
                    raise RuntimeError(
                        f"The weight {path!r} has {count} values, not {self.number}, after "
                        "clustering."
                    )
                if zeros and (values[zeros[old.path]] != 0).any():
                    raise RuntimeError(f"The weight {path!r} has lost zeros in clustering.")
