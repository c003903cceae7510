"""What the simulated detector compresses, the sources' own decoders give back."""

import numpy as np
import pytest

from apsdm_bluesky.sim._compress import COMPRESSORS
from apsdm_bluesky.sources._codecs import decompress


@pytest.mark.parametrize("size", [1, 7, 8, 9, 4096, 4100, 100_003])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("codec", ["lz4", "blosc", "bslz4"])
def test_every_pixel_comes_back(codec, dtype, size):
    data = np.random.default_rng(size).poisson(0.2, size).astype(dtype)
    payload = np.frombuffer(COMPRESSORS[codec](data), np.uint8)
    assert np.array_equal(decompress(codec, payload, data.shape, data.dtype), data)
    assert size < 4096 or payload.nbytes < data.nbytes
