"""`Source`: any TFDS dataset into batches; here one with a picture, a text, a table and sound."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import mm_keras as mm
from mm_keras.datasets import Source
from mm_keras.experiments.folds import fold_places

TITLES = ["red shoe", "blue shoe", "red shirt", "blue shirt"]


class TinyProducts(tfds.core.GeneratorBasedBuilder):
    """Twelve made-up products."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            disable_shuffling=True,  # examples stay in the order of their keys
            features=tfds.features.FeaturesDict(
                {
                    "photo": tfds.features.Image(shape=(8, 8, 3)),
                    "title": tfds.features.Text(),
                    "price": np.float32,
                    "city": tfds.features.Text(),
                    "jingle": tfds.features.Tensor(shape=(400,), dtype=np.int16),
                    "kind": tfds.features.ClassLabel(num_classes=4),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(8), "test": self._generate_examples(4)}

    def _generate_examples(self, count):
        for index in range(count):
            yield (
                index,
                {
                    "photo": np.full((8, 8, 3), index, "uint8"),
                    "title": TITLES[index % 4],
                    "price": float(index),
                    "city": ["Rome", "Oslo"][index % 2],
                    "jingle": np.full(400, 16384, "int16"),
                    "kind": index % 4,
                },
            )


MODALITIES = {
    "image": mm.Image((8, 8, 3), backbone="SmallCNN"),
    "title": mm.Text(max_tokens=4, vocabulary_size=10),
    "table": mm.Tabular(numeric=("price",), categorical={"city": None}),
    "sound": mm.Audio(400, 8000),
}


@pytest.fixture
def source(tmp_path):
    inputs = {"image": "photo", "table": ["price", "city"], "sound": "jingle"}
    return Source("tiny_products", inputs=inputs, labels="kind", data_dir=str(tmp_path))


def test_adapts_texts_and_tables_and_makes_batches_that_fit_a_model(source):
    modalities = source.adapt(MODALITIES, "train")
    assert set(modalities["title"].vocabulary) == {"red", "blue", "shoe", "shirt"}
    assert modalities["table"].categorical == {"city": ("Oslo", "Rome")}
    assert modalities["table"].mean == (3.5,)
    model = mm.build_mcnn(modalities, 4, width=8)
    batches = source.batches("test", modalities, batch_size=3)
    assert mm.data.check_dataset(batches, model) == 4
    inputs, labels = next(batches.as_numpy_iterator())
    np.testing.assert_array_equal(labels, [0, 1, 2])
    np.testing.assert_array_equal(inputs["image"][:, 0, 0, 0], [0, 1, 2])
    np.testing.assert_array_equal(inputs["table"], [[0, 2], [1, 1], [2, 2]])
    np.testing.assert_array_equal(inputs["title"], modalities["title"].vectorize(TITLES[:3]))
    np.testing.assert_allclose(inputs["sound"], 0.5, atol=1e-4)


def test_labels_by_head_and_seeded_shuffle(source, tmp_path):
    modalities = {"image": MODALITIES["image"]}
    named = Source("tiny_products", {"image": "photo"}, {"k": "kind"}, str(tmp_path))
    orders = [
        [
            int(label)
            for _, labels in named.batches("train", modalities, 2, shuffle=True, seed=seed)
            for label in labels["k"]
        ]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"name": "tiny_product"},
            "`name` must be a dataset of TFDS. Did you mean 'tiny_products'",
        ),
        ({"inputs": {"image": "foto"}}, r"`inputs\['image'\]`.*Did you mean 'photo'"),
        ({"labels": "kinds"}, "`labels`.*Did you mean 'kind'"),
        ({"options": {"noise": 1}}, r"`options` must be empty .*\['av_digits'\]"),
    ],
)
def test_errors(source, change, message):
    import dataclasses

    wrong = dataclasses.replace(source, **change)
    with pytest.raises(ValueError, match=message):
        wrong.batches("train", {"image": MODALITIES["image"]}, 2)


def test_only_a_table_has_several_features(source, tmp_path):
    wrong = Source("tiny_products", {"image": ["photo", "kind"]}, "kind", str(tmp_path))
    with pytest.raises(TypeError, match=r"`inputs\['image'\]` must be one feature"):
        wrong.batches("train", {"image": MODALITIES["image"]}, 2)


def test_folds_of_a_dataset(source):
    """Examples of two splits are divided anew; classes keep their shares."""
    strata = source.strata(("train", "test"), "label")
    assert strata.count == 12
    np.testing.assert_array_equal(strata.labels, [n % 4 for n in [*range(8), *range(4)]])
    assert source.strata(("train", "test"), None).labels is None
    places = fold_places(strata, 3, 0)
    photo, everything = {"photo": mm.Image((8, 8, 3), backbone="SmallCNN")}, ("train", "test")
    tested = []
    for fold in range(3):
        rows = {"train": places != fold, "test": places == fold}
        one = source.parted({k: (everything, np.flatnonzero(kept)) for k, kept in rows.items()})
        for split, kept in rows.items():
            assert int(one.raw(split).cardinality()) == kept.sum()
            found = np.concatenate([label for _, label in one.batches(split, photo, 5)])
            np.testing.assert_array_equal(found, strata.labels[kept])
        tested.append(np.bincount(found).tolist())
    assert tested == [[1, 1, 1, 1]] * 3
