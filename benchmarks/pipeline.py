"""Files to augmented batches: samples a second, beside Keras layers mapped naively and PyTorch.

    MM_KERAS_DATA=… python benchmarks/pipeline.py [--samples 7000] [--seeds 3] [--epoch 1024]

Protocol: photos of fashion_products (JPEG, 64×64) in a temporary folder, and with "sound" each
paired with a recording of fsdd (WAV, 8 kHz). The work, the same for all, in batches of 32: decode,
enlarge to 96×96 (bilinear), mirror half of the pictures, turn by up to 18° (bilinear, black
outside), brightness ±20 %, contrast ±20 %, uint8; sound: decode, 1 s (cut or padded), shift by up
to a tenth, white noise at 5 to 30 dB. Each row is a process of its own, which reads all samples
once to warm up and then three times; rows take turns, once a seed. `samples/s` is by the clock,
`samples/s a core` by processor seconds of the process and its workers. Other programs of the
machine weigh on both, on the first more; `load` in the JSON is the mean load over 15 minutes.

- mm_keras: `from_table`, `.batch`, `augment` with layers of keras.layers and of mm.data.
- Keras, naive: the same layers in `Dataset.map`, one element after the other.
- PyTorch: a DataLoader of two persistent workers, four batches ahead, with Pillow and NumPy.

`epoch`: MobileNetV2 at 96×96 learns from files, augmented, from the same pictures decoded in
memory, augmented alike, and from those as they are, in turns; the first epoch of each is not timed.

MM_KERAS_DATA is a folder with `fashion_products/images.zip` and `fsdd/recordings.zip`. PyTorch must
be installed, with Pillow: their row is left out if not.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
import wave
import zipfile

SIZE, RATE, BATCH, WORKERS = 96, 8000, 32, 2
PASSES = 3
ANGLE, LIGHT, CONTRAST, SHIFT = 18, 0.2, 0.2, 0.1
MIN_SNR, MAX_SNR = 5.0, 30.0
LIBRARIES = ("mm_keras", "Keras, naive", "PyTorch")


def processor_seconds():
    """Returns those of this process and of its workers."""
    times = os.times()
    total = times.user + times.system
    ticks = os.sysconf("SC_CLK_TCK")
    for child in multiprocessing.active_children():
        fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def mm_keras_batches(photos, sounds):
    import keras

    import mm_keras as mm

    columns = {"image": photos, "label": [0] * len(photos)}
    specs = {"image": mm.Image((SIZE, SIZE, 3), backbone="SmallCNN")}
    steps = {"image": keras_layers(keras)}
    if sounds:
        columns["audio"] = sounds
        specs["audio"] = mm.Audio(RATE, RATE)
        steps["audio"] = [mm.data.TimeShift(SHIFT), mm.data.AddNoise(MIN_SNR, MAX_SNR)]
    data = mm.data.from_table(columns, specs, classes="ids", resize=True, length="fit")
    return mm.data.augment(data.batch(BATCH), steps, seed=0).prefetch(2)


def keras_layers(keras):
    return [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(ANGLE / 360, fill_mode="constant"),
        keras.layers.RandomBrightness(LIGHT),
        keras.layers.RandomContrast(CONTRAST),
    ]


def naive_batches(photos, sounds):
    import keras
    import tensorflow as tf

    layers = keras_layers(keras)

    def image(path):
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        picture = tf.image.resize(picture, (SIZE, SIZE))
        for layer in layers:
            picture = layer(picture, training=True)
        return tf.cast(picture, tf.uint8)

    def audio(path):
        sound = tf.audio.decode_wav(tf.io.read_file(path), 1, RATE)[0][:, 0]
        shift = tf.random.uniform((), -int(SHIFT * RATE), int(SHIFT * RATE), tf.int32)
        sound = tf.pad(sound, [[RATE, RATE]])[RATE - shift : 2 * RATE - shift]
        noise = tf.random.normal((RATE,))
        ratio = 10.0 ** (tf.random.uniform((), MIN_SNR, MAX_SNR) / 10.0)
        power = tf.reduce_mean(sound**2) / tf.reduce_mean(noise**2)
        return sound + noise * tf.sqrt(power / ratio)

    if not sounds:
        data = tf.data.Dataset.from_tensor_slices(photos).map(image)
    else:
        data = tf.data.Dataset.from_tensor_slices((photos, sounds))
        data = data.map(lambda photo, sound: (image(photo), audio(sound)))
    return data.batch(BATCH)


def torch_batches(photos, sounds):
    import numpy as np
    import torch
    from PIL import Image, ImageEnhance, ImageOps

    class Files(torch.utils.data.Dataset):
        def __len__(self):
            return len(photos)

        def __getitem__(self, index):
            with Image.open(photos[index]) as file:
                picture = file.convert("RGB")
            picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            if random.random() < 0.5:
                picture = ImageOps.mirror(picture)
            picture = picture.rotate(random.uniform(-ANGLE, ANGLE), Image.Resampling.BILINEAR)
            light = random.uniform(1 - LIGHT, 1 + LIGHT)
            picture = ImageEnhance.Brightness(picture).enhance(light)
            contrast = random.uniform(1 - CONTRAST, 1 + CONTRAST)
            picture = ImageEnhance.Contrast(picture).enhance(contrast)
            pixels = torch.from_numpy(np.array(picture))
            return (pixels, torch.from_numpy(self.sound(index))) if sounds else pixels

        def sound(self, index):
            with wave.open(sounds[index], "rb") as file:
                samples = np.frombuffer(file.readframes(RATE), "<i2")
            shift = random.randint(-int(SHIFT * RATE), int(SHIFT * RATE))
            sound = np.zeros(RATE, "float32")
            kept = samples[max(-shift, 0) : RATE - max(shift, 0)]
            sound[max(shift, 0) : max(shift, 0) + len(kept)] = kept
            sound /= 32768
            noise = np.random.default_rng().standard_normal(RATE, "float32")
            ratio = 10.0 ** (random.uniform(MIN_SNR, MAX_SNR) / 10.0)
            power = np.mean(sound**2) / np.mean(noise**2)
            return sound + noise * np.float32(np.sqrt(power / ratio))

    return torch.utils.data.DataLoader(
        Files(), BATCH, num_workers=WORKERS, prefetch_factor=4, persistent_workers=True
    )


MAKERS = dict(zip(LIBRARIES, (mm_keras_batches, naive_batches, torch_batches), strict=True))


def measure_row(library, photos, sounds):
    """Returns samples a second by the clock, and by processor time."""
    batches = MAKERS[library](photos, sounds)
    clock, processor = [], []
    for _ in range(PASSES + 1):
        began, used = time.perf_counter(), processor_seconds()
        for _ in batches:
            pass
        clock.append(time.perf_counter() - began)
        processor.append(processor_seconds() - used)
    count = len(photos)
    return {
        "samples/s": count / statistics.median(clock[1:]),
        "samples/s a core": count / statistics.median(processor[1:]),
    }


def measure_epochs(photos, seed):
    """Returns seconds of an epoch from files and from memory, and their ratios."""
    import keras
    import numpy as np
    import tensorflow as tf

    import mm_keras as mm

    keras.utils.set_random_seed(seed)
    specs = {"image": mm.Image((SIZE, SIZE, 3), backbone="MobileNetV2", weights=None)}
    labels = np.arange(len(photos)) % 4
    columns = {"image": photos, "label": labels}
    plain = mm.data.from_table(columns, specs, classes="ids", resize=True).batch(BATCH)
    pixels = np.concatenate([inputs["image"].numpy() for inputs, _ in plain])
    memory = tf.data.Dataset.from_tensor_slices(({"image": pixels}, labels)).batch(BATCH)
    steps = {"image": keras_layers(keras)}
    epochs = {
        "files": mm.data.augment(plain, steps, seed=seed),
        "memory": mm.data.augment(memory, steps, seed=seed),
        "memory, not augmented": memory,
    }
    model = mm.build_mcnn(specs, 4)
    model.compile("adam", mm.losses.classification(), jit_compile=False)
    seconds = {name: [] for name in epochs}
    for _ in range(PASSES + 1):
        for name, data in epochs.items():
            began = time.perf_counter()
            model.fit(data.prefetch(2), verbose=0, shuffle=False)
            seconds[name].append(time.perf_counter() - began)
    seconds = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    figures = {f"epoch from {name}, s": time for name, time in seconds.items()}
    for name in ("memory", "memory, not augmented"):
        figures[f"files / {name}"] = seconds["files"] / seconds[name]
    return figures


def in_a_process(job, *arguments):
    """Runs a part of this script by itself; returns its figures."""
    command = [sys.executable, __file__, "--job", json.dumps([job, *arguments])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_job(job, folder, samples, *arguments):
    photos, sounds = files_in(folder)
    photos = [photos[n % len(photos)] for n in range(samples)]
    sounds = [sounds[n % len(sounds)] for n in range(samples)]
    if job == "epoch":
        figures = measure_epochs(photos, *arguments)
    else:
        figures = measure_row(arguments[0], photos, sounds if job == "sound" else None)
    print(json.dumps(figures), flush=True)


def files_in(folder):
    return [sorted(map(str, pathlib.Path(folder).rglob(f"*.{end}"))) for end in ("jpg", "wav")]


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=7000)
    parser.add_argument("--epoch", type=int, default=1024)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_job(*json.loads(options.job))
        return
    home = os.environ.get("MM_KERAS_DATA")
    if not home:
        sys.exit("Set MM_KERAS_DATA to a folder with fashion_products/ and fsdd/.")
    libraries = [name for name in LIBRARIES if name != "PyTorch" or version("torch")]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for archive in ("fashion_products/images.zip", "fsdd/recordings.zip"):
            with zipfile.ZipFile(pathlib.Path(home, archive)) as zipped:
                zipped.extractall(folder)
        for seed in range(options.seeds):
            for job in ("images", "sound"):
                found = {
                    library: in_a_process(job, folder, options.samples, library)
                    for library in libraries
                }
                title = "images" if job == "images" else "images + sound"
                for library, figures in found.items():
                    for other in libraries[1:]:
                        rate = "samples/s a core"
                        figures[f"× {other}, a core"] = figures[rate] / found[other][rate]
                    add(rows, f"{title}: {library}", figures)
            figures = in_a_process("epoch", folder, options.epoch, seed)
            add(rows, "MobileNetV2, an epoch", figures)
            write(rows, options, seed + 1)


def write(rows, options, seeds):
    """Prints and writes what has been measured so far."""
    from seeds import report

    cores = len(os.sched_getaffinity(0))
    report(
        "pipeline",
        rows,
        f"Files to augmented batches, {options.samples:,} samples of 96×96, {cores} cores",
        seeds=seeds,
        cores=cores,
        load=os.getloadavg()[2],
        workers=WORKERS,
        batch=BATCH,
        epoch_samples=options.epoch,
        libraries={name: version(name) for name in ("tensorflow", "torch", "pillow", "numpy")},
    )


def add(rows, name, figures):
    for figure, value in figures.items():
        rows.setdefault(name, {}).setdefault(figure, []).append(round(value, 4))


if __name__ == "__main__":
    main()
