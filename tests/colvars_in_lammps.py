"""Positions through LAMMPS with Colvars: `python colvars_in_lammps.py cv.in` beside frames.npz.

Writes answer.npz: variables of every frame, and forces on the atoms of the last one.
"""

import sys

import numpy as np
from lammps import lammps

COMMANDS = """
units real
atom_style atomic
atom_modify map array
region box block 0 {0:.17g} 0 {1:.17g} 0 {2:.17g}
create_box 1 box
mass 1 12.0
pair_style zero 5.0
create_atoms 1 random {n_atoms} 1 NULL
pair_coeff * *
fix variables all colvars {configuration} output answer
rerun frames.dump dump x y z ix iy iz box no
"""


def main(configuration: str) -> None:
    """Write a dump file, run it again, and keep what Colvars said."""
    frames = np.load("frames.npz")
    xyz, box = frames["xyz"], frames["box"]
    with open("frames.dump", "w") as file:
        for step, positions in enumerate(xyz):
            file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(positions)}\n")
            file.write("ITEM: BOX BOUNDS pp pp pp\n")
            file.writelines(f"0 {length:.17g}\n" for length in box)
            file.write("ITEM: ATOMS id type x y z ix iy iz\n")
            images = np.floor(positions / box)
            inside = positions - box * images
            for k, row in enumerate(np.hstack([inside, images]).tolist(), start=1):
                file.write(f"{k} 1 {' '.join(f'{number:.17g}' for number in row)}\n")
    engine = lammps(cmdargs=["-screen", "none", "-log", "none"])
    engine.commands_string(COMMANDS.format(*box, n_atoms=xyz.shape[1], configuration=configuration))
    order = np.argsort(engine.numpy.extract_atom("id")[: xyz.shape[1]])
    forces = engine.numpy.extract_atom("f")[order]
    engine.close()
    np.savez("answer.npz", z=np.loadtxt("answer.colvars.traj", ndmin=2)[:, 1:], forces=forces)


if __name__ == "__main__":
    main(sys.argv[1])
