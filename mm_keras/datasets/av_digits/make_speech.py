"""Makes `speech.npz`: the digits "zero" to "nine" spoken by espeak-ng in many synthetic voices.

The archive is made once and shipped; nobody needs espeak-ng to use the dataset. It was made with
eSpeak NG 1.51 (Debian 12, espeak-ng 1.51+dfsg-10+deb12u2); the version line is kept inside.
The same version gives the same archive, byte for byte. To make it again:

    apt-get install espeak-ng
    python -m mm_keras.datasets.av_digits.make_speech --output speech.npz

Each voice is an English accent with one variant of espeak-ng's `voices/!v`. The variants were
chosen among those that speak all ten digits intelligibly: whispers, robots, echoes and near copies
of another variant are left out. No variant serves two voices.
"""

import argparse
import pathlib
import shutil
import subprocess

import numpy as np
from scipy import signal

from mm_keras.datasets.av_digits.speech import MAX_SAMPLES, SAMPLE_RATE, mulaw_encode

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = (  # "en" is British; after "en-gb" espeak-ng 1.51 ignores the variant
    *("en-us", "en", "en-gb-x-rp", "en-gb-scotland"),
    *("en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"),
)
VARIANTS = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"),
    *("Alex", "Andy", "Annie", "Denis", "Diogo", "Gene", "Lee", "Mario", "Michael", "Mike"),
    *("Nguyen", "Storm", "Tweaky", "adam", "aunty", "belinda", "boris", "david", "edward"),
    *("grandma", "grandpa", "gustave", "iven", "iven3", "john", "klatt3", "linda"),
    *(
        "marcelo",
        "michel",
        "pablo",
        "paul",
        "quincy",
        "robert",
        "sandro",
        "steph",
        "travis",
        "victor",
    ),
)
TAKES = 2  # times each voice speaks each digit, each time at another speed and pitch
SPEEDS = (140, 155, 170, 185)  # words per minute
PITCHES = (35, 45, 55, 65)  # of 0..99
LEVEL = 0.1  # root mean square of every clip, full scale = 1 ...
PEAK = 0.98  # ... unless its peak would pass this
SILENCE = 0.02  # trimmed at both ends: below this share of the loudest 10 ms
_ESPEAK_RATE = 22050  # Hz


def speak(word: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """Speaks one word; returns the trimmed, normalised waveform at 8 kHz.

    Args:
        word: The text to speak.
        voice: Accent and variant, such as "en-us+f1".
        speed: Words per minute.
        pitch: 0..99.

    Returns:
        float64 (samples,) in -1..1, at most 6400 samples.

    Raises:
        RuntimeError: If espeak-ng fails, complains, or stays silent, or the clip is too long.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    done = subprocess.run(command, capture_output=True, check=False)
    wav = done.stdout
    rate = int.from_bytes(wav[24:28], "little")
    if done.returncode or done.stderr or rate != _ESPEAK_RATE:
        raise RuntimeError(
            f"{' '.join(command)!r} failed: rate {rate} Hz, {done.stderr.decode()!r}"
        )
    waveform = np.frombuffer(wav[44:], "<i2") / 32768.0  # espeak-ng writes a 44-byte header
    if np.abs(waveform).max(initial=0.0) < 0.01:
        raise RuntimeError(f"{' '.join(command)!r} gave silence.")
    waveform = signal.resample_poly(waveform, SAMPLE_RATE, _ESPEAK_RATE)
    window = SAMPLE_RATE // 100
    loudness = np.sqrt(np.convolve(waveform**2, np.full(window, 1.0 / window), "same"))
    loud = np.flatnonzero(loudness > SILENCE * loudness.max())
    waveform = waveform[loud[0] : loud[-1] + 1]
    if len(waveform) > MAX_SAMPLES:
        raise RuntimeError(f"{' '.join(command)!r} lasts {len(waveform)} > {MAX_SAMPLES} samples.")
    gain = LEVEL / np.sqrt(np.mean(waveform**2))
    return waveform * min(gain, PEAK / np.abs(waveform).max())


def make_speech(output: pathlib.Path) -> None:
    """Speaks every clip and writes the archive.

    Args:
        output: The `.npz` file to write.

    Raises:
        RuntimeError: If espeak-ng is absent, a clip fails, or two clips are the same.
    """
    if shutil.which("espeak-ng") is None:
        raise RuntimeError("espeak-ng is not installed. Fix: apt-get install espeak-ng.")
    version = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True)
    generator = version.stdout.split("Data at")[0].strip()
    voices = [f"{ACCENTS[i % len(ACCENTS)]}+{name}" for i, name in enumerate(VARIANTS)]
    codes, rows = [], []
    for i, voice in enumerate(voices):
        for take in range(TAKES):
            speed = SPEEDS[(i + i // len(ACCENTS) + 2 * take) % len(SPEEDS)]
            pitch = PITCHES[(i // 2 + i // len(ACCENTS) + 2 * take) % len(PITCHES)]
            for digit, word in enumerate(WORDS):
                codes.append(mulaw_encode(speak(word, voice, speed, pitch)))
                rows.append((len(codes[-1]), digit, i, speed, pitch))
    first: dict[bytes, int] = {}
    for k, clip in enumerate(codes):
        if (other := first.setdefault(clip.tobytes(), k)) != k:
            pair = [f"{voices[rows[j][2]]} saying {WORDS[rows[j][1]]!r}" for j in (other, k)]
            raise RuntimeError(f"Two clips are identical: {pair[0]} and {pair[1]}. Drop a variant.")
    names = ("samples", "digit", "voice", "speed", "pitch")
    columns = dict(zip(names, np.array(rows, np.int16).T, strict=True))
    np.savez_compressed(
        output,
        codes=np.concatenate(codes),
        voices=np.array(voices),
        generator=np.array(generator),
        **columns,
    )
    print(f"{generator}: {len(codes)} clips, {len(voices)} voices, {output.stat().st_size} bytes")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path(__file__).with_name("speech.npz"),
        help="file to write (default: the package's own archive)",
    )
    make_speech(parser.parse_args().output)


if __name__ == "__main__":
    main()
