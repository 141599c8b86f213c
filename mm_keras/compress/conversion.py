"""From a SavedModel to quantized LiteRT files, some layers left in float32."""

import contextlib
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator

import tensorflow as tf

from mm_keras.compress import flatbuffer
from mm_keras.compress.probabilities import make_float, probability_operators
from mm_keras.compress.quantized_model import StayedFloat
from mm_keras.compress.representative import Batches
from mm_keras.exporting.litert import SIGNATURE
from mm_keras.exporting.serving import Serving
from mm_keras.exporting.writers import clear_conversion_errors, write_saved_model

RANGES = ("int8", "16x8")  # modes that measure ranges
SPECTROGRAM = "the powers of a sound span more than 8 bits hold"
PROBABILITIES = "steps of 1/256 would make 0 of small probabilities"
NEAR_ZERO = "what it makes of numbers near 0 would be lost in 8 bits, or not defined"
FLOAT_KINDS = ("DIV", "EXP", "LOG", "RSQRT")  # LiteRT stops where 8 bits round a divisor to 0
STATISTICS = (  # what such operators are mostly fed by: sums of squares, counts, maxima
    *("ABS", "ADD", "BROADCAST_TO", "EXPAND_DIMS", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "NEG"),
    *("REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "SELECT_V2", "SQRT", "SQUARE", "SQUARED_DIFFERENCE"),
    *("SQUEEZE", "SUB", "SUM"),
)
UNBOUNDED = "its range is not finite"
NO_KERNEL = "LiteRT has no operator for it on quantized numbers"
FEW_WEIGHTS = "it has too few weights to gain from 8 bits"


class Conversion(contextlib.AbstractContextManager):
    """Converts one function in several ways; a context, within which it lies in a SavedModel.

    Args:
        write: Writes a SavedModel with the signature `serving_default` to a folder.
    """

    def __init__(self, write: Callable[[pathlib.Path], None]):
        self._write = write

    @classmethod
    def of_serving(cls, serving: Serving) -> "Conversion":
        """Returns the conversion of a model with the inputs that `serving` says."""
        return cls(lambda folder: write_saved_model(serving, folder))

    def __enter__(self) -> "Conversion":
        self._folder = tempfile.TemporaryDirectory()
        self._write(pathlib.Path(self._folder.name))
        return self

    def __exit__(self, *_) -> None:
        self._folder.cleanup()

    def plain(self, mode: str | None, batches: Batches = ()) -> bytes:
        """Returns the file that the converter makes; `None`: not quantized."""
        with self._converter(mode, batches) as converter:
            return converter.convert()

    def dynamic(self, kept: dict[str, str]) -> bytes:
        """Returns the file with weights in 8 bits, but those of some layers."""
        content = self.plain("dynamic")
        if not kept:
            return content
        file, original = flatbuffer.read(content), flatbuffer.read(self.plain(None))
        names = {o.name for o in flatbuffer.operators(file) if flatbuffer.layers_in(o.name, kept)}
        flatbuffer.restore_weights(file, original, names)
        return flatbuffer.written(file)

    def int8(
        self, batches: Batches, kept: dict[str, str], probabilities: bool
    ) -> tuple[bytes, dict[str, str]]:
        """Returns the file that computes in 8 bits, but for some layers.

        Also returns `{layer or tensor: reason}` of what stays float.

        Args:
            batches: Representative samples.
            kept: `{layer: reason}` of those that stay float.
            probabilities: Whether softmax and sigmoid of outputs, and what comes after them, do.
        """
        options = tf.lite.experimental.QuantizationDebugOptions
        debugger = tf.lite.experimental.QuantizationDebugger.__new__(
            tf.lite.experimental.QuantizationDebugger
        )
        with self._converter("int8", batches) as converter, _clear_failure(), _nothing_to_verify():
            debugger.__init__(converter=converter, debug_options=options())
        calibrated = flatbuffer.read(debugger.calibrated_model)
        unbounded = flatbuffer.nodes_out_of_range(calibrated)
        near_zero = flatbuffer.nodes_before(calibrated, FLOAT_KINDS, STATISTICS)
        last = probability_operators(calibrated) if probabilities else []
        reasons = dict.fromkeys(near_zero, NEAR_ZERO) | dict.fromkeys(unbounded, UNBOUNDED)
        reasons = {operator.name: PROBABILITIES for operator in last} | reasons
        nodes = unbounded | near_zero | {operator.tensor.name.decode() for operator in last}
        for operator in flatbuffer.operators(calibrated):
            if flatbuffer.layers_in(operator.name, kept):
                nodes.add(operator.tensor.name.decode())
        if nodes:
            with _nothing_to_verify():
                debugger.options = options(denylisted_nodes=sorted(nodes))
        file = flatbuffer.read(_checked(debugger.get_nondebug_quantized_model()))
        if probabilities:
            make_float(file)
        return flatbuffer.written(file), reasons | kept

    @contextlib.contextmanager
    def _converter(self, mode: str | None, batches: Batches) -> Iterator[tf.lite.TFLiteConverter]:
        with clear_conversion_errors():
            converter = tf.lite.TFLiteConverter.from_saved_model(
                self._folder.name, signature_keys=[SIGNATURE]
            )
            if mode is not None:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if mode == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if mode in RANGES:
                converter.representative_dataset = lambda: ((SIGNATURE, b) for b in batches)
            if mode == "16x8":
                sets = tf.lite.OpsSet
                converter.target_spec.supported_ops = [
                    sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                    sets.TFLITE_BUILTINS,
                ]
            with warnings.catch_warnings():  # the converter's own use of tf.lite.Interpreter
                warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")
                warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
                yield converter


@contextlib.contextmanager
def _clear_failure() -> Iterator[None]:
    """Says more than LiteRT's quantizer, whose errors may be empty."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            "LiteRT's quantizer failed, which can happen after quantization-aware training of "
            "models with maxima over what may be absent: use `quantize` instead. "
            f"It says: {error}"
        ) from error


@contextlib.contextmanager
def _nothing_to_verify() -> Iterator[None]:
    """Passes over the last check of LiteRT's debugger, which has its file and options by then.

    It wants operators to compare with those in float, and after quantization-aware training there
    may be none.
    """
    try:
        yield
    except ValueError as error:
        if "in debug mode" not in str(error):
            raise


def _checked(content: bytes) -> bytes:
    """Returns a converted file in which something is quantized."""
    operators = flatbuffer.operators(flatbuffer.read(content))
    if not any(operator.tensor.type == flatbuffer.schema.TensorType.INT8 for operator in operators):
        raise ValueError(
            "`model` must have an operator that can be quantized, such as a dense layer or "
            "convolution, after those that stay in float32. Received a model without."
        )
    return content


def stayed_float(
    file: flatbuffer.schema.ModelT, mode: str, reasons: dict[str, str]
) -> tuple[StayedFloat, ...]:
    """Returns the operators of a file that were not quantized, and why.

    Args:
        file: Converted.
        mode: See `quantize`.
        reasons: `{layer or tensor: reason}` of what was left out on purpose.
    """
    if mode == "float32":  # all of it
        return ()
    listed = []
    for operator in flatbuffer.operators(file):
        if mode in RANGES:
            concerned = operator.is_float
        else:  # they compute in float32 by design: weights count
            concerned = operator.kind in flatbuffer.WEIGHTED and operator.has_float_weights(file)
        if not concerned:
            continue
        because = [reasons[layer] for layer in flatbuffer.layers_in(operator.name, reasons)]
        because += [reasons[operator.name]] if operator.name in reasons else []
        default = NO_KERNEL if mode in RANGES else FEW_WEIGHTS
        listed.append(StayedFloat(operator.kind, operator.name, (*because, default)[0]))
    return tuple(listed)
