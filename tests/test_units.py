"""Numbers are written to the digits that their errors leave."""

from __future__ import annotations

import numpy as np
import pytest

from latflow.units import with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.7213, 0.021, "0.72 ± 0.02"),
        (0.7213, 0.0142, "0.721 ± 0.014"),
        (351.4, 3.7, "351 ± 4"),
        (351.4, 42.0, "351 ± 42"),
        (0.5, 0.0097, "0.500 ± 0.010"),
        (-5.3042, 0.4149, "-5.3 ± 0.4"),
        (4.98e-5, 0.00163, "0.0000 ± 0.0016"),
        (0.72134, np.nan, "0.721"),
        (0.72134, 0.0, "0.721"),
        (np.nan, 0.1, "\N{EN DASH}"),
    ],
)
def test_numbers_to_the_digits_of_their_errors(value: float, error: float, text: str) -> None:
    assert with_error(value, error) == text
