"""Whether to compile with XLA."""

import keras


def jit_compile() -> bool | str:
    """Returns what `compile(jit_compile=…)` should be with this backend on this machine.

    On GPU and TPU XLA pays, and Keras' `"auto"` is right. On CPU it makes small networks slower
    with TensorFlow and costs seconds of compilation, so that it is `False` there. JAX without it
    would run one operation at a time, and PyTorch has none: both get `"auto"` everywhere.
    """
    if keras.config.backend() != "tensorflow":
        return "auto"
    devices = keras.distribution.list_devices()
    return "auto" if any(not device.lower().startswith("cpu") for device in devices) else False
