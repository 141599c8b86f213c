"""Sound to positions in time and frequency."""

from mm_keras.encoders.image import ImageEncoder
from mm_keras.layers import LogMelSpectrogram
from mm_keras.modalities import Audio


class AudioEncoder(ImageEncoder):
    """Waveform → log-mel spectrogram → time and frequency positions of the backbone's map."""

    def __init__(self, spec: Audio, width: int, name: str, backbone=None):
        super().__init__(spec, width, name, backbone)
        self.spectrogram = self.make_spectrogram(spec, f"{name}_spectrogram")

    @staticmethod
    def make_spectrogram(spec: Audio, name: str | None = None) -> LogMelSpectrogram:
        return LogMelSpectrogram(
            spec.sample_rate,
            spec.frame_length,
            spec.frame_step,
            spec.fft_length,
            spec.mel_bins,
            spec.min_freq,
            spec.max_freq,
            spec.top_db,
            name=name,
        )

    @staticmethod
    def picture_shape(spec: Audio) -> tuple[int, int, int]:
        return AudioEncoder.make_spectrogram(spec).compute_output_shape((1, spec.samples))[1:]

    def features(self, inputs, mask):
        return super().features(self.spectrogram(inputs), mask)
