"""The non-local block against loops over samples, heads, queries and keys, and its identities.

Over 400 lines: all of them are of one layer, and share its oracle.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_keras import layers
from mm_keras.layers.affinity import FORMS, SOFTMAX_FORMS
from mm_keras.testing import gradients
from tests.conformance.cases import floats

A, B = floats(3, 7, 8), floats(3, 5, 8, seed=1)
MASK = np.array([[1] * 7, [1, 0, 1, 0, 1, 0, 0], [0] * 7], "bool")
KEYS_MASK = np.array([[1, 1, 0, 0, 1], [0] * 5, [1, 0, 1, 1, 0]], "bool")
MASKS = {"mask": MASK, "keys_mask": KEYS_MASK}
EVERYWHERE = {"mask": np.ones_like(MASK), "keys_mask": np.ones_like(KEYS_MASK)}


def make(form="embedded_gaussian", *, keys=B, **options):
    """A block whose weights are all off their start, the same ones for the same options."""
    keras.utils.set_random_seed(0)
    block = layers.NonLocalBlock(form, **options)
    block(A, keys)
    block.set_weights(
        [
            np.abs(w) + 0.5 if "variance" in v.path else w + 0.4 * floats(*w.shape, seed=i)
            for i, (v, w) in enumerate(zip(block.weights, block.get_weights(), strict=True))
        ]
    )
    return block


def dense(layer, x):
    kernel, *bias = (w.astype("float64") for w in layer.get_weights())
    return x @ kernel + (bias[0] if bias else 0.0)


def sampled(x, kept, size):
    """Maxima of the positions of each window that there are; windows without any go."""
    windows = [
        x[start : start + size][kept[start : start + size]] for start in range(0, len(x), size)
    ]
    return np.array([w.max(axis=0) for w in windows if len(w)])


def similarity(block, theta, phi, head):
    if block.form == "concatenation":
        query, key = (np.asarray(w)[head, 0] for w in (block.query_score, block.key_score))
        return max(query @ theta + key @ phi, 0.0)
    scaled = block.form in SOFTMAX_FORMS if block.scale is None else block.scale
    product = theta @ phi / (np.sqrt(len(theta)) if scaled else 1.0)
    return np.exp(product) if block.form in SOFTMAX_FORMS else product


def gathered(block, a, b, kept):
    """The context of each position of one sample, one number after the other."""
    theta = a if block.form == "gaussian" else dense(block.theta, a)
    phi = sampled(b if block.form == "gaussian" else dense(block.phi, b), kept, block.subsample)
    g = sampled(dense(block.g, b), kept, block.subsample)
    y = np.zeros((len(a), g.shape[-1]))
    d, e = theta.shape[-1] // block.heads, g.shape[-1] // block.heads
    for head in range(block.heads):
        inner, outer = slice(head * d, (head + 1) * d), slice(head * e, (head + 1) * e)
        for i in range(len(a)):
            f = [similarity(block, theta[i, inner], p[inner], head) for p in phi]
            total = sum(f) if block.form in SOFTMAX_FORMS else len(f)
            for j in range(len(phi)):
                y[i, outer] += f[j] / total * g[j, outer]
    return y


def normalise(block, y):
    norm = block.norm
    if norm is None:
        return y
    gamma, beta, *moving = (w.astype("float64") for w in norm.get_weights())
    mean, variance = moving or (y.mean(-1, keepdims=True), y.var(-1, keepdims=True))
    return (y - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta


def oracle(block, a, b, mask, keys_mask):
    z = np.zeros(a.shape)
    for n in range(len(a)):
        for i in np.flatnonzero(mask[n]):
            z[n, i] = a[n, i] * block.residual
            if keys_mask[n].any():
                y = gathered(block, a[n, i : i + 1].astype("float64"), b[n], keys_mask[n])
                z[n, i] += normalise(block, dense(block.w, y))[0]
    return z


@pytest.mark.parametrize("masks", [EVERYWHERE, MASKS], ids=["present", "masked"])
@pytest.mark.parametrize("subsample", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_oracle(form, subsample, masks):
    for options in (
        {"heads": 2, "normalization": "layer"},
        {"inner_width": 6, "normalization": "batch", "chunk": 3},
        {"normalization": None, "residual": False, "scale": False},
    ):
        block = make(form, subsample=subsample, **options)
        expected = oracle(block, A, B, **masks)
        np.testing.assert_allclose(block(A, B, **masks), expected, rtol=1e-4, atol=1e-5)
        if masks is EVERYWHERE:
            np.testing.assert_allclose(block(A, B), expected, rtol=1e-4, atol=1e-5)


def test_scaled_dot_product():
    block = make("dot_product", scale=True, heads=2)
    np.testing.assert_allclose(block(A, B), oracle(block, A, B, **EVERYWHERE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_keys_are_the_queries_unless_given(form):
    block = make(form, keys=A)
    np.testing.assert_array_equal(block(A), block(A, A))
    masked = block(A, A, mask=MASK, keys_mask=MASK)
    np.testing.assert_array_equal(block(A, mask=MASK), masked)
    np.testing.assert_allclose(masked, oracle(block, A, A, MASK, MASK), rtol=1e-4, atol=1e-5)


def test_keys_of_another_width():
    keys = floats(3, 5, 6)
    block = make(keys=keys)
    expected = oracle(block, A, keys, **EVERYWHERE)
    np.testing.assert_allclose(block(A, keys), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("form", FORMS)
def test_starts_as_the_identity_and_only_the_norm_learns(form, normalization):
    block = layers.NonLocalBlock(form, normalization=normalization)
    np.testing.assert_array_equal(block(A, B), A)
    np.testing.assert_array_equal(block(A, B, training=True), A)
    found = gradients(lambda: block(A, B, training=True), block)
    learning = {path.split("/")[-1] for path, gradient in found.items() if np.any(gradient)}
    assert "gamma" in learning
    assert learning <= {"gamma", "beta"}


@pytest.mark.parametrize("form", FORMS)
def test_without_a_norm_it_starts_as_the_identity_and_only_w_learns(form):
    block = layers.NonLocalBlock(form, normalization=None)
    np.testing.assert_array_equal(block(A, B), A)
    found = gradients(lambda: block(A, B), block)
    learning = {path.split("/")[-2] for path, gradient in found.items() if np.any(gradient)}
    assert learning == {"w"}


@pytest.mark.parametrize("zeros", ["zeros", keras.initializers.Constant(0.0)])
@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_a_dead_block_is_forbidden(normalization, zeros):
    with pytest.raises(ValueError, match=r"`output_initializer` must not be zero.*for ever"):
        layers.NonLocalBlock(normalization=normalization, output_initializer=zeros)
    layers.NonLocalBlock(normalization=normalization, residual=False, output_initializer=zeros)


@pytest.mark.parametrize("form", SOFTMAX_FORMS)
def test_rows_of_attention_sum_to_one(form):
    block = make(form, heads=2)
    z, attention = block(A, B, return_attention=True, **MASKS)
    assert attention.shape == (3, 2, 7, 5)
    rows = np.broadcast_to(KEYS_MASK.any(axis=1)[:, None, None], (3, 2, 7))
    np.testing.assert_allclose(np.asarray(attention).sum(-1), rows, atol=1e-6)
    assert not np.any(np.moveaxis(attention, -1, 1)[~KEYS_MASK])
    np.testing.assert_array_equal(z, block(A, B, **MASKS))


@pytest.mark.parametrize("form", FORMS)
def test_equal_similarities_give_the_mean_of_g(form):
    block = layers.NonLocalBlock(
        form,
        normalization=None,
        residual=False,
        inner_width=8,
        output_initializer="identity",
    )
    a = np.zeros_like(A) if form == "gaussian" else A
    block(a, B)
    for path, weight in ((v.path, v) for v in block.weights):  # now f is 1 everywhere
        if "theta" in path or "phi" in path:
            start = np.eye(1, 8)[0] if "bias" in path else np.zeros((8, 8))
            weight.assign(start)
        elif "score" in path:
            weight.assign(0.5 * np.eye(1, 8)[None])
    g = B @ np.asarray(block.g.kernel)
    mean = np.repeat(g.mean(axis=1, keepdims=True), 7, axis=1)
    np.testing.assert_allclose(block(a, B), mean, rtol=1e-5, atol=1e-6)
    kept = KEYS_MASK[[0, 0, 2]]
    mean = np.stack([sample[k].mean(axis=0) for sample, k in zip(g, kept, strict=True)])
    np.testing.assert_allclose(
        block(a, B, keys_mask=kept)[:, 3], mean, rtol=1e-5, atol=1e-6, err_msg=form
    )


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("form", FORMS)
def test_order_of_queries_comes_back_and_that_of_keys_has_no_effect(form, chunk):
    block = make(form, heads=2, chunk=chunk)
    order, key_order = [3, 0, 6, 5, 1, 2, 4], [4, 2, 0, 1, 3]
    z = np.asarray(block(A, B, **MASKS))
    permuted = block(A[:, order], B, mask=MASK[:, order], keys_mask=KEYS_MASK)
    np.testing.assert_allclose(permuted, z[:, order], rtol=1e-5, atol=1e-6)
    permuted = block(A, B[:, key_order], mask=MASK, keys_mask=KEYS_MASK[:, key_order])
    np.testing.assert_allclose(permuted, z, rtol=1e-5, atol=1e-6)
    assert np.abs(z - np.asarray(block(A, B[[1, 2, 0]], **MASKS))).max() > 1e-2


def test_with_identity_maps_it_is_the_attention_of_keras():
    block = layers.NonLocalBlock(
        inner_width=8,
        scale=False,
        normalization=None,
        residual=False,
        output_initializer="identity",
    )
    block(A, B)
    for layer in (block.theta, block.phi, block.g):
        layer.set_weights([np.eye(8), np.zeros(8)])
    attention = keras.layers.Attention(use_scale=False)
    np.testing.assert_allclose(block(A, B), attention([A, B]), rtol=1e-5, atol=1e-6)
    masked = attention([A, B], mask=[None, KEYS_MASK])
    kept = KEYS_MASK.any(axis=1)
    found = block(A, B, keys_mask=KEYS_MASK)
    np.testing.assert_allclose(found[kept], masked[kept], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_symmetric_similarity(form):
    def similarities(a, b, **options):
        block = make(form, **options)
        attention = block(a, b, return_attention=True)[1]
        # The softmax normalises each row by its sum: its logarithm is symmetric up to row constants
        return np.log(attention) if form in SOFTMAX_FORMS else np.asarray(attention)

    def asymmetry(**options):
        both = np.concatenate([A, B], axis=1)
        s = similarities(both, both, keys=both, **options)[0, 0]
        cycle = s - s.T  # s_ij = t_ij - c_i: s - s.T is c_j - c_i, of rank 1 in steps
        return np.abs(cycle[1:, 1:] - cycle[:1, 1:] - cycle[1:, :1]).max()

    assert asymmetry(symmetric=True) < 1e-4
    if form != "gaussian":  # which is symmetric anyway
        assert asymmetry() > 1e-2


@pytest.mark.parametrize("masks", [{}, MASKS], ids=["present", "masked"])
@pytest.mark.parametrize("form", FORMS)
def test_chunked_is_whole(form, masks):
    whole = make(form, heads=2, subsample=2, normalization="layer")
    for chunk in (1, 3, 7, 20):
        chunked = layers.NonLocalBlock(
            form, heads=2, subsample=2, normalization="layer", chunk=chunk
        )
        chunked(A, B)
        chunked.set_weights(whole.get_weights())
        np.testing.assert_allclose(
            chunked(A, B, **masks), whole(A, B, **masks), rtol=1e-5, atol=1e-5
        )
    for training in (False, True):  # `gradients` runs in training; a compiled function is a graph
        compiled = tf.function(lambda block, t=training: block(A, B, training=t, **masks))
        np.testing.assert_allclose(compiled(chunked), compiled(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_chunked_are_those_of_whole(form):
    whole = make(form, heads=2)
    chunked = make(form, heads=2, chunk=3)
    found, expected = (
        gradients(lambda x, b=block: b(x["a"], x["b"], **MASKS), block, {"a": A, "b": B})
        for block in (chunked, whole)
    )
    for (path, gradient), other in zip(found.items(), expected.values(), strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-5, err_msg=path)


def nodes_of(block, queries=48, keys=40, width=8):
    """Yields `(op, shapes of its inputs and outputs)` of the graph of a training step."""

    @tf.function
    def step(a, b):
        with tf.GradientTape() as tape:
            tape.watch((a, b))
            loss = tf.reduce_sum(block(a, b, training=True) ** 2)
        return tape.gradient(loss, (a, b, *(v.value for v in block.trainable_variables)))

    shapes = (tf.TensorSpec((2, n, width)) for n in (queries, keys))
    graph = step.get_concrete_function(*shapes).graph
    graphs, seen = [graph], set()
    while graphs:
        for op in graphs.pop().get_operations():
            yield op.type, [list(t.shape) for t in (*op.inputs, *op.outputs) if t.shape.rank]
            for attribute in op.node_def.attr.values():
                name = attribute.func.name
                if name and name not in seen:
                    seen.add(name)
                    graphs.append(op.graph._get_function(name).graph)


def matrices(block):
    """Whether there is a tensor with all queries and keys; and whether chunks of it pile up."""
    whole = piled = False
    for op, shapes in nodes_of(block):
        whole |= any({48, 40} <= set(shape) for shape in shapes)
        piled |= op == "TensorListPushBack" and any(shape[-2:] == [6, 40] for shape in shapes)
    return whole, piled


@pytest.mark.parametrize("form", FORMS)
def test_whole_matrix_is_never_there_in_chunks(form, monkeypatch):
    options = {"normalization": "layer"}
    assert matrices(make(form, **options)) == (True, False)
    assert matrices(make(form, chunk=6, **options)) == (False, False)
    if form != "dot_product":  # it has no chunks to begin with
        monkeypatch.setattr(keras, "remat", lambda function: function)
        assert matrices(make(form, chunk=6, **options)) == (False, True)


@pytest.mark.parametrize("form", FORMS)
def test_absent_positions_have_no_effect_and_no_gradient(form):
    for options in ({}, {"subsample": 2, "chunk": 3}):
        block = make(form, **options)
        for training in (False, True):  # in training the batch's statistics normalise
            expected = block(A, B, training=training, **MASKS)
            assert np.isfinite(expected).all()
            for garbage in (50.0, np.inf, np.nan):
                a = np.where(MASK[..., None], A, garbage).astype("float32")
                b = np.where(KEYS_MASK[..., None], B, garbage).astype("float32")
                found = block(a, b, training=training, **MASKS)
                np.testing.assert_array_equal(found, expected)
        found = gradients(lambda x: block(x["a"], x["b"], **MASKS), block, {"a": a, "b": b})  # noqa: B023
        assert not np.any(found["a"][~MASK])
        assert not np.any(found["b"][~KEYS_MASK])
        assert np.any(found["b"][0][KEYS_MASK[0]])
        assert all(np.isfinite(gradient).all() for gradient in found.values())


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("form", FORMS)
def test_without_any_key_positions_stay_as_they_are(form, normalization):
    block = make(form, normalization=normalization)
    for training in (False, True):
        z = np.asarray(block(A, B, training=training, **MASKS))
        np.testing.assert_array_equal(z[1][MASK[1]], A[1][MASK[1]])
        assert not np.any(z[~MASK])
        assert np.abs(z[0] - A[0]).min() > 0


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_a_batch_without_the_modality_moves_nothing(normalization):
    block = make(normalization=normalization)
    a = np.full_like(A, np.nan)
    absent = np.zeros((3, 1), "bool")
    assert not np.any(block(a, B, mask=absent, training=True))
    found = gradients(lambda: block(a, B, mask=absent), block)
    assert not any(np.any(gradient) for gradient in found.values())


def test_statistics_of_the_batch_are_those_of_what_there_is():
    block = make(normalization="batch")
    there = MASK & KEYS_MASK.any(axis=1, keepdims=True)
    before = [np.array(w) for w in block.norm.get_weights()[2:]]
    block(A, B, training=True, **MASKS)
    context = [gathered(block, A[n].astype("float64"), B[n], KEYS_MASK[n]) for n in (0,)]
    y = dense(block.w, np.concatenate(context)[there[0]])
    for old, new, now in zip(
        before, block.norm.get_weights()[2:], (y.mean(0), y.var(0)), strict=True
    ):
        np.testing.assert_allclose(new, 0.9 * old + 0.1 * now, rtol=1e-4, atol=1e-5)


def test_one_mask_for_all_positions():
    block = make()
    one = np.array([[1], [0], [1]], "bool")
    z = block(A, B, mask=one, keys_mask=one[::-1])
    expanded = block(A, B, mask=np.repeat(one, 7, 1), keys_mask=np.repeat(one[::-1], 5, 1))
    np.testing.assert_array_equal(z, expanded)


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("form", FORMS)
def test_float16_with_large_features(form, chunk):
    options = {"normalization": "layer", "chunk": chunk, "scale": False}
    small, block = (
        layers.NonLocalBlock(form, dtype=d, **options) for d in ("mixed_float16", "float32")
    )
    a, b = 60 * A, 60 * B  # products beyond 65,504, and powers beyond everything
    block(a, b)
    small(a, b)
    block.norm.gamma.assign(np.ones(8))
    small.set_weights(block.get_weights())
    z = np.asarray(small(a, b))
    assert z.dtype == np.float16
    assert np.isfinite(z).all()
    if form not in SOFTMAX_FORMS:  # there rounding decides which of two large powers wins
        np.testing.assert_allclose(z, block(a, b), rtol=0.01, atol=0.2)
    found = gradients(lambda: small(a, b), small)
    assert all(np.isfinite(gradient).all() for gradient in found.values())


def test_one_key_alone():
    block = make(keys=B[:, :1])
    z, attention = block(A, B[:, :1], return_attention=True)
    assert np.all(np.asarray(attention) == 1)
    expected = oracle(block, A, B[:, :1], np.ones((3, 7), "bool"), np.ones((3, 1), "bool"))
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"form": "gausian"}, ValueError, "`form` must be one of .*Did you mean 'gaussian'"),
        ({"heads": 0}, ValueError, "`heads` must be an integer of at least 1"),
        ({"heads": 3}, ValueError, "`heads` must divide the inner_width, 4. Received: heads=3"),
        (
            {"form": "gaussian", "heads": 3, "inner_width": 6},
            ValueError,
            "`heads` must divide the width of the features, 8",
        ),
        ({"inner_width": 0}, ValueError, "`inner_width` must be an integer of at least 1"),
        ({"scale": 1}, TypeError, "`scale` must be a bool"),
        (
            {"form": "concatenation", "scale": True},
            ValueError,
            "`scale` must be False or None for form='concatenation'",
        ),
        ({"symmetric": None}, TypeError, "`symmetric` must be a bool"),
        ({"subsample": 0}, ValueError, "`subsample` must be an integer of at least 1"),
        ({"normalization": "group"}, ValueError, "`normalization` must be one of"),
        ({"residual": "yes"}, TypeError, "`residual` must be a bool"),
        ({"chunk": 0}, ValueError, "`chunk` must be an integer of at least 1"),
        ({"chunk": 2.0}, TypeError, "`chunk` must be an integer"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        layers.NonLocalBlock(**options)(A)


def test_errors_of_calls():
    narrow = floats(3, 5, 6)
    for options in ({"form": "gaussian"}, {"symmetric": True}):
        with pytest.raises(ValueError, match=r"`keys` must have the width of `inputs`.* 8 and 6"):
            layers.NonLocalBlock(**options)(A, narrow)
    with pytest.raises(ValueError, match=r"`inputs` of NonLocalBlock must be \(B, N, D\)"):
        layers.NonLocalBlock()(A[0])
    with pytest.raises(ValueError, match=r"`keys` of NonLocalBlock must be \(B, N, D\)"):
        layers.NonLocalBlock()(A, B[0])
    with pytest.raises(ValueError, match="`return_attention` must be False with `chunk`"):
        layers.NonLocalBlock(chunk=2)(A, return_attention=True)
    unknown = keras.Input((None, 8))
    with pytest.raises(ValueError, match="`chunk` must be None for inputs with an unknown"):
        layers.NonLocalBlock(chunk=2)(unknown)
    with pytest.raises(ValueError, match="`subsample` must be 1 for keys with an unknown"):
        layers.NonLocalBlock(subsample=2)(unknown)


def test_any_number_of_positions():
    block = make(keys=A)
    inputs = keras.Input((None, 8))
    model = keras.Model(inputs, block(inputs))
    for positions in (3, 7):
        x = A[:, :positions]
        np.testing.assert_allclose(model(x), block(x), rtol=1e-5, atol=1e-6)
