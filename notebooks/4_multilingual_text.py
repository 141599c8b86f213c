# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Multilingual text: one encoder for many languages
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mm_keras/blob/main/notebooks/4_multilingual_text.ipynb)
#
# Two tasks with one network each. *Which language is this?* from fragments of a few words. And *is
# this praise or blame?* learnt in five languages and asked in a sixth, for which no label was
# given: what can an encoder of characters carry over that one of whole words cannot?

# %%
import importlib.util
import os
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's own log stays quiet
if importlib.util.find_spec("mm_keras") is None:  # on Colab; elsewhere it is installed already
    package = "mm_keras @ git+https://github.com/OWNER/mm_keras"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)

import tensorflow as tf

tf.get_logger().setLevel("ERROR")

# %%
# True: 79 languages, from `language_id/sentences.json.gz`, {language: [sentence, …]}, below the
# folder that the variable MM_KERAS_DATA names.
FULL = False

import gzip
import itertools
import json

import keras
import numpy as np

import mm_keras as mm

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Sentences
#
# Written for this notebook: the same little story in six languages. The last quarter of each is for
# the test.

# %%
STORIES = {
    "Dutch": """Elke ochtend fietst Anna langs de rivier naar haar werk. De bakker op de hoek groet
        haar en vraagt hoe het gaat. Als het regent neemt ze de bus, maar die komt vaak te laat.
        Haar broer woont op het platteland en houdt kippen en twee oude paarden. In het weekend
        helpt ze hem met het hek en koken ze samen soep. Gisteren vonden ze een kleine hond bij de
        brug. Niemand wist van wie hij was, dus mocht hij blijven. Nu slaapt hij elke nacht naast
        de warme kachel en droomt van wandelingen door het bos.""",
    "English": """Every morning Anna rides her bicycle along the river to work. The baker at the
        corner greets her and asks how things are going. When it rains she takes the bus, but that
        is often late. Her brother lives in the country and keeps chickens and two old horses. At
        the weekend she helps him with the fence and they cook soup together. Yesterday they found
        a small dog near the bridge. Nobody knew whose it was, so it was allowed to stay. Now it
        sleeps every night beside the warm stove and dreams of walks through the wood.""",
    "French": """Chaque matin Anne longe la rivière à vélo pour aller au travail. Le boulanger du
        coin la salue et lui demande comment ça va. Quand il pleut elle prend le bus, mais il est
        souvent en retard. Son frère habite à la campagne et élève des poules et deux vieux
        chevaux. Le week-end elle l'aide à réparer la clôture et ils préparent une soupe ensemble.
        Hier ils ont trouvé un petit chien près du pont. Personne ne savait à qui il était, alors
        il a pu rester. Maintenant il dort chaque nuit à côté du poêle chaud et rêve de promenades
        dans la forêt.""",
    "German": """Jeden Morgen fährt Anna mit dem Rad am Fluss entlang zur Arbeit. Der Bäcker an der
        Ecke grüßt sie und fragt, wie es geht. Wenn es regnet, nimmt sie den Bus, aber der kommt
        oft zu spät. Ihr Bruder wohnt auf dem Land und hält Hühner und zwei alte Pferde. Am
        Wochenende hilft sie ihm mit dem Zaun, und sie kochen zusammen Suppe. Gestern fanden sie
        einen kleinen Hund bei der Brücke. Niemand wusste, wem er gehört, also durfte er bleiben.
        Jetzt schläft er jede Nacht neben dem warmen Ofen und träumt von Spaziergängen im Wald.""",
    "Italian": """Ogni mattina Anna va al lavoro in bicicletta lungo il fiume. Il fornaio
        all'angolo la saluta e le chiede come va. Quando piove prende l'autobus, ma arriva spesso
        in ritardo. Suo fratello abita in campagna e alleva galline e due vecchi cavalli. Nel fine
        settimana lei lo aiuta con il recinto e insieme cucinano una zuppa. Ieri hanno trovato un
        piccolo cane vicino al ponte. Nessuno sapeva di chi fosse, perciò è potuto rimanere. Adesso
        dorme ogni notte accanto alla stufa calda e sogna passeggiate nel bosco.""",
    "Spanish": """Cada mañana Ana va en bicicleta al trabajo por la orilla del río. El panadero de
        la esquina la saluda y le pregunta cómo está. Cuando llueve toma el autobús, pero suele
        llegar tarde. Su hermano vive en el campo y cría gallinas y dos caballos viejos. El fin de
        semana ella lo ayuda con la valla y juntos cocinan una sopa. Ayer encontraron un perro
        pequeño cerca del puente. Nadie sabía de quién era, así que pudo quedarse. Ahora duerme
        todas las noches al lado de la estufa caliente y sueña con paseos por el bosque.""",
}


def fragments(words, count, length=7):
    """Returns runs of words, drawn at random."""
    starts = rng.integers(0, len(words) - length + 1, count)
    return [" ".join(words[start : start + length]) for start in starts]


if FULL:
    with gzip.open(f"{os.environ['MM_KERAS_DATA']}/language_id/sentences.json.gz") as file:
        sentences = json.load(file)
    languages = sorted(sentences)
    ends = {name: len(own) * 4 // 5 for name, own in sentences.items()}
    parts = {
        "train": {name: sentences[name][: ends[name]] for name in languages},
        "test": {name: sentences[name][ends[name] :] for name in languages},
    }
else:
    languages = sorted(STORIES)
    words = {name: story.split() for name, story in STORIES.items()}
    ends = {name: len(own) * 3 // 4 for name, own in words.items()}
    parts = {
        "train": {name: fragments(words[name][: ends[name]], 250) for name in languages},
        "test": {name: fragments(words[name][ends[name] :], 30) for name in languages},
    }
texts = {split: list(itertools.chain(*own.values())) for split, own in parts.items()}
labels = {
    split: np.repeat(np.arange(len(languages)), [len(own[name]) for name in languages])
    for split, own in parts.items()
}
for name in languages[:6]:
    print(f"{name:8} {parts['test'][name][0]}")

# %% [markdown]
# ## Which language?
#
# `split="character"` makes letters the tokens, so that no word is unknown; convolutions find
# endings and pairs of letters. `adapt` learns the alphabet from the training part, and the spec
# carries it from there on, into saved models too.

# %%
letters = mm.Text(
    max_tokens=120 if FULL else 64,
    vocabulary_size=2000 if FULL else 64,
    split="character",
    backbone="Conv1D",
    kernel_size=3,
    embedding=32,
)
letters = letters.adapt(texts["train"])
print(len(letters.vocabulary), "characters:", "".join(letters.vocabulary[:40]))


def compiled(model, metrics):
    loss = dict.fromkeys(model.output, mm.losses.classification())
    model.compile(keras.optimizers.Adam(3e-3), loss, weighted_metrics=metrics, jit_compile=False)
    return model


model = mm.build_mcnn({"text": letters}, num_classes=len(languages), width=64)
compiled(model, None)
ids = {split: {"text": letters.vectorize(own)} for split, own in texts.items()}
model.fit(ids["train"], labels["train"], batch_size=64, epochs=10, verbose=0)
predicted = model.predict(ids["test"], batch_size=256, verbose=0)["label"].argmax(axis=1)
print(f"test accuracy {100 * np.mean(predicted == labels['test']):.1f} %", end=", ")
print(f"chance {100 / len(languages):.1f} %")

# %% [markdown]
# Which are taken for which? Look at the pairs of related languages.

# %%
mm.plots.confusion_matrix(labels["test"], predicted, languages, "Language of a fragment")

# %% [markdown]
# ## Praise or blame, in a language without labels
#
# Short reviews from a few patterns, in the same six languages. Those in Spanish have a language but
# no label for the sentiment: their weight is 0 for that head. All languages go through one encoder.

# %%
PRAISE_AND_BLAME = {
    "Dutch": (
        ["De {} is {}", "Ik vind de {} {}", "Een {} die {} is"],
        ["lamp", "tas", "radio", "stoel"],
        ["fantastisch", "perfect", "elegant", "praktisch", "excellent", "magnifiek"],
        ["verschrikkelijk", "defect", "catastrofaal", "fragiel", "middelmatig", "nutteloos"],
    ),
    "English": (
        ["The {} is {}", "I find the {} {}", "A {} that is {}"],
        ["lamp", "bag", "radio", "chair"],
        ["fantastic", "perfect", "elegant", "practical", "excellent", "magnificent"],
        ["terrible", "defective", "catastrophic", "fragile", "mediocre", "useless"],
    ),
    "French": (
        ["Ce modèle de {} est {}", "Je trouve ce genre de {} {}", "Un type de {} qui est {}"],
        ["lampe", "sac", "radio", "chaise"],
        ["fantastique", "parfait", "élégant", "pratique", "excellent", "magnifique"],
        ["terrible", "défectueux", "catastrophique", "fragile", "médiocre", "inutile"],
    ),
    "German": (
        ["Dieses Modell von {} ist {}", "Ich finde die {} {}", "Eine {}, die {} ist"],
        ["Lampe", "Tasche", "Kamera", "Uhr"],
        ["fantastisch", "perfekt", "elegant", "praktisch", "exzellent", "brillant"],
        ["schrecklich", "defekt", "katastrophal", "fragil", "miserabel", "nutzlos"],
    ),
    "Italian": (
        ["Questo tipo di {} è {}", "Trovo il modello di {} {}", "Un tipo di {} che è {}"],
        ["lampada", "borsa", "radio", "sedia"],
        ["fantastico", "perfetto", "elegante", "pratico", "eccellente", "magnifico"],
        ["terribile", "difettoso", "catastrofico", "fragile", "mediocre", "inutile"],
    ),
    "Spanish": (
        ["Este tipo de {} es {}", "El modelo de {} me parece {}", "Un tipo de {} que es {}"],
        ["lámpara", "bolso", "radio", "silla"],
        ["fantástico", "perfecto", "elegante", "práctico", "excelente", "magnífico"],
        ["terrible", "defectuoso", "catastrófico", "frágil", "mediocre", "inútil"],
    ),
}
UNLABELLED = "Spanish"
reviews = [
    (pattern.format(noun, word), language, int(word in praise))
    for language, (patterns, nouns, praise, blame) in PRAISE_AND_BLAME.items()
    for pattern, noun, word in itertools.product(patterns, nouns, praise + blame)
]
sentences, spoken, praised = zip(*reviews, strict=True)
heads = {
    "language": np.array([sorted(PRAISE_AND_BLAME).index(name) for name in spoken]),
    "sentiment": np.array(praised),
}
weight = {
    "language": np.ones(len(reviews)),
    "sentiment": np.array([name != UNLABELLED for name in spoken], float),
}
for number in range(0, len(reviews), 149):
    print(reviews[number])

# %% [markdown]
# The same network twice: once it reads letters, once whole words. Look at the two columns: where
# it had labels, and Spanish, where it had none. A word like *fantástico* is new, but most of its
# letters stand in *fantastico* and *fantastic* too.

# %%
letters = mm.Text(48, 64, split="character", backbone="Conv1D", kernel_size=5, embedding=32)
whole_words = mm.Text(10, 400, split="whitespace", backbone="Words", embedding=32)
unseen = np.array([name == UNLABELLED for name in spoken])
accuracy = {}
for reads, spec in {"letters": letters, "words": whole_words}.items():
    keras.utils.set_random_seed(0)
    spec = spec.adapt(sentences)
    model = mm.build_mcnn(
        {"text": spec}, {"language": 6, "sentiment": 2}, width=64, pooling="max", dropout=0.2
    )
    compiled(model, {"language": ["accuracy"], "sentiment": ["accuracy"]})
    ids = {"text": spec.vectorize(sentences)}
    model.fit(ids, heads, sample_weight=weight, batch_size=32, epochs=10, verbose=0)
    right = model.predict(ids, batch_size=256, verbose=0)["sentiment"].argmax(axis=1) == praised
    accuracy[reads] = right[~unseen].mean(), right[unseen].mean()

print(f"{'reads':10}{'labelled languages':>20}{UNLABELLED + ', no labels':>22}")
for reads, (known, new) in accuracy.items():
    print(f"{reads:10}{100 * known:>18.1f} %{100 * new:>20.1f} %")

# %% [markdown]
# The first column is no test: these sentences were learnt from. The second is. These languages
# share many of such words; with unrelated ones letters carry nothing over, and a pretrained
# multilingual encoder is needed: any backbone of `keras_hub` serves as `mm.Text(…, backbone=…)`.
#
# ## Go on
#
# Texts in several languages that belong together, such as a title and its translation, are
# modalities of their own: `{"en": …, "de": …}` with `share_encoder=True`, each `optional`.
