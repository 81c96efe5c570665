"""CSV as people's spreadsheets write it, and what is no number."""

from __future__ import annotations

import pytest

from neurobus.config.tables import CsvTable
from neurobus.errors import InputError
from neurobus.network import build
from tests.helpers import loads, table


@pytest.mark.parametrize(
    "content",
    [
        b"pre,weight [pA],delay [ms]\na,4000.5,1.5\nb,-3e2,2\n",
        b"\xef\xbb\xbfpre;weight [pA];delay [ms]\r\na;4000,5;1,5\r\nb;-3e2;2\r\n",
        b"pre;weight [pA];delay [ms]\na;4000.5;1.5\nb;-300;2\n;;\n",
        b"pre\tweight [pA]\tdelay [ms]\ra\t4000,5\t1.5\rb\t-300\t2\r",
        b'"pre";"weight [pA]";"delay [ms]"\n"a";"4000,5";"1,5"\n"b";"-3,0e2";"2"',
    ],
)
def test_separators_and_decimal_commas(content: bytes) -> None:
    read = CsvTable.parse(content, "x.csv")
    assert read.cells["pre"] == ["a", "b"]
    assert read.numbers("weight", "pA").tolist() == [4000.5, -300.0]
    assert read.numbers("delay", "ms").tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a;b,c\n1;2,3\n", "x.csv:1: the names of the columns are separated by commas and semicolons"),
        (b"a;w\nb;1.000,5\n", "x.csv:2: w '1.000,5' is not a number; leave out what separates thousands"),
        (b"a;w\nb;1\nb;1,000,000\n", "x.csv:3: w '1,000,000' is not a number; leave out"),
        (b'a,w\nb,"1,5"\n', "x.csv:2: w '1,5' is not a number"),
        (b"a,w\nb,1_0\n", "x.csv:2: w '1_0' is not a number"),
        ("a,w\nb,١\n".encode(), "x.csv:2: w '١' is not a number"),
        (b"a,w\nb,inf\n", "x.csv:2: w 'inf' is not a finite number"),
        (b"a,w\nb,1e999\n", "x.csv:2: w '1e999' is not a finite number"),
        (b"a,w\nb,1\0\n", "x.csv:2: holds a NUL byte"),
        ("a,w\nb,1\n".encode("utf-16"), "x.csv: is UTF-16 text; save it as UTF-8"),
    ],
)
def test_what_is_no_table_or_no_number(content: bytes, says: str) -> None:
    with pytest.raises(InputError) as caught:
        CsvTable.parse(content, "x.csv").numbers("w", "")
    assert says in str(caught.value)


def test_a_network_from_a_spreadsheet() -> None:
    text = table("neurons", id="a", model="nodes.lif") + table("neurons", id="b", model="nodes.lif")
    content = b"\xef\xbb\xbfpre;post;weight [pA];delay [ms]\r\na;b;400,25;1,5\r\n"
    network = build(loads(text + table("synapses", csv="s.csv"), "n.toml", {"s.csv": content}))
    assert network.synapses.weight.tolist() == [400.25] and network.synapses.delay.tolist() == [15]
