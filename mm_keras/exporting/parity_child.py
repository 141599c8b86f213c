"""Run by its path in a process of its own: loads a written model and predicts.

It imports what the format needs and nothing else: mm_keras for `.keras` files only. Arguments: the
format, the path, a folder with `inputs_<n>.npz` that gets `outputs_<n>.npz`, modules to import.
"""

import importlib
import pathlib
import sys

import numpy as np


def _keras(path, modules):
    import keras

    for name in ("mm_keras", *modules):
        importlib.import_module(name)
    model = keras.saving.load_model(path, safe_mode=True)
    names = [tensor.name for tensor in keras.tree.flatten(model.input)]

    def predict(inputs):
        if not isinstance(model.input, dict):
            flat = [inputs[name] for name in names]
            inputs = keras.tree.pack_sequence_as(model.input, flat)
        outputs = model(inputs, training=False)
        if isinstance(outputs, dict):
            return outputs
        return dict(zip(model.output_names, keras.tree.flatten(outputs), strict=True))

    return predict


def _saved_model(path, modules):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def predict(inputs):
        function = loaded.signatures["serving_default"]  # `loaded` must outlive it
        return function(**{name: tf.constant(array) for name, array in inputs.items()})

    return predict


def _litert(path, modules):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    runner = interpreter.get_signature_runner("serving_default")
    return lambda inputs: runner(**inputs)


def _onnx(path, modules):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # `:output` ends the name of an output that has the name of an input.
    names = [output.name.removesuffix(":output") for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def _main(format, path, folder, *modules):
    load = {
        "keras": _keras,
        "saved_model": _saved_model,
        "litert": _litert,
        "onnx": _onnx,
    }[format]
    predict = load(path, modules)
    folder = pathlib.Path(folder)
    for file in sorted(folder.glob("inputs_*.npz")):
        with np.load(file) as arrays:
            inputs = {
                name: array.astype(object) if array.dtype.kind == "U" else array
                for name, array in arrays.items()
            }
        outputs = {name: np.asarray(value) for name, value in predict(inputs).items()}
        np.savez(folder / file.name.replace("inputs", "outputs"), **outputs)


if __name__ == "__main__":
    _main(*sys.argv[1:])
