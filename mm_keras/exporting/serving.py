"""The function that every written model computes: dicts by names in and out."""

from typing import Any

import keras
import tensorflow as tf

from mm_keras.exporting.preprocessing import raw_input
from mm_keras.modalities import Modality
from mm_keras.models import modalities_of


class Serving:
    """A model as a function from `{name: tensor}` to `{name: tensor}`.

    Args:
        model: Functional; inputs and outputs that are no dict get the names of their tensors.
        preprocessing: `False`; or how raw pictures are brought to size: `True`, `"pad"`, `"crop"`.
        strings: Whether the format has strings; see `raw_input`.

    Attributes:
        inputs: `{name: tf.TensorSpec}`, with the batch axis.
        outputs: `{name: KerasTensor}`.
        modalities: `{name: spec}` of those inputs that have one.
        raw: `{name: RawInput}` of the inputs that are preprocessed.
    """

    def __init__(self, model: keras.Model, preprocessing: bool | str = False, strings: bool = True):
        self.model = model
        self._names = [tensor.name for tensor in keras.tree.flatten(model.input)]
        graph_inputs = _by_name(model.input, self._names)
        self.outputs = _by_name(model.output, model.output_names)
        self.modalities: dict[str, Modality] = {
            name: spec for name, spec in modalities_of(model).items() if name in graph_inputs
        }
        self.inputs = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
            for name, tensor in sorted(graph_inputs.items())
        }
        self.raw = {}
        for name, spec in self.modalities.items() if preprocessing else ():
            raw = raw_input(name, spec, preprocessing, strings)
            if raw is not None:
                self.raw[name] = raw
                self.inputs[name] = raw.signature

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """What holds the state of the function."""
        return [self.model, *(raw.layer for raw in self.raw.values() if raw.layer is not None)]

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Returns what the model takes of what is given."""
        return {
            name: self.raw[name].prepare(value) if name in self.raw else value
            for name, value in inputs.items()
        }

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        prepared = self.prepare(inputs)
        if not isinstance(self.model.input, dict):
            flat = [prepared[name] for name in self._names]
            prepared = keras.tree.pack_sequence_as(self.model.input, flat)
        outputs = self.model(prepared, training=False)
        return _by_name(outputs, self.model.output_names)


def _by_name(structure: Any, names: list[str]) -> dict[str, Any]:
    if isinstance(structure, dict):
        return dict(structure)
    return dict(zip(names, keras.tree.flatten(structure), strict=True))
