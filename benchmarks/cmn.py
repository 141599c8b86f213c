"""Cross-modal matching: retrieval against CCA, and class accuracy against build_mcnn.

    MM_KERAS_DATA=… python benchmarks/cmn.py [twemoji] [wiki] [--seeds 3]

twemoji: 2,713 pictures of 32×32 pixels and their names in English, German, Spanish and French. A
fifth of the names, skin tones left out, is held out for the test (all tones of a name are on one
side), drawn anew for each seed. Picture → name: each test picture ranks the names of all test
pictures in one language, and seeks its own; name → picture the other way round; figures are means
over the languages. Class: which of the 8 largest groups a picture with its English name is of, on
the same split.

wiki (wiki_retrieval): 2,173 pairs of an image (SIFT histogram, 128) and an article (LDA topics,
10), of 10 categories; 573 of them, drawn at random for each seed, are the test. What is sought is
the category, as usual for this set: each test image ranks all test articles, and each article all
images.

CCA is scikit-learn's, its scores ranked by cosine. On wiki it sees what the network sees: square
roots of the histograms and logarithms of the topics. On twemoji it sees 100 principal components of
the pixels and 200 latent components of the names' character n-grams (TF-IDF). The number of
canonical variates is the best of those tried on the test itself, which favours CCA. Networks
train for a fixed number of epochs; none of their settings is chosen per seed.

MM_KERAS_DATA is a folder with `twemoji/` and `wiki_retrieval/`.
"""

import argparse
import gzip
import json
import os
import pathlib
import re
import sys

import keras
import numpy as np
from seeds import repeat, report
from sklearn.cross_decomposition import PLSSVD
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import mm_keras as mm
from mm_keras.training import jit_compile

LANGUAGES = ("en", "de", "es", "fr")
TONE = re.compile(r"[:,]?\s*(medium-light|medium-dark|medium|light|dark) skin tone")
TEST_PAIRS = 573
EPOCHS = {"twemoji": 20, "twemoji class": 10, "wiki": 30}
BATCH = 128


def read_twemoji(folder):
    """Returns pictures on white (n, 32, 32, 3), names by language, names without tone, groups."""
    with gzip.open(folder / "names.json.gz") as file:
        entries = json.load(file)
    kept = [index for index, e in enumerate(entries) if set(LANGUAGES) <= set(e["names"])]
    with np.load(folder / "images.npz") as arrays:
        pixels = arrays["image"][kept].astype("float32")
    alpha = pixels[..., 3:] / 255
    entries = [entries[index] for index in kept]
    return {
        "picture": pixels[..., :3] * alpha + 255 * (1 - alpha),
        **{language: [e["names"][language] for e in entries] for language in LANGUAGES},
        "base": np.array([TONE.sub("", e["name"]) for e in entries]),
        "group": np.array([e["group"] for e in entries]),
    }


def read_wiki(folder):
    """Returns images (n, 128), articles (n, 10) and categories."""
    with np.load(folder / "wiki.npz") as arrays:
        image, text, label = arrays["image"], arrays["text"], arrays["label"]
    return {
        "image": _standard(np.sqrt(image)),
        "text": _standard(np.log(text + 1e-6)),
        "label": label.astype("int64"),
    }


def _standard(x):
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype("float32")


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def both_ways(names, a, b, relevant=None):
    """Returns retrieval figures in % for both directions."""
    turned = relevant and relevant[::-1]
    figures = {}
    for (query, item), found in {
        names: mm.evaluate.retrieval_metrics(a, b, relevant),
        names[::-1]: mm.evaluate.retrieval_metrics(b, a, turned),
    }.items():
        for key in ("R@1", "R@5", "R@10", "mAP"):
            figures[f"{query} → {item} {key} %"] = 100 * found[key]
    return figures


def mean_figures(several):
    return {key: float(np.mean([figures[key] for figures in several])) for key in several[0]}


def cca(train, test, sizes, components):
    """Returns the canonical variates of two test arrays, at length 1.

    The singular vectors of the cross-covariance of whitened components are the canonical
    directions: what `sklearn.cross_decomposition.CCA` iterates towards, exactly and at once.
    """
    whitened = [
        PCA(size, whiten=True, random_state=0).fit(x) for size, x in zip(sizes, train, strict=True)
    ]
    train, test = (
        [w.transform(x) for w, x in zip(whitened, part, strict=True)] for part in (train, test)
    )
    model = PLSSVD(components, scale=False).fit(*train)
    return [unit(variates) for variates in model.transform(*test)]


def fit(model, x, y=None, epochs=1, loss=None, metrics=None):
    """Trains with a rate that falls to zero."""
    size = len(next(iter(x.values())))
    steps = epochs * -(-size // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(keras.optimizers.AdamW(rate), loss, metrics=metrics, jit_compile=jit_compile())
    callbacks = []
    if any(getattr(layer, "loss", None) == "vse" for layer in model.layers):
        callbacks = [mm.training.HardNegativeWarmUp(epochs // 4)]
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)
    return model


def split_of_bases(base, seed):
    """Returns the rows of training and test: a fifth of the names is held out."""
    bases = np.unique(base)
    held_out = np.random.default_rng(seed).permutation(bases)[: len(bases) // 5]
    test = np.isin(base, held_out)
    return np.flatnonzero(~test), np.flatnonzero(test)


def words_of(data, languages, train, max_tokens=10):
    """Returns one spec for the names in several languages, its vocabulary that of the training."""
    spec = mm.Text(max_tokens, 6000, backbone="Words", embedding=128, activation=None)
    return spec.adapt([data[language][row] for language in languages for row in train])


def picture_spec():
    return mm.Image((32, 32, 3), backbone="SmallCNN", activation=None)


def twemoji_cca(data, sizes, components):
    def run(seed):
        train, test = split_of_bases(data["base"], seed)
        pixels = data["picture"].reshape(len(data["base"]), -1) / 255
        figures = []
        for language in LANGUAGES:
            names = np.array(data[language])
            grams = TfidfVectorizer(
                analyzer="char_wb", ngram_range=(2, 4), min_df=2, sublinear_tf=True
            ).fit(names[train])
            latent = TruncatedSVD(300, random_state=0).fit(grams.transform(names[train]))
            texts = latent.transform(grams.transform(names))
            sides = ([pixels[rows], texts[rows]] for rows in (train, test))
            figures.append(both_ways(("picture", "name"), *cca(*sides, sizes, components)))
        return mean_figures(figures)

    return run


def twemoji_network(data, contrastive, **options):
    def run(seed):
        train, test = split_of_bases(data["base"], seed)
        keras.utils.set_random_seed(seed)
        text = words_of(data, LANGUAGES, train)
        model = mm.build_cmn(
            {"picture": picture_spec(), **dict.fromkeys(LANGUAGES, text)},
            None,
            contrastive=contrastive,
            share_encoder=[LANGUAGES],
            **options,
        )

        def inputs(rows):
            names = {k: text.vectorize([data[k][row] for row in rows]) for k in LANGUAGES}
            return {"picture": data["picture"][rows], **names}

        fit(model, inputs(train), epochs=EPOCHS["twemoji"])
        found = mm.inference_model(model).predict(inputs(test), verbose=0)
        figures = [
            both_ways(("picture", "name"), found["picture_embedding"], found[f"{k}_embedding"])
            for k in LANGUAGES
        ]
        return mean_figures(figures)

    return run


def twemoji_class(data, build, **options):
    def run(seed):
        train, test = split_of_bases(data["base"], seed)
        groups, counts = np.unique(data["group"], return_counts=True)
        largest = groups[np.argsort(-counts)[:8]]
        labels = np.array(
            [np.flatnonzero(largest == g)[0] if g in largest else -1 for g in data["group"]]
        )
        train, test = (rows[labels[rows] >= 0] for rows in (train, test))
        keras.utils.set_random_seed(seed)
        text = words_of(data, ("en",), train)
        model = build({"picture": picture_spec(), "name": text}, 8, dropout=0.3, **options)

        def inputs(rows):
            names = text.vectorize([data["en"][row] for row in rows])
            return {"picture": data["picture"][rows], "name": names}

        loss = {"label": mm.losses.classification()}
        fit(model, inputs(train), {"label": labels[train]}, EPOCHS["twemoji class"], loss)
        found = mm.inference_model(model).predict(inputs(test), verbose=0)["label"]
        return {"accuracy %": 100 * float((found.argmax(axis=1) == labels[test]).mean())}

    return run


def split_at_random(size, seed):
    rows = np.random.default_rng(seed).permutation(size)
    return rows[TEST_PAIRS:], rows[:TEST_PAIRS]


def wiki_cca(data, sizes, components):
    def run(seed):
        train, test = split_at_random(len(data["label"]), seed)
        a, b = cca(
            *([data[k][rows] for k in ("image", "text")] for rows in (train, test)),
            sizes,
            components,
        )
        ids = (data["label"][test],) * 2
        return both_ways(("image", "text"), a, b, ids)

    return run


def wiki_network(data, build, **options):
    def run(seed):
        train, test = split_at_random(len(data["label"]), seed)
        keras.utils.set_random_seed(seed)
        specs = {"image": mm.Features(128, dropout=0.3), "text": mm.Features(10)}
        model = build(specs, 10, dropout=0.3, **options)

        def inputs(rows, model):
            x = {key: data[key][rows] for key in specs}
            return x | ({"pair_id": data["label"][rows, None]} if "pair_id" in model.input else {})

        loss = {"label": mm.losses.classification()}
        fit(model, inputs(train, model), {"label": data["label"][train]}, EPOCHS["wiki"], loss)
        shipped = mm.inference_model(model)
        found = shipped.predict(inputs(test, shipped), verbose=0)
        hits = found["label"].argmax(axis=1) == data["label"][test]
        figures = {}
        if "image_embedding" in found:
            ids = (data["label"][test],) * 2
            embeddings = [found[f"{key}_embedding"] for key in specs]
            figures = both_ways(("image", "text"), *embeddings, ids)
        return {**figures, "accuracy %": 100 * float(hits.mean())}

    return run


def measure_twemoji(folder, seeds):
    data = read_twemoji(folder / "twemoji")
    rows = repeat(
        {
            "CCA": twemoji_cca(data, 30),
            "build_cmn, InfoNCE": twemoji_network(data, "info_nce"),
            "build_cmn, VSE++": twemoji_network(data, "vse"),
            "build_mcnn": twemoji_class(data, mm.build_mcnn),
            "build_cmn, alignment": twemoji_class(data, mm.build_cmn, embedding=None),
            "build_cmn, matrix alone": twemoji_class(
                data, mm.build_cmn, embedding=None, matching="statistics", fusion=None
            ),
        },
        range(seeds),
    )
    report("cmn_twemoji", rows, "twemoji", seeds=seeds, epochs=EPOCHS, languages=LANGUAGES)


def measure_wiki(folder, seeds):
    data = read_wiki(folder / "wiki_retrieval")
    options = {"pair_ids": True}
    rows = repeat(
        {
            "CCA": wiki_cca(data, 9),
            **{
                f"build_cmn, {name}": wiki_network(data, mm.build_cmn, contrastive=loss, **options)
                for name, loss in {
                    "InfoNCE": "info_nce",
                    "SigLIP": "siglip",
                    "VSE++": "vse",
                    "triplet": "triplet",
                }.items()
            },
            "build_mcnn": wiki_network(data, mm.build_mcnn),
        },
        range(seeds),
    )
    report("cmn_wiki", rows, "wiki", seeds=seeds, epochs=EPOCHS)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["twemoji", "wiki"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with twemoji/ and wiki_retrieval/.")
    for name in options.sets:
        {"twemoji": measure_twemoji, "wiki": measure_wiki}[name](
            pathlib.Path(folder), options.seeds
        )


if __name__ == "__main__":
    main()
