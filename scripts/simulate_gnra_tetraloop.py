"""A GNRA tetraloop, all atoms: its folded population at temperatures that the model never saw.

    python scripts/simulate_gnra_tetraloop.py loop.pdb          # a GPU: not tried here
    python scripts/simulate_gnra_tetraloop.py loop.pdb --short  # a processor: shows that it runs

The PDB file is yours: a hairpin of 8 to 10 nucleotides, without a phosphate at its 5' end. Trained
on two temperatures, in the distances between the nucleotides' C4' atoms; judged at the others. A
frame counts as folded where these distances differ from the file's by less than 0.3 nm, root mean
square.

What a real run needs: a hairpin of this size folds in microseconds, and many force fields do not
hold the native loop for the most stable one, in implicit solvent least of all: compare the melted
with the folded starts (`melted` in the run's file) before believing any population. 256 copies of
200 ns (the defaults) are a beginning. One processor core made about 30 ns a day, all copies
together, so the short run (some 7 ps a copy) shows that everything works and says nothing about
RNA.
"""

from many_copies import main

if __name__ == "__main__":
    main(
        __doc__,
        names=("C4'",),
        force_field=("amber14/RNA.OL3.xml", "implicit/gbn2.xml"),
        threshold=0.3,
        temperatures=(300.0, 340.0, 380.0, 420.0),
        trained=(340.0, 420.0),
    )
