"""Limits in bytes, that every reader checks by the header before it decodes."""

import pytest

from lib.errors import InputError
from lib.image import (
    DEFLATE_RATIO,
    MAX_BYTES,
    check_decoded_bytes,
    check_stored_bytes,
)


def test_a_long_ct_is_accepted():
    assert check_decoded_bytes("ct.nrrd", (512, 512, 1200), 2) == 512 * 512 * 1200 * 2 < MAX_BYTES


@pytest.mark.parametrize(
    ("size", "value_bytes", "samples"),
    [((1024, 1024, 512), 8, 1), ((2048, 2048), 4, 60), ((512, 512, 512), 8, 1)],
)
def test_more_bytes_than_the_limit_are_refused(size, value_bytes, samples):
    with pytest.raises(InputError, match="at most 1000 MB are accepted; crop"):
        check_decoded_bytes("big.nrrd", size, value_bytes, samples)


def test_stored_bytes_that_cannot_hold_the_promised_ones_are_refused():
    check_stored_bytes("a.nrrd", 100, 100)
    check_stored_bytes("a.nrrd", 100 * DEFLATE_RATIO, 100, DEFLATE_RATIO)
    with pytest.raises(InputError, match="promises 101 bytes of pixels, found 100 bytes; copy"):
        check_stored_bytes("a.nrrd", 101, 100)
    with pytest.raises(InputError, match="100 bytes of compressed ones, which hold at most 103200"):
        check_stored_bytes("a.nrrd", 100 * DEFLATE_RATIO + 1, 100, DEFLATE_RATIO)
