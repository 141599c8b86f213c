"""`av_digits`: handwritten digits and the same digit spoken, shipped with the package."""
