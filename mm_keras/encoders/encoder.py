"""What every encoder does: features of any backbone to a sequence `(B, N, D)`."""

import keras

from mm_keras.modalities import Modality


class Encoder:
    """Turns one modality's input into a feature sequence; called again, it shares its weights.

    It is made of Keras layers and holds no weights of its own, so that the graph stays flat and
    every layer in it is found by name. A subclass makes its layers in `__init__` and implements
    `features`.

    Args:
        spec: What comes in.
        width: Width D of the feature sequence.
        name: Stands before the name of every layer.
    """

    def __init__(self, spec: Modality, width: int, name: str):
        self.spec = spec
        self.width = width
        self.name = name
        self.regularizer = keras.regularizers.L2(spec.l2) if spec.l2 else None
        self.projection = None

    @staticmethod
    def sharing_key(spec: Modality) -> tuple | None:
        """Returns what must agree for two specs to share one backbone; `None`: there is none."""
        return None

    def features(self, inputs, mask):
        """Returns features of any width, `(B, C)`, `(B, N, C)` or `(B, h, w, C)`."""
        raise NotImplementedError

    def mask(self, inputs):
        """Returns the mask `(B, N)` of the positions, or `None` if the modality has no padding."""
        return None

    def presence(self, present, features):
        """Returns the mask of `features` that a presence input, or `None`, stands for."""
        return present

    def __call__(self, inputs, present=None):
        """Returns features and their mask of an input.

        Args:
            inputs: `(B, …)`, zeros where absent.
            present: The presence input, `(B, 1)` or `(B, V)` bool, or `None`.

        Returns:
            Features `(B, N, D)` and a mask `(B, N)` or `(B, 1)`, or `None`.
        """
        mask = self.mask(inputs)
        features = self.project(self.features(inputs, mask))
        # Absent texts are all padding already: their own mask says so.
        return features, self.presence(present, features) if mask is None else mask

    def project(self, x):
        """Projects to the common width, normalises, activates, flattens the positions."""
        if len(x.shape) not in (2, 3, 4):
            raise ValueError(
                f"The backbone of {self.name!r} must return features (B, C), (B, N, C) or "
                f"(B, h, w, C). Received: {x.shape}."
            )
        if self.projection is None:
            self.projection = list(self._projection_layers(rank=len(x.shape)))
        for layer in self.projection:
            x = layer(x)
        return x

    def _projection_layers(self, rank: int):
        spec, name = self.spec, self.name
        if rank == 4:  # a 1×1 convolution, where the features are a map
            yield keras.layers.Conv2D(
                self.width, 1, kernel_regularizer=self.regularizer, name=f"{name}_projection"
            )
        else:
            yield keras.layers.Dense(
                self.width, kernel_regularizer=self.regularizer, name=f"{name}_projection"
            )
        if spec.normalization == "batch":
            yield keras.layers.BatchNormalization(name=f"{name}_normalization")
        elif spec.normalization == "layer":
            yield keras.layers.LayerNormalization(name=f"{name}_normalization")
        if spec.activation:
            yield keras.layers.Activation(spec.activation, name=f"{name}_activation")
        if spec.dropout:
            yield keras.layers.Dropout(spec.dropout, name=f"{name}_dropout")
        if rank != 3:
            yield keras.layers.Reshape((-1, self.width), name=f"{name}_features")
