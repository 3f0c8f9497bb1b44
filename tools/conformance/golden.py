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


def is_number(cell):
    try:
        number(cell)
    except ValueError:
        return False
    return True


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

    def finite(self):
        """Positions of the rows without a missing number, as a tensor and as raw columns."""
        rows = numpy.isfinite(self.tensor).all(axis=1)
        for name in self.raw[0] if self.raw else []:
            array, datatype = self.raw_column(name)
            rows &= datatype == "BYTES" or numpy.isfinite(array)
        return numpy.flatnonzero(rows)

    def every_row(self):
        return numpy.arange(len(self.tensor))

    def output(self, name, datatype, rows):
        """The expected array of one output; None where the file has no such output."""
        places = columns_of(self.header, name)
        if not places:
            return None
        cells = [[self.expected[row][i] for i in places] for row in rows]
        if datatype == "BYTES":
            cells = [[cell.encode() for cell in row] for row in cells]
        return numpy.array(cells, DTYPES[datatype])

    def raw_column(self, name, rows=None):
        """One raw column as the server takes it: (array, datatype). Words make it a text column."""
        place = self.raw[0].index(name)
        every = [row[place] for row in self.raw[1]]
        cells = every if rows is None else [every[row] for row in rows]
        if all(is_number(cell) for cell in every):
            return numpy.array([number(cell) for cell in cells], numpy.float64), "FP64"
        return numpy.array([cell.encode() for cell in cells], numpy.object_), "BYTES"


def same_bits(answer, expected):
    """Equal in shape and in every bit (a text: in every byte)."""
    if answer is None or answer.shape != expected.shape:
        return False
    if expected.dtype == numpy.object_:
        # Out of JSON tritonclient makes str, out of bytes it makes bytes.
        texts = [text.encode() if isinstance(text, str) else text for text in answer.flat]
        return texts == list(expected.flat)
    return answer.dtype == expected.dtype and answer.tobytes() == expected.tobytes()
