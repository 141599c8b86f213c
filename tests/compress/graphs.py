"""Small functional models, each with something that a bridge to tf_keras can get wrong."""

import keras
from keras import layers, ops


def _nested():
    inputs = keras.Input((6,))
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, activation="tanh", name="same"), layers.Dense(6)]
    )
    return keras.Model(inputs, layers.LayerNormalization(name="norm")(inner(inputs)), name="inner")


def plain():
    """Layers that both have."""
    inputs = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    x = layers.SeparableConv2D(3, 3, name="separable")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="transpose")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Flatten()(layers.AveragePooling2D(2)(layers.ZeroPadding2D(1)(x)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="label")(x))


def activations():
    """Names that mean other functions in tf_keras, or none."""
    inputs = keras.Input((6,))
    x = inputs
    for name in ("hard_silu", "hard_sigmoid", "leaky_relu", "gelu", "mish", "silu"):
        x = layers.Dense(6, activation=name, name=name)(x)
    return keras.Model(inputs, layers.Activation("hard_tanh")(x))


def nested():
    """Nested models, one of them Sequential, called twice; names that occur twice."""
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    inner = _nested()
    a, b = inner(left), inner(right)
    outer = keras.Model([left, right], layers.Subtract(name="norm")([a, b]), name="outer")
    first, second = keras.Input((6,), name="first"), keras.Input((6,), name="second")
    x = outer([first, second])
    x = layers.Dense(4, name="same")(layers.Concatenate()([x, outer([second, first])]))
    return keras.Model({"first": first, "second": second}, {"label": x})


def shared():
    """A layer that is called several times, and a shape that stays unknown."""
    inputs = keras.Input((None, 6), name="sequence")
    dense = layers.Dense(6, activation="relu", name="dense")
    x = dense(dense(inputs))
    return keras.Model(inputs, [dense(x), layers.GlobalAveragePooling1D()(x)])


def operations():
    """keras.ops in the graph, with constants, several inputs and several outputs."""
    inputs = keras.Input((4, 6), name="x")
    x = ops.sin(inputs) + 2.0 * inputs - ops.ones((1, 6))
    first, second = ops.split(x, 2, axis=-1)
    x = ops.concatenate([first, ops.flip(second, axis=1)], axis=-1)[:, 1:]
    x = layers.Dense(3, name="dense")(ops.matmul(x, ops.transpose(x, (0, 2, 1))))
    return keras.Model(inputs, {"mean": ops.mean(x, axis=1), "top": ops.max(x, axis=(1, 2))})


def attention():
    """Tensors as keyword arguments, masks as arguments, several outputs of one layer."""
    query, value = keras.Input((3, 8), name="query"), keras.Input((5, 8), name="value")
    kept = keras.Input((5,), dtype="bool", name="kept")
    x, scores = layers.MultiHeadAttention(2, 4, name="attention")(
        query, value=value, attention_mask=kept[:, None], return_attention_scores=True
    )
    x = layers.Attention(name="dot")([x, value], mask=[None, kept])
    return keras.Model([query, value, kept], {"x": x, "scores": scores})


def masks(kind):
    """Masks that Keras attaches to tensors, and what each kind of layer does with them."""
    inputs = keras.Input((7,), dtype="int32", name="ids")
    x = layers.Embedding(5, 8, mask_zero=True, name="embedding")(inputs)
    x = layers.Dropout(0.5)(layers.Dense(8, name="dense")(x))
    if kind == "pooling":
        x = layers.GlobalAveragePooling1D()(x)
    elif kind == "recurrent":
        x = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="lstm")(x)
        x = layers.GRU(3, name="gru")(x)
    elif kind == "attention":
        y = layers.Add()([x, layers.MultiHeadAttention(2, 4, name="attention")(x, x)])
        y = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(y))
        x = layers.Concatenate()([y, layers.GlobalMaxPooling1D()(x)])
    elif kind == "nested":
        inside = keras.Input((7, 8))
        nested = keras.Model(inside, layers.GRU(3, return_sequences=True, name="gru")(inside))
        x = layers.GlobalAveragePooling1D()(nested(x))
    elif kind == "merged":
        y = layers.Embedding(5, 8, mask_zero=True, name="other")(ops.flip(inputs, axis=1))
        x = layers.GlobalAveragePooling1D()(layers.Add()([x, y]))
    return keras.Model(inputs, x)


def masking():
    """Masking, and wrappers that pass masks on."""
    inputs = keras.Input((5, 3), name="sequence")
    x = layers.Masking()(ops.relu(inputs) * ops.cast(inputs[..., :1] > 0, "float32"))
    x = layers.TimeDistributed(layers.Dense(4, activation="relu"), name="each")(x)
    return keras.Model(inputs, layers.LSTM(3, name="lstm")(x))


def preprocessing():
    """Layers of preprocessing, statistics of Normalization included, and noise in training."""
    inputs = keras.Input((6, 6, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(keras.random.normal((16, 6, 6, 3), mean=2.0, stddev=3.0, seed=0))
    x = layers.RandomFlip(seed=0)(layers.RandomRotation(0.2, seed=0)(normalization(x)))
    x = layers.GaussianNoise(0.5)(layers.SpatialDropout2D(0.5)(x))
    return keras.Model(inputs, layers.Flatten()(x))


def text():
    """Strings, and a vocabulary that was adapted."""
    inputs = keras.Input((), dtype="string", name="text")
    vectorize = layers.TextVectorization(10, output_sequence_length=4, name="vectorize")
    vectorize.adapt(["a b c", "b c d a"])
    x = layers.Embedding(10, 4, name="embedding")(vectorize(inputs))
    return keras.Model({"text": inputs}, {"label": layers.Flatten()(x)})


def frozen():
    """Layers that are frozen, in a nested model and beside it."""
    inside = keras.Input((6,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(6, name="dense")(inside))
    backbone = keras.Model(inside, layers.Dropout(0.5)(x), name="backbone")
    inputs = keras.Input((6,), name="x")
    frozen = layers.Dense(4, name="frozen", trainable=False)
    return keras.Model(inputs, layers.Dense(2, name="head")(frozen(backbone(inputs))))


def half():
    """Layers that compute in float16 and keep their weights in float32."""
    inputs = keras.Input((6,), name="x")
    x = layers.Dense(4, dtype="mixed_float16", name="half")(inputs)
    return keras.Model(inputs, layers.Dense(2, dtype="float32", name="full")(x))


def sequential():
    """A Sequential model."""
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(2)], name="chain"
    )


GRAPHS = {
    graph.__name__: graph
    for graph in (
        *(plain, activations, nested, shared, operations, attention, masking, preprocessing),
        *(text, frozen, half, sequential),
    )
} | {
    f"masks-{kind}": lambda kind=kind: masks(kind)
    for kind in ("pooling", "recurrent", "attention", "nested", "merged")
}
