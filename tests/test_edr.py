"""GROMACS' .edr, beside pyedr, which reads it slowly and without bounds."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyedr
import pytest

import latflow
from latflow._edr import terms_of

GROMACS = Path(__file__).parent / "data" / "gromacs"
# what pyedr tests itself with: 4.5 and 2016, single and double precision, blocks of free energies
OTHERS = Path(pyedr.__file__).parent / "tests" / "data"
NAMES = ("4.edr", "4_d.edr", "double.edr", "blocks.edr", "cat_small.edr", "irregular.edr")


@pytest.mark.filterwarnings("ignore:Note. enx file_version 4:UserWarning")
@pytest.mark.parametrize(
    "file", [*GROMACS.glob("*.edr"), *(OTHERS / n for n in NAMES)], ids=lambda path: path.name
)
def test_as_pyedr(file: Path) -> None:
    expected = pyedr.edr_to_dict(str(file))
    terms, names, whole = terms_of(file.read_bytes(), list(expected))
    assert whole
    assert ["Time", *names] == list(expected)
    for name in names:
        np.testing.assert_array_equal(terms[name], expected[name])
    np.testing.assert_array_equal(terms["Time"], expected["Time"])


@pytest.mark.parametrize("name", ["1.edr", "1_d.edr", "2.edr", "3.edr", "3_d.edr"])
def test_of_old_files_it_says_what_renews_them(name: str) -> None:
    with pytest.raises(ValueError, match=r"before 4\.5 wrote: gmx eneconv"):
        latflow.read_energies(OTHERS / name)


def test_of_a_killed_run_the_last_frame_is_dropped_and_said(tmp_path: Path) -> None:
    whole, cut = GROMACS / "replica0.edr", tmp_path / "cut.edr"
    cut.write_bytes(whole.read_bytes()[:-50])
    with pytest.warns(UserWarning, match=r"last frame of .*cut\.edr ends early and is dropped"):
        read = latflow.read_energies(cut)
    np.testing.assert_array_equal(read.potential, latflow.read_energies(whole).potential[:-1])


@pytest.mark.parametrize("n", [-1, 2**31 - 1])
@pytest.mark.parametrize("field", ["terms", "letters", "blocks"])
def test_counts_are_held_against_the_bytes_there_are(field: str, n: int, tmp_path: Path) -> None:
    """Any of these made a reader without bounds loop or allocate for minutes."""
    data = bytearray((GROMACS / "water.edr").read_bytes())
    frame = data.index(struct.pack(">i", -7777777))
    place = {"terms": 8, "letters": 12, "blocks": frame + 52}[field]
    data[place : place + 4] = struct.pack(">i", n)
    (tmp_path / "bad.edr").write_bytes(data)
    with pytest.raises(ValueError, match=r"a whole \.edr of GROMACS, got .*bad\.edr with "):
        latflow.read_energies(tmp_path / "bad.edr")
