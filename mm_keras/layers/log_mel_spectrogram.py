"""Waveform to picture."""

import keras
from keras import ops

from mm_keras._checks import check_number

SILENT_DB = 1e4  # a cut-off that keras.layers.MelSpectrogram never reaches


@keras.saving.register_keras_serializable("mm_keras")
class LogMelSpectrogram(keras.layers.Layer):
    """A log-mel spectrogram as a picture with pixels 0–255, each sample scaled by itself.

    `keras.layers.MelSpectrogram` does the transform. Its `top_db` cuts below the loudest point of
    the whole batch, so that a prediction would depend on the samples beside it; here the cut is
    made for each sample. 255 is the sample's loudest point, 0 is `top_db` below it; silence is 255
    throughout. It computes in float32 whatever the dtype policy.

    Args:
        sample_rate: In Hz.
        frame_length: Samples of a frame.
        frame_step: Samples between frames.
        fft_length: Samples of the FFT, at least `frame_length`.
        mel_bins: Number of mel bands.
        min_freq: Lower edge of the bands in Hz.
        max_freq: Upper edge in Hz; `None`: half of `sample_rate`.
        top_db: Dynamic range in dB.

    Call arguments:
        inputs: `(B, samples)`, −1…1.

    Output shape:
        `(B, T, mel_bins, 1)`.
    """

    def __init__(
        self,
        sample_rate: int,
        frame_length: int,
        frame_step: int,
        fft_length: int,
        mel_bins: int = 64,
        min_freq: float = 20.0,
        max_freq: float | None = None,
        top_db: float = 80.0,
        **kwargs,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        check_number("top_db", top_db, minimum=1e-6, below=SILENT_DB)
        self.sample_rate = sample_rate
        self.frame_length = frame_length
        self.frame_step = frame_step
        self.fft_length = fft_length
        self.mel_bins = mel_bins
        self.min_freq = min_freq
        self.max_freq = max_freq
        self.top_db = top_db
        self.mel = keras.layers.MelSpectrogram(
            fft_length=fft_length,
            sequence_stride=frame_step,
            sequence_length=frame_length,
            sampling_rate=sample_rate,
            num_mel_bins=mel_bins,
            min_freq=min_freq,
            max_freq=max_freq,
            top_db=SILENT_DB,
            dtype="float32",
        )

    def build(self, input_shape):
        self.mel.build(input_shape)

    def call(self, inputs):
        decibels = ops.swapaxes(self.mel(ops.cast(inputs, "float32")), -1, -2)  # (B, T, mel)
        loudest = ops.max(decibels, axis=(-2, -1), keepdims=True)
        relative = ops.maximum(decibels - loudest, -self.top_db)  # −top_db…0
        return ops.expand_dims(255.0 * (1.0 + relative / self.top_db), -1)

    def compute_output_shape(self, input_shape):
        _, bins, frames = self.mel.compute_output_shape(input_shape)
        return (input_shape[0], frames, bins, 1)

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "frame_step": self.frame_step,
            "fft_length": self.fft_length,
            "mel_bins": self.mel_bins,
            "min_freq": self.min_freq,
            "max_freq": self.max_freq,
            "top_db": self.top_db,
        }
