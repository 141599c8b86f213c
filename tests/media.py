"""Small real files for tests: pictures, sound, videos."""

import io
import wave

import numpy as np
import tensorflow as tf


def picture(value, size=(8, 8), channels=3):
    """Pixels of one colour with a dark corner, so that turning them shows."""
    pixels = np.full((*size, channels), value, "uint8")
    pixels[: size[0] // 2, : size[1] // 2] = value // 2
    return pixels


def write_picture(path, pixels, quality=95):
    """Writes PNG or JPEG by the ending of the path; returns its bytes."""
    if path.suffix == ".png":
        data = tf.io.encode_png(pixels).numpy()
    else:
        data = tf.io.encode_jpeg(pixels, quality=quality).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def tone(samples, rate, frequency=200.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)).astype("float32")


def write_wav(path, sound, rate):
    """Writes 16-bit WAV of `(samples,)` or `(samples, channels)` in −1…1."""
    sound = np.asarray(sound)
    sound = sound[:, None] if sound.ndim == 1 else sound
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).round().astype("<i2").tobytes())
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def write_video(path, frames, rate=10, sound=None, sound_rate=8000):
    """Writes frames `(T, H, W, 3)`, lossless, and sound."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        voice = None
        if sound is not None:
            voice = container.add_stream("pcm_s16le", rate=sound_rate, layout="mono")
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            samples = (sound * 32767).round().astype("int16")[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = sound_rate
            container.mux(voice.encode(frame))
            container.mux(voice.encode())
