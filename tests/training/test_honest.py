"""A task of one easy and one hard modality: what the hard one learns, with and without methods."""

import keras
import numpy as np
import pytest

import mm_keras as mm

CLASSES, OBSERVE = 4, 1e-3


def task(count, seed):
    """Easy: the class stands there, beside noise. Hard: it is two parities, in noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=count)
    plain = 3 * np.eye(CLASSES)[y] + 0.3 * rng.normal(size=(count, CLASSES))
    easy = np.concatenate([plain, rng.normal(size=(count, 60))], axis=1)
    bits = rng.integers(2, size=(count, 2, 2))
    bits[:, :, 1] = bits[:, :, 0] ^ np.stack([y // 2, y % 2], axis=1)
    signs = 2 * bits.reshape(count, 4) - 1 + 0.35 * rng.normal(size=(count, 4))
    hard = np.concatenate([signs, 0.5 * rng.normal(size=(count, 8))], axis=1)
    return {"easy": easy.astype("float32"), "hard": hard.astype("float32")}, y


def by_hand(alpha):
    """A graph without the builder: encoders with a bottleneck, which an easy task needs learnt."""
    inputs = {name: keras.Input((n,), name=name) for name, n in (("easy", 64), ("hard", 12))}
    features, logits = {}, {}
    for name, x in inputs.items():
        x = keras.layers.Dense(32, activation="relu", name=f"{name}_hidden")(x)
        features[name] = keras.layers.Dense(4, name=f"{name}_features")(x)
        logits[name] = keras.layers.Dense(CLASSES, name=f"{name}_logits")(features[name])
    layer = mm.layers.GradientModulation(alpha, name="modulation")
    features, logits = layer((features, logits))
    joined = keras.layers.Concatenate()(list(features.values()))
    outputs = {"label": keras.layers.Dense(CLASSES, activation="softmax", name="label")(joined)}
    for name, z in logits.items():
        p = keras.layers.Softmax(name=f"{name}_probabilities")(z)
        outputs[f"{name}_label"] = mm.layers.TrainingOutput(name=f"{name}_label")(p)
    return keras.Model(inputs, outputs)


def accuracies(seed, alpha, weight):
    """Returns the accuracy on new samples: of the fused head, and of each modality's own."""
    keras.utils.set_random_seed(seed)
    model = by_hand(alpha)
    model.compile(
        keras.optimizers.Adam(0.003),
        dict.fromkeys(model.output, mm.losses.classification()),
        loss_weights={o: 1.0 if o == "label" else weight for o in model.output},
        jit_compile=False,
    )
    x, y = task(1000, 100 + seed)
    model.fit(x, dict.fromkeys(model.output, y), epochs=12, batch_size=50, verbose=0)
    x, y = task(1000, 200 + seed)
    found = model(x)
    return {key: float(np.mean(np.argmax(p, axis=1) == y)) for key, p in found.items()}, model


@pytest.mark.slow
def test_the_hard_modality_learns_more_where_the_easy_one_is_held_back():
    gains = []
    for seed in range(2):
        plain, _ = accuracies(seed, 0.0, OBSERVE)
        held_back, model = accuracies(seed, 2.0, OBSERVE)
        assert plain["label"] > 0.98
        assert held_back["label"] > 0.98
        gains.append(held_back["hard_label"] - plain["hard_label"])
    assert min(gains) > 0.04, gains
    assert np.mean(gains) > 0.08, gains
    shipped = mm.inference_model(model)
    assert list(shipped.output) == ["label"]
    assert "modulation" not in {layer.name for layer in shipped.layers}
    x, _ = task(20, 0)
    np.testing.assert_allclose(shipped(x)["label"], model(x)["label"], atol=1e-6)


def test_modulation_is_in_a_saved_and_in_a_cloned_model(tmp_path):
    """Loaded, or cloned, the model makes the same step: the same gradients are held back."""
    keras.utils.set_random_seed(0)
    model = mm.build_mcnn(
        {"easy": mm.Features(64), "hard": mm.Features(12)},
        CLASSES,
        width=8,
        auxiliary_heads=True,
        gradient_modulation=0.8,
    )
    plain = keras.models.clone_model(
        model,
        call_function=lambda layer, *args, **kwargs: (
            args[0] if layer.name == "gradient_modulation" else layer(*args, **kwargs)
        ),
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    cloned = keras.models.clone_model(model)
    x, y = task(50, 1)
    weights, found = model.get_weights(), []
    for copy in (model, loaded, cloned, plain):
        copy.set_weights(weights)
        copy.compile(
            keras.optimizers.SGD(0.1),
            dict.fromkeys(copy.output, mm.losses.classification()),
            jit_compile=False,
        )
        copy.fit(x, dict.fromkeys(copy.output, y), batch_size=50, verbose=0)
        found.append([copy.get_layer(f"{n}_projection").get_weights()[0] for n in x])
    for other in found[1:3]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
    assert any(np.abs(one - two).max() > 1e-5 for one, two in zip(found[0], found[3], strict=True))
