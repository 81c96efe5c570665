"""Write the tables of this folder from the `cect` package: `pip install cect==0.3.5 && python extract.py`.

Same package, same bytes: rows are sorted, nothing is drawn. What the tables hold and whom to cite
stands in README.md.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from cect import Cells
from cect.readers.Cook2019HermReader import get_instance
from cect.readers.Wang2024Reader import Wang2024Reader

HERE = Path(__file__).parent
TOUCH = ("ALML", "ALMR", "AVM", "PVM", "PLML", "PLMR")
CLASSES = {
    "sensory": Cells.SENSORY_NEURONS_COOK,
    "inter": Cells.INTERNEURONS_NONPHARYNGEAL_COOK,
    "motor": Cells.MOTORNEURONS_NONPHARYNGEAL_COOK,
    "pharynx": Cells.PHARYNGEAL_NEURONS,
    "other": Cells.UNKNOWN_FUNCTION_NEURONS,
}


def natural(name: str) -> list[str | int]:
    """Sorts DA2 before DA10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def write(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with open(HERE / name, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        count = len([writer.writerow(row) for row in rows])
    print(f"{count:5d} rows  {name}")


def main() -> None:
    transmitters = Wang2024Reader("Hermaphrodite").all_neurotransmitters
    neurons = {name: kind for kind, names in CLASSES.items() for name in sorted(names, key=natural)}
    if sorted(neurons) != sorted(Cells.PREFERRED_HERM_NEURON_NAMES):
        sys.exit("this version of cect sorts the 302 neurons into other classes: read CLASSES again")
    muscles = sorted(Cells.BODY_WALL_MUSCLE_NAMES)
    rank = {name: i for i, name in enumerate([*TOUCH, *(n for n in neurons if n not in TOUCH), *muscles])}

    found: dict[str, list[tuple[str, str, int]]] = {"Chemical": [], "GapJunction": []}
    for link in get_instance(from_cache=True).get_current_connection_info_list():
        if link.pre_cell in rank and link.post_cell in rank:
            found[link.syntype].append((link.pre_cell, link.post_cell, int(link.number)))
    chemical, junctions = (sorted(links, key=lambda x: (rank[x[0]], rank[x[1]])) for links in found.values())
    # the matrix of junctions is symmetric: its upper half is all. Self-junctions carry no current.
    electrical = [link for link in junctions if rank[link[0]] < rank[link[1]]]

    def inhibitory(link: tuple[str, str, int]) -> bool:
        return transmitters[link[0]][0] == "GABA"

    among = [link for link in chemical if link[1] in neurons]
    onto = [link for link in chemical if link[1] not in neurons]
    listed = [n for n in rank if n in neurons]
    words = {
        n: "+".join(t.lower().split("_orphan")[0].replace("_", " ") for t in transmitters[n] if t)
        for n in listed
    }
    write("neurons.csv", ("id", "class", "transmitter"), ((n, neurons[n], words[n]) for n in listed))
    write("muscles.csv", ("id",), ((name,) for name in muscles))
    header = ("pre", "post", "sections")
    write("chemical.csv", header, (link for link in among if not inhibitory(link)))
    write("chemical_inhibitory.csv", header, (link for link in among if inhibitory(link)))
    write("muscle_synapses.csv", header, (link for link in onto if not inhibitory(link)))
    write("muscle_synapses_inhibitory.csv", header, (link for link in onto if inhibitory(link)))
    header = ("a", "b", "sections")
    between = [link for link in electrical if link[0] in neurons and link[1] in neurons]
    write("electrical.csv", header, between)
    write("muscle_electrical.csv", header, (link for link in electrical if link not in between))


if __name__ == "__main__":
    main()
