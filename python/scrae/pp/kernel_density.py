"""R's kernel density estimate and its peaks, for many small samples at once.

``stats::density.default`` (R up to 4.3, and later with ``old.coords = TRUE``): a Gaussian kernel, linear binning on 512
points of a grid that reaches seven bandwidths beyond the data, circular convolution by FFT on twice as many, and linear
interpolation to 512 points that reach three bandwidths beyond the data.
"""

from __future__ import annotations

import numpy as np

POINTS = 512
CUT = 3.0  # bandwidths beyond the data that are shown
MARGIN = 4.0  # further bandwidths beyond those in the grid of bins
ROUNDING = 1e-12  # of the highest value: below is rounding error of the FFT, not density


def densities(
    sample: np.ndarray, values: np.ndarray, numbers: np.ndarray, n_samples: int, bandwidth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Density of each of several samples.

    Parameters
    ----------
    sample, values, numbers
        Sample (0 to ``n_samples`` - 1, ascending), a value in it and how often the value stands there. Each sample has
        one value or more.
    n_samples
        Number of samples.
    bandwidth
        Standard deviation of the kernel; R's ``width`` is four times as much.

    Returns
    -------
    Points and densities, both float64 (n_samples, 512).
    """
    starts = np.searchsorted(sample, np.arange(n_samples))
    low = np.minimum.reduceat(values, starts) - (CUT + MARGIN) * bandwidth
    high = np.maximum.reduceat(values, starts) + (CUT + MARGIN) * bandwidth
    weights = numbers / np.add.reduceat(numbers, starts)[sample]

    position = (values - low[sample]) / ((high - low) / (POINTS - 1))[sample]
    bin_below = np.floor(position).astype(np.int64)
    share_above = position - bin_below
    place = sample * 2 * POINTS + bin_below
    length = n_samples * 2 * POINTS
    bins = np.bincount(place, weights * (1 - share_above), length) + np.bincount(
        place + 1, weights * share_above, length
    )

    # The kernel's grid has 2 * 512 points over twice the range, a little closer than the bins: R's, and kept.
    step = 2 * (high - low) / (2 * POINTS - 1)
    around = np.minimum(np.arange(2 * POINTS), 2 * POINTS - np.arange(2 * POINTS))
    kernel = np.exp(-0.5 * (np.outer(step, around) / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    spectrum = np.fft.rfft(bins.reshape(n_samples, 2 * POINTS)) * np.conj(np.fft.rfft(kernel))
    on_bins = np.maximum(np.fft.irfft(spectrum, 2 * POINTS)[:, :POINTS], 0.0)

    fraction = np.linspace(0.0, 1.0, POINTS)
    first, last = low + MARGIN * bandwidth, high - MARGIN * bandwidth
    points = first[:, None] + np.outer(last - first, fraction)
    place_of_points = (points - low[:, None]) / ((high - low) / (POINTS - 1))[:, None]
    below = np.minimum(place_of_points.astype(np.int64), POINTS - 2)
    rows = np.arange(n_samples)[:, None]
    left, right = on_bins[rows, below], on_bins[rows, below + 1]
    return points, left + (place_of_points - below) * (right - left)


def peaks(density: np.ndarray) -> np.ndarray:
    """Number of peaks of each row: points not below the one before and above the one after, with zero at both ends.

    Values below 1e-12 of the highest are rounding error and count as zero. SCMarker counts the random ups and downs
    of these errors too, between values that lie far apart, so its numbers are higher. Whether there are two peaks or
    more is the same, for such a gap has density on both sides.
    """
    clean = np.where(density < ROUNDING * density.max(axis=1, keepdims=True), 0.0, density)
    padded = np.pad(clean, ((0, 0), (1, 1)))
    middle = padded[:, 1:-1]
    return np.asarray(((middle >= padded[:, :-2]) & (middle > padded[:, 2:])).sum(1))
