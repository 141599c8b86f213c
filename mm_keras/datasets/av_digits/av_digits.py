"""The TFDS builder of the embedded audio-visual digits."""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from mm_keras.datasets.av_digits.speech import MAX_SAMPLES, SAMPLE_RATE, read_speech

SPLITS = ("train", "validation", "test")
NUM_IMAGES = {"train": 1200, "validation": 200, "test": 397}
NUM_VOICES = {"train": 34, "validation": 6, "test": 10}
CLIPS_PER_IMAGE = {"train": 2, "validation": 1, "test": 1}
_IMAGE_SEED = 1998
_VOICE_SEED = 162  # all eight accents in the test split, women's voices in every split

_DESCRIPTION = """
Handwritten digits paired with the same digit spoken. The 1,797 images (8 x 8 pixels) are the test
part of the UCI "Optical Recognition of Handwritten Digits", as carried by scikit-learn. The speech
is synthetic: 50 voices of the espeak-ng synthesiser, 8 kHz, shipped with mm_keras. No image and no
voice occurs in two splits. Nothing is downloaded.
"""

_CITATION = """
@misc{alpaydin1998optdigits,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49},
}
"""


def image_split() -> dict[str, np.ndarray]:
    """Returns the scikit-learn indices of each split's images: every class alike, no overlap."""
    target = load_digits().target
    rng = np.random.RandomState(_IMAGE_SEED)
    # Spread each class evenly over 0..1, then cut: every split gets its share of every class.
    place = np.empty(len(target))
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(target == digit))
        place[rows] = (np.arange(len(rows)) + rng.uniform()) / len(rows)
    order = np.argsort(place, kind="stable")
    cuts = np.cumsum([NUM_IMAGES[split] for split in SPLITS])[:-1]
    return dict(zip(SPLITS, map(np.sort, np.split(order, cuts)), strict=True))


def voice_split() -> dict[str, np.ndarray]:
    """Returns the positions in `Speech.voices` of each split's voices; no overlap."""
    order = np.random.RandomState(_VOICE_SEED).permutation(len(read_speech().voices))
    cuts = np.cumsum([NUM_VOICES[split] for split in SPLITS])[:-1]
    return dict(zip(SPLITS, map(np.sort, np.split(order, cuts)), strict=True))


class AvDigits(tfds.core.GeneratorBasedBuilder):
    """Builds `av_digits`: handwritten digits and the same digit spoken, clean, without a download.

    Once `mm_keras.datasets` is imported, `tfds.load("av_digits")` finds it. Models are usually
    fed by the function `mm_keras.datasets.av_digits`, which adds noise to both modalities.

    Features of an example:

    - `image`: uint8 (8, 8, 1), pixels 0–255.
    - `audio`: int16 (6400,), 0.8 s at 8 kHz, zero after the end of the clip.
    - `samples`: int64, length of the clip in samples.
    - `label`: the digit, 0..9.
    - `voice`: name of the synthetic voice, espeak-ng's accent and variant.
    - `image_id`: int64, index of the image in `sklearn.datasets.load_digits`.
    - `clip_id`: int64, index of the clip in the speech archive.
    - `index`: int64, number of the example, unique over all splits.

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository, 1998.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    # There is nothing to download, hence no checksums. Looking for them makes TFDS 4.9.10 import
    # `importlib_resources`, which it does not require (tensorflow/datasets issue 11212).
    url_infos = None

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            citation=_CITATION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "audio": tfds.features.Tensor(
                        shape=(MAX_SAMPLES,), dtype=np.int16, encoding="zlib"
                    ),
                    "samples": np.int64,
                    "label": tfds.features.ClassLabel(num_classes=10),
                    "voice": tfds.features.Text(),
                    "image_id": np.int64,
                    "clip_id": np.int64,
                    "index": np.int64,
                }
            ),
            metadata=tfds.core.MetadataDict(
                sample_rate=SAMPLE_RATE, speech_generator=read_speech().generator
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, object]]]]:
        del dl_manager  # nothing to download
        first, generators = 0, {}
        for split in SPLITS:
            generators[split] = self._generate_examples(split, first)
            first += NUM_IMAGES[split] * CLIPS_PER_IMAGE[split]
        return generators

    def _generate_examples(self, split: str, first: int) -> Iterator[tuple[str, dict[str, object]]]:
        digits, speech = load_digits(), read_speech()
        pixels = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)[..., np.newaxis]
        spoken_here = np.isin(speech.voice, voice_split()[split])
        clips = [np.flatnonzero(spoken_here & (speech.digit == digit)) for digit in range(10)]
        rng = np.random.RandomState(_IMAGE_SEED + SPLITS.index(split))
        index = first
        for image in image_split()[split]:
            label = int(digits.target[image])
            for clip in rng.choice(clips[label], CLIPS_PER_IMAGE[split], replace=False):
                yield (
                    f"{index:05d}",
                    {
                        "image": pixels[image],
                        "audio": speech.audio[clip],
                        "samples": speech.samples[clip],
                        "label": label,
                        "voice": speech.voices[speech.voice[clip]],
                        "image_id": image,
                        "clip_id": clip,
                        "index": index,
                    },
                )
                index += 1
