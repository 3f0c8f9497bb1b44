"""The demo's golden rows and answers as arrays."""

import csv
import os

import numpy

DTYPES = {"FP32": numpy.float32, "FP64": numpy.float64, "INT64": numpy.int64, "BYTES": numpy.object_}


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return rows[0], rows[1:]


def number(cell):
    return float(cell) if cell else float("nan")


def columns_of(header, name):
    """Positions of an output's columns: "name", or "name[0]", "name[1]", ..."""
    return [i for i, cell in enumerate(header) if cell == name or cell.startswith(name + "[")]


class Golden:
    """One model's rows (as a tensor, and as raw columns where it has them) and its outputs."""

    def __init__(self, folder, model):
        self.model = model
        folder = os.path.join(folder, model)
        _, rows = read_csv(os.path.join(folder, "rows.csv"))
        self.tensor = numpy.array([[number(cell) for cell in row] for row in rows], numpy.float32)
        self.header, self.expected = read_csv(os.path.join(folder, "expect.csv"))
        raw = os.path.join(folder, "raw.csv")
        self.raw = read_csv(raw) if os.path.exists(raw) else None

    def output(self, name, datatype, rows=slice(None)):
        """The expected array of one output; None where the file has no such output."""
        places = columns_of(self.header, name)
        if not places:
            return None
        cells = [[row[i] for i in places] for row in self.expected[rows]]
        if datatype == "BYTES":
            cells = [[cell.encode() for cell in row] for row in cells]
        return numpy.array(cells, DTYPES[datatype])

    def raw_column(self, name, kind, rows=slice(None)):
        """One raw column as the server takes it: (array, datatype)."""
        place = self.raw[0].index(name)
        cells = [row[place] for row in self.raw[1][rows]]
        if kind == "string":
            return numpy.array([cell.encode() for cell in cells], numpy.object_), "BYTES"
        return numpy.array([number(cell) for cell in cells], numpy.float64), "FP64"


def same_bits(answer, expected):
    """Equal in shape and in every bit (a text: in every byte)."""
    if answer is None or answer.shape != expected.shape:
        return False
    if expected.dtype == numpy.object_:
        return answer.tolist() == expected.tolist()
    return answer.dtype == expected.dtype and answer.tobytes() == expected.tobytes()
