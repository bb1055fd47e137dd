"""Chignolin, all atoms: the folded population at temperatures that the model never saw.

    python examples/chignolin.py chignolin.pdb          # a GPU, for days
    python examples/chignolin.py chignolin.pdb --short  # a processor: shows that it runs

The PDB file is yours: entry 1UAO of the protein data bank, say, its first model alone. Trained on
two temperatures, in the 45 distances of the ten C-alpha atoms; judged at the others. A frame counts
as folded where these distances differ from the file's by less than 0.15 nm, root mean square.

What a real run needs: chignolin folds and unfolds in about a microsecond in water, several times
faster in implicit solvent at the low friction used here. 256 copies of 200 ns (the defaults, 51
microseconds in all) see each copy fold or unfold now and then; fewer nanoseconds only echo their
starts. On one processor core a copy makes nanoseconds a day, so the short run above says nothing
about chignolin.
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
