"""Chignolin, all atoms: the folded population at temperatures that the model never saw.

    python scripts/simulate_chignolin.py chignolin.pdb          # a GPU: not tried here
    python scripts/simulate_chignolin.py chignolin.pdb --short  # a processor: shows that it runs

The PDB file is yours: entry 1UAO of the protein data bank, say, its first model alone. Trained on
two temperatures, in the 45 distances of the ten C-alpha atoms; judged at the others. A frame counts
as folded where these distances differ from the file's by less than 0.15 nm, root mean square.

What a real run needs: chignolin folds and unfolds in about a microsecond in water, and faster in
implicit solvent at the low friction used here. Of 256 copies of 200 ns (the defaults, 51
microseconds in all) many fold or unfold; much shorter ones only echo their starts. One processor
core made about 100 ns a day, all copies together, so the short run (some 7 ps a copy) shows
that everything works and says nothing about chignolin.
"""

from many_copies import main

if __name__ == "__main__":
    main(
        __doc__,
        names=("CA",),
        force_field=("amber14/protein.ff14SB.xml", "implicit/gbn2.xml"),
        threshold=0.15,
        temperatures=(340.0, 370.0, 400.0, 440.0),
        trained=(370.0, 440.0),
    )
