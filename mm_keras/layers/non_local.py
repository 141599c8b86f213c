"""The non-local block: each position gathers context from all positions."""

import keras
from keras import ops

from mm_keras._checks import check_bool, check_choice, check_int
from mm_keras.layers.affinity import (
    FORMS,
    SOFTMAX_FORMS,
    affinity,
    chunked_context,
    context,
    window_maxima,
)
from mm_keras.layers.masks import zero_masked

NORMALIZATIONS = (None, "batch", "layer")


@keras.saving.register_keras_serializable("mm_keras")
class NonLocalBlock(keras.layers.Layer):
    """Adds to each position a context gathered from all positions, its own sequence's or another's.

    `y_i = 1/C Σ_j f(a_i, b_j) g(b_j)`, `z = a + norm(W y)`. θ, φ and g are dense layers of width
    `inner_width`, split among the heads; W leads back to the width of a. The scale
    of the normalisation starts at zero (W does where there is none), so that the block starts as
    the identity and can go into a trained network.

    | form | f(a, b) / C |
    | --- | --- |
    | `"embedded_gaussian"` | softmax over j of θ(a)ᵀφ(b): self-attention |
    | `"gaussian"` | softmax over j of aᵀb; a and b have one width |
    | `"dot_product"` | θ(a)ᵀφ(b) / N |
    | `"concatenation"` | relu(wᵀ[θ(a); φ(b)]) / N |

    N is the number of keys that there are. Without `subsample` the order of the keys has no effect,
    and queries in another order give outputs in that order: add a `PositionEmbedding` before the
    block where places matter.

    Whole, the block holds B · heads · N_a · N_b numbers, some times over in training. With `chunk`
    it holds B · heads · chunk · N_b, in training too, since the gradient computes them anew.

    Args:
        form: See above.
        heads: Number of heads; divides `inner_width`, and the width for `"gaussian"`.
        inner_width: Width of θ, φ and g; `None`: half of the width D of a.
        scale: Whether dot products are divided by √d, d the width of a head. `None`: where they go
            into a softmax. The paper's forms: `False`.
        symmetric: Whether θ serves as φ too, so that f(a, b) = f(b, a); a and b have one width.
        subsample: Number of consecutive keys that a maximum, over φ and over g, makes one of.
            Positions of a map stand row by row.
        normalization: `"batch"`; `"layer"`, for small batches and for modalities that are often
            absent; or `None`.
        residual: Whether a is added. Without it the scale starts at one.
        chunk: Number of queries at a time, see above; `None`: all of them. Weights don't depend on
            it.
        output_initializer: Of W's kernel; `None`: `"zeros"` where that makes the block start as
            the identity, else `"glorot_uniform"`.

    Call arguments:
        inputs: a, `(B, N_a, D)`.
        keys: b, `(B, N_b, D_b)`; `None`: a.
        mask: Optional, `(B, N_a)` or `(B, 1)` bool, of a.
        keys_mask: The same of b. What a mask leaves out is attended to by nobody, has no gradient
            and no effect, also if it holds NaN, and comes back as zeros. Where no key is left, z
            is a.
        return_attention: Whether to return f / C too; not with `chunk`.

    Output shape:
        `(B, N_a, D)`; with `return_attention`, a pair of it and `(B, heads, N_a, N_b / subsample)`
        float32, N_b / subsample rounded up. In the softmax forms its rows sum to 1, or to 0 where
        no key is left.

    Raises:
        ValueError: For unknown options, heads that don't divide a width, or a block that could
            never learn, since both the scale and W start at zero.

    Example:

    >>> import numpy as np
    >>> from mm_keras import layers
    >>> video, audio = np.random.normal(size=(2, 16, 8)), np.random.normal(size=(2, 40, 6))
    >>> block = layers.NonLocalBlock(heads=2)
    >>> z, attention = block(video, audio, return_attention=True)
    >>> z.shape, attention.shape, bool(np.allclose(z, video))
    (TensorShape([2, 16, 8]), TensorShape([2, 2, 16, 40]), True)

    Reference: Wang et al., Non-local Neural Networks, 2018.
    """

    def __init__(
        self,
        form: str = "embedded_gaussian",
        heads: int = 1,
        inner_width: int | None = None,
        scale: bool | None = None,
        symmetric: bool = False,
        subsample: int = 1,
        normalization: str | None = "batch",
        residual: bool = True,
        chunk: int | None = None,
        output_initializer: str | keras.initializers.Initializer | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("form", form, FORMS)
        check_int("heads", heads)
        if inner_width is not None:
            check_int("inner_width", inner_width)
        if scale is not None:
            check_bool("scale", scale)
        if scale and form == "concatenation":
            raise ValueError(
                "`scale` must be False or None for form='concatenation', which has no dot product. "
                "Received: scale=True."
            )
        check_bool("symmetric", symmetric)
        check_int("subsample", subsample)
        check_choice("normalization", normalization, NORMALIZATIONS)
        check_bool("residual", residual)
        if chunk is not None:
            check_int("chunk", chunk)
        self.supports_masking = True
        self.form = form
        self.heads = heads
        self.inner_width = inner_width
        self.scale = scale
        self.symmetric = symmetric
        self.subsample = subsample
        self.normalization = normalization
        self.residual = residual
        self.chunk = chunk
        if output_initializer is None:
            output_initializer = "zeros" if residual and normalization is None else "glorot_uniform"
        self.output_initializer = keras.initializers.get(output_initializer)
        self._check_alive()

    def check_width(self, width: int) -> int:
        """Returns the inner width for inputs of that width, after a check that heads divide it."""
        inner = self.inner_width or max(width // 2, 1)
        divided = {"inner_width": inner}
        if self.form == "gaussian":
            divided["width of the features"] = width
        for what, size in divided.items():
            if size % self.heads:
                raise ValueError(
                    f"`heads` must divide the {what}, {size}. Received: heads={self.heads}."
                )
        return inner

    def build(self, inputs_shape, keys_shape=None):
        keys_shape = keys_shape or inputs_shape
        for what, shape in (("inputs", inputs_shape), ("keys", keys_shape)):
            if len(shape) != 3:
                raise ValueError(
                    f"`{what}` of NonLocalBlock must be (B, N, D). Received shape: {tuple(shape)}."
                )
        width, key_width = inputs_shape[-1], keys_shape[-1]
        inner = self.check_width(width)
        if (self.form == "gaussian" or self.symmetric) and width != key_width:
            raise ValueError(
                "`keys` must have the width of `inputs` for form='gaussian' and for "
                f"symmetric=True. Received: widths {width} and {key_width}."
            )
        self._check_static(inputs_shape[1], keys_shape[1])
        if self.form != "gaussian":
            self.theta = self._dense("theta", inner, width)
            self.phi = self.theta if self.symmetric else self._dense("phi", inner, key_width)
        if self.form == "concatenation":
            shape = (self.heads, 1, inner // self.heads)
            self.query_score = self.add_weight(shape=shape, name="query_score")
            self.key_score = self.query_score
            if not self.symmetric:
                self.key_score = self.add_weight(shape=shape, name="key_score")
        self.g = self._dense("g", inner, key_width)
        # float32: contexts of products, not of a softmax, know no bound before they are normalised.
        self.w = self._dense(
            "w",
            width,
            inner,
            dtype="float32",
            kernel_initializer=self.output_initializer,
            use_bias=self.normalization is None,  # a normalisation has its own
        )
        self.norm = None
        start = {"gamma_initializer": "zeros" if self.residual else "ones"}
        if self.normalization == "batch":
            # As in this package's small CNNs: statistics that keep up with short trainings.
            self.norm = keras.layers.BatchNormalization(
                momentum=0.9, name="norm", dtype="float32", **start
            )
        elif self.normalization == "layer":
            self.norm = keras.layers.LayerNormalization(name="norm", dtype="float32", **start)
        if self.norm is not None:
            self.norm.build(inputs_shape)

    def call(
        self,
        inputs,
        keys=None,
        mask=None,
        keys_mask=None,
        return_attention=False,
        training=None,
    ):
        if return_attention:
            self.check_whole()
        if keys is None:
            keys, keys_mask = inputs, mask if keys_mask is None else keys_mask
        inputs, mask = zero_masked(inputs, mask)
        keys, kept = zero_masked(keys, keys_mask)
        there = _there(inputs, mask, kept)
        queries = inputs if self.form == "gaussian" else self.theta(inputs)
        embedded = keys if self.form == "gaussian" else self.phi(keys)
        # float32: powers and sums over many positions overflow in float16.
        operands = [self._split(queries, "query"), *self._sampled(embedded, self.g(keys), kept)]
        attention = None
        if return_attention:
            attention = affinity(self.form, *operands[:2], operands[3])
            y = ops.matmul(attention, operands[2])
        elif self.chunk is None:
            y = context(self.form, *operands)
        else:
            y = chunked_context(self.form, *operands, self.chunk)
        y = ops.swapaxes(y, 1, 2)  # (B, N_a, heads, d)
        y = ops.reshape(y, (-1, ops.shape(y)[1], self.heads * y.shape[-1]))
        y = ops.cast(self._normalized(self.w(y), there, training), self.compute_dtype)
        if there is not None:
            y = ops.where(ops.expand_dims(there, -1), y, ops.zeros_like(y))
        z = inputs + y if self.residual else y
        return (z, attention) if return_attention else z

    def _normalized(self, y, there, training):
        if self.normalization == "batch":
            return self.norm(y, training=training, mask=there)
        return y if self.norm is None else self.norm(y)

    def _sampled(self, embedded, values, kept):
        """Returns keys and values `(B, heads, N, d)`, maxima of windows, and which there are."""
        if self.subsample > 1:
            embedded, sampled = window_maxima(embedded, kept, self.subsample)
            values, kept = window_maxima(values, kept, self.subsample)[0], sampled
        return self._split(embedded, "key"), self._split(values), kept

    def _split(self, x, role=None):
        """Returns `(B, heads, N, d)` in float32 of `(B, N, heads · d)`."""
        d = x.shape[-1] // self.heads
        x = ops.reshape(ops.cast(x, "float32"), (-1, ops.shape(x)[1], self.heads, d))
        x = ops.swapaxes(x, 1, 2)
        if role and self.form == "concatenation":
            score = self.query_score if role == "query" else self.key_score
            return ops.sum(x * ops.cast(score, "float32"), axis=-1, keepdims=True)
        scaled = self.form in SOFTMAX_FORMS if self.scale is None else self.scale
        return x * d**-0.5 if role == "query" and scaled else x

    def _dense(self, name, units, width, **options):
        layer = keras.layers.Dense(units, name=name, **{"dtype": self.dtype_policy, **options})
        layer.build((None, width))
        return layer

    def _check_alive(self):
        kernel = self.output_initializer
        zero = isinstance(kernel, keras.initializers.Zeros) or (
            isinstance(kernel, keras.initializers.Constant) and not kernel.value
        )
        if self.normalization and self.residual and zero:
            raise ValueError(
                "`output_initializer` must not be zero where the scale of the normalization "
                "starts at zero too: every gradient would be zero for ever. Received: "
                f"output_initializer={kernel!r}, normalization={self.normalization!r}. Leave one "
                "of the two out."
            )

    def _check_static(self, queries, keys):
        if self.chunk and queries is None:
            raise ValueError(
                "`chunk` must be None for inputs with an unknown number of positions. "
                f"Received: chunk={self.chunk}."
            )
        if self.subsample > 1 and keys is None:
            raise ValueError(
                "`subsample` must be 1 for keys with an unknown number of positions. "
                f"Received: subsample={self.subsample}."
            )

    def check_whole(self):
        """Raises where there is no attention map to return."""
        if self.chunk is not None:
            raise ValueError(
                "`return_attention` must be False with `chunk`, which is there so that the whole "
                f"matrix never is. Received: return_attention=True, chunk={self.chunk}. The same "
                "weights serve a block without chunk."
            )

    def compute_mask(self, *args, **kwargs):
        return None  # masks are passed by name, never attached to tensors

    def compute_output_spec(
        self,
        inputs,
        keys=None,
        mask=None,
        keys_mask=None,
        return_attention=False,
        training=None,
    ):
        z = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_attention:
            return z
        self.check_whole()
        positions = (inputs if keys is None else keys).shape[1]
        sampled = positions and -(-positions // self.subsample)
        shape = (inputs.shape[0], self.heads, inputs.shape[1], sampled)
        return z, keras.KerasTensor(shape, dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "form": self.form,
            "heads": self.heads,
            "inner_width": self.inner_width,
            "scale": self.scale,
            "symmetric": self.symmetric,
            "subsample": self.subsample,
            "normalization": self.normalization,
            "residual": self.residual,
            "chunk": self.chunk,
            "output_initializer": keras.initializers.serialize(self.output_initializer),
        }


def _there(inputs, mask, kept):
    """Returns `(B, N_a) bool`: positions that are there and have a key; `None`: all."""
    if mask is None and kept is None:
        return None
    there = ops.ones_like(inputs[..., 0], dtype="bool") if mask is None else mask
    if kept is None:
        return there
    return ops.logical_and(there, ops.any(kept, axis=1, keepdims=True))
