"""Cross-modal matching: retrieval against CCA, and class accuracy against build_mcnn.

    MM_KERAS_DATA=… python benchmarks/cmn.py [twemoji] [twemoji_class] [wiki] [--seeds 3]

twemoji: 2,713 pictures of 32×32 pixels and their names in 14 languages. A fifth of the names, skin
tones left out, is held out for the test (all tones of a name are on one side), drawn anew for each
seed: about 540 pictures. Picture → name: each test picture ranks the names of all test pictures in
one language, and seeks its own; name → picture the other way round; figures are means over the
languages. The network has 15 modalities, a picture and 14 names, and learns by InfoNCE from the 14
pairs of a picture and a name, or from all 105 pairs. Languages that part their words share an
encoder of words, Japanese and Chinese one of characters.

twemoji_class: which of the 8 largest groups a picture with its English name is of; same split.

wiki (wiki_retrieval): 2,173 pairs of an image (SIFT histogram, 128) and an article (LDA topics,
10), of 10 categories; 573 of them, drawn at random for each seed, are the test. What is sought is
the category, as usual for this set: each test image ranks all test articles, and each article all
images. The networks train on the categories too: as labels, and as `pair_id`.

CCA is canonical correlation analysis with scikit-learn: singular vectors of the cross-covariance of
whitened components, which is what its iterative `CCA` approaches; test items are ranked by the
cosine of their variates. On wiki it sees what the network sees: square roots of the histograms and
logarithms of the topics. On twemoji it sees 100 principal components of the pixels and 200 latent
components of the names' character n-grams (TF-IDF). Its sizes were chosen on the test split of seed
0, which favours it. Networks train for a fixed number of epochs, the last of which is measured.

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

WORDS = ("en", "de", "es", "fr", "it", "pt", "id", "tr", "ru", "fa", "ar", "ko")
CHARACTERS = ("ja", "zh")
LANGUAGES = (*WORDS, *CHARACTERS)
TONE = re.compile(r"[:,]?\s*(medium-light|medium-dark|medium|light|dark) skin tone")
LARGEST = 8  # groups of twemoji
TEST_PAIRS = 573  # of wiki
EPOCHS = {"twemoji": 16, "twemoji_class": 8, "wiki": 20}
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


def split_of_bases(base, seed):
    """Returns the rows of training and test: a fifth of the names is held out."""
    bases = np.unique(base)
    held_out = np.random.default_rng(seed).permutation(bases)[: len(bases) // 5]
    test = np.isin(base, held_out)
    return np.flatnonzero(~test), np.flatnonzero(test)


def split_at_random(size, seed):
    """Returns the rows of training and test."""
    rows = np.random.default_rng(seed).permutation(size)
    return rows[TEST_PAIRS:], rows[:TEST_PAIRS]


def both_ways(names, a, b, relevant=None):
    """Returns retrieval figures in % for both directions."""
    turned = relevant and relevant[::-1]
    directions = {
        names: mm.evaluate.retrieval_metrics(a, b, relevant),
        names[::-1]: mm.evaluate.retrieval_metrics(b, a, turned),
    }
    return {
        f"{query} → {item} {key} %": 100 * found[key]
        for (query, item), found in directions.items()
        for key in ("R@1", "R@5", "R@10", "mAP")
    }


def mean_figures(several):
    """Returns the mean of each figure."""
    return {key: float(np.mean([figures[key] for figures in several])) for key in several[0]}


def cca(train, test, sizes, components):
    """Returns the canonical variates of two test arrays, at length 1."""
    for side, size in enumerate(sizes):
        whitened = PCA(size, whiten=True, random_state=0).fit(train[side])
        train[side], test[side] = whitened.transform(train[side]), whitened.transform(test[side])
    variates = PLSSVD(components, scale=False).fit(*train).transform(*test)
    return [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in variates]


def fit(model, x, y, epochs, loss):
    """Trains with a rate that falls to zero."""
    steps = epochs * -(-len(next(iter(x.values()))) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(keras.optimizers.AdamW(rate), loss, jit_compile=jit_compile())
    callbacks = []
    if any(getattr(layer, "loss", None) == "vse" for layer in model.layers):
        callbacks = [mm.training.HardNegativeWarmUp(epochs // 4)]
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks)


def text_spec(data, languages, rows):
    """Returns a spec of names, its vocabulary that of the training."""
    size = {"max_tokens": 10, "vocabulary_size": 1500 * len(languages)}
    if set(languages) <= set(CHARACTERS):
        size = {"max_tokens": 20, "vocabulary_size": 3000, "split": "character"}
    spec = mm.Text(**size, backbone="Words", embedding=128, activation=None)
    return spec.adapt([data[language][row] for language in languages for row in rows])


def picture_spec(positions):
    """Returns the spec of a picture: three convolutions, to 4×4 positions or to one vector."""
    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for filters, size in ((32, 5), (64, 3), (128, 3)):
        x = keras.layers.Conv2D(filters, size, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    outputs = x if positions else keras.layers.Flatten()(x)
    backbone = keras.Model(inputs, outputs, name="convolutions")
    return mm.Image((32, 32, 3), backbone=backbone, activation=None)


def twemoji_cca(data, sizes, components):
    def run(seed):
        train, test = split_of_bases(data["base"], seed)
        pixels = data["picture"].reshape(len(data["base"]), -1) / 255
        pixels = PCA(sizes[0], random_state=0).fit(pixels[train]).transform(pixels)
        figures = []
        for language in LANGUAGES:
            names = np.array(data[language])
            grams = TfidfVectorizer(
                analyzer="char_wb", ngram_range=(2, 4), min_df=2, sublinear_tf=True
            ).fit(names[train])
            latent = TruncatedSVD(sizes[1], random_state=0).fit(grams.transform(names[train]))
            texts = latent.transform(grams.transform(names))
            sides = ([pixels[rows], texts[rows]] for rows in (train, test))
            figures.append(both_ways(("picture", "name"), *cca(*sides, sizes, components)))
        return mean_figures(figures)

    return run


def twemoji_network(data, **options):
    def run(seed):
        train, test = split_of_bases(data["base"], seed)
        keras.utils.set_random_seed(seed)
        texts = {}
        for group in (WORDS, CHARACTERS):
            texts |= dict.fromkeys(group, text_spec(data, group, train))
        model = mm.build_cmn(
            {"picture": picture_spec(positions=False), **texts},
            None,
            share_encoder=[WORDS, CHARACTERS],
            **options,
        )

        def inputs(rows):
            names = {k: texts[k].vectorize([data[k][row] for row in rows]) for k in LANGUAGES}
            return {"picture": data["picture"][rows], **names}

        fit(model, inputs(train), None, EPOCHS["twemoji"], None)
        found = mm.inference_model(model).predict(inputs(test), verbose=0)
        return mean_figures(
            [
                both_ways(("picture", "name"), found["picture_embedding"], found[f"{k}_embedding"])
                for k in LANGUAGES
            ]
        )

    return run


def twemoji_class(data, build, **options):
    def run(seed):
        groups, counts = np.unique(data["group"], return_counts=True)
        number = {group: n for n, group in enumerate(groups[np.argsort(-counts)[:LARGEST]])}
        labels = np.array([number.get(group, -1) for group in data["group"]])
        train, test = (rows[labels[rows] >= 0] for rows in split_of_bases(data["base"], seed))
        keras.utils.set_random_seed(seed)
        specs = {"picture": picture_spec(positions=True), "name": text_spec(data, ["en"], train)}
        model = build(specs, LARGEST, dropout=0.3, **options)

        def inputs(rows):
            names = specs["name"].vectorize([data["en"][row] for row in rows])
            return {"picture": data["picture"][rows], "name": names}

        loss = {"label": mm.losses.classification()}
        fit(model, inputs(train), {"label": labels[train]}, EPOCHS["twemoji_class"], loss)
        found = mm.inference_model(model).predict(inputs(test), verbose=0)["label"]
        return {"accuracy %": 100 * float((found.argmax(axis=1) == labels[test]).mean())}

    return run


def wiki_cca(data, sizes, components):
    def run(seed):
        train, test = split_at_random(len(data["label"]), seed)
        sides = ([data[key][rows] for key in ("image", "text")] for rows in (train, test))
        a, b = cca(*sides, sizes, components)
        return both_ways(("image", "text"), a, b, (data["label"][test],) * 2)

    return run


def wiki_network(data, build, **options):
    def run(seed):
        train, test = split_at_random(len(data["label"]), seed)
        keras.utils.set_random_seed(seed)
        specs = {"image": mm.Features(128, dropout=0.3), "text": mm.Features(10)}
        model = build(specs, 10, dropout=0.3, **options)
        x = {key: data[key][train] for key in specs}
        if "pair_id" in model.input:
            x["pair_id"] = data["label"][train, None]
        loss = {"label": mm.losses.classification()}
        fit(model, x, {"label": data["label"][train]}, EPOCHS["wiki"], loss)
        shipped = mm.inference_model(model)
        found = shipped.predict({key: data[key][test] for key in specs}, verbose=0)
        hits = found["label"].argmax(axis=1) == data["label"][test]
        figures = {}
        if "image_embedding" in found:
            embeddings = [found[f"{key}_embedding"] for key in specs]
            figures = both_ways(("image", "text"), *embeddings, (data["label"][test],) * 2)
        return {**figures, "accuracy %": 100 * float(hits.mean())}

    return run


def measure_twemoji(folder, seeds):
    data = read_twemoji(folder / "twemoji")
    runs = {
        "CCA": twemoji_cca(data, (100, 200), 60),
        "build_cmn, pictures as anchor": twemoji_network(data, anchor="picture"),
        "build_cmn, all pairs": twemoji_network(data),
    }
    rows = repeat(runs, range(seeds))
    report(
        "cmn_twemoji",
        rows,
        "twemoji, retrieval: pictures and names in 14 languages, names of the test unseen",
        seeds=seeds,
        lines=lines_of("twemoji, unseen names", rows, "picture → name R@1 %", "CCA"),
        epochs=EPOCHS["twemoji"],
        languages=LANGUAGES,
    )


def measure_twemoji_class(folder, seeds):
    data = read_twemoji(folder / "twemoji")
    rows = repeat(
        {
            "build_mcnn": twemoji_class(data, mm.build_mcnn),
            "build_cmn": twemoji_class(data, mm.build_cmn, embedding=None),
            "build_cmn, similarities alone": twemoji_class(
                data, mm.build_cmn, embedding=None, fusion=None
            ),
        },
        range(seeds),
    )
    report(
        "cmn_twemoji_class",
        rows,
        "twemoji, 8 groups by picture and English name, names of the test unseen",
        seeds=seeds,
        lines=lines_of("twemoji, 8 groups", rows, "accuracy %", "build_mcnn"),
        epochs=EPOCHS["twemoji_class"],
    )


def measure_wiki(folder, seeds):
    data = read_wiki(folder / "wiki_retrieval")
    contrasts = {"InfoNCE": "info_nce", "SigLIP": "siglip", "VSE++": "vse", "triplet": "triplet"}
    runs = {
        f"build_cmn, {name}": wiki_network(data, mm.build_cmn, contrastive=loss, pair_ids=True)
        for name, loss in contrasts.items()
    }
    rows = repeat(
        {
            "CCA": wiki_cca(data, (20, 10), 5),
            **runs,
            "build_mcnn": wiki_network(data, mm.build_mcnn),
        },
        range(seeds),
    )
    report(
        "cmn_wiki",
        rows,
        "wiki_retrieval: the category is sought; 573 test pairs",
        seeds=seeds,
        lines=lines_of("wiki_retrieval", rows, "image → text mAP %", "CCA"),
        epochs=EPOCHS["wiki"],
    )


def lines_of(data, rows, figure, baseline):
    """Returns the line of the table of all systems: the first row of the builder."""
    row = next(name for name in rows if name.startswith("build_cmn"))
    line = {"system": "build_cmn", "data": data, "figure": figure, "row": row}
    return [{**line, "baseline": baseline, "published": "–"}]


SETS = {
    "twemoji": measure_twemoji,
    "twemoji_class": measure_twemoji_class,
    "wiki": measure_wiki,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help=f"of {list(SETS)}; all without any")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder = os.environ.get("MM_KERAS_DATA")
    if not folder:
        sys.exit("Set MM_KERAS_DATA to a folder with twemoji/ and wiki_retrieval/.")
    for name in options.sets or SETS:
        SETS[name](pathlib.Path(folder), options.seeds)


if __name__ == "__main__":
    main()
