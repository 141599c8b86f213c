"""Lips and voice: spoken digits of GRID, the sound under noise, with and without non-local blocks.

    MM_KERAS_DATA=… python benchmarks/nasn.py [--seeds 5] [--epochs 30]

Protocol: 750 digits spoken by one speaker, a lip video of 16 frames, 28×42 pixels, and the sound at
8 kHz, 0.64 s. White noise of 10 dB more power than the word lies over every recording, drawn anew
for each seed; the video is as it is. 70% train, 10% validate, 20% test (150), stratified by digit
and drawn anew for each seed. The small CNNs, the epochs and the optimizer are the same for all
rows; no epoch is selected.

MM_KERAS_DATA is a folder with `grid_words/words.npz`.
"""

import argparse
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from seeds import figures_of, repeat, report
from sklearn.model_selection import train_test_split

import mm_keras as mm
from mm_keras.experiments.run import train_and_measure
from mm_keras.training import jit_compile

RATE = 8000
SNR_DB = -10.0


def add_noise(waves, rng):
    noise = rng.normal(size=waves.shape)
    power = np.mean(waves**2, axis=1, keepdims=True)
    noisy = waves + noise * np.sqrt(power / 10 ** (SNR_DB / 10))
    return (noisy / np.abs(noisy).max(axis=1, keepdims=True)).astype("float32")


def make_splits(words, seed):
    rng = np.random.default_rng(seed)
    video, waves, labels = words
    audio = add_noise(waves.astype("float32") / 32768, rng)
    rows = np.arange(len(labels))
    train, rest = train_test_split(rows, train_size=0.7, stratify=labels, random_state=seed)
    validation, test = train_test_split(
        rest, train_size=1 / 3, stratify=labels[rest], random_state=seed
    )
    return {
        split: ({"lips": video[part], "voice": audio[part]}, labels[part])
        for split, part in (("train", train), ("validation", validation), ("test", test))
    }
