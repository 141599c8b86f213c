"""Whether to compile with XLA."""

import keras


def jit_compile() -> bool | str:
    """Returns what `compile(jit_compile=…)` should be on this machine.

    On GPU and TPU XLA pays, and Keras' `"auto"` is right. On CPU it makes small networks slower
    and costs seconds of compilation, so that it is `False` there.
    """
    devices = keras.distribution.list_devices()
    return "auto" if any(not device.lower().startswith("cpu") for device in devices) else False
