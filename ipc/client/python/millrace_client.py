"""The local client for Python: inference through shared memory, without the network stack.

A thin layer over libmillrace_client.so (ipc/client/millrace_client.h). Inputs are numpy arrays over
the client's region, written in place; outputs are read-only arrays over the server's. Neither is
copied. BYTES travel as numpy arrays of uint8: each element a little-endian u32 length, then its
bytes (encode_bytes and decode_bytes).

    client = Client("unix:/run/millrace/local")
    model = client.open("digits")
    request = model.begin(rows=2)
    request.inputs["input"][:] = pixels
    prediction = request.infer()["prediction"]

One client is one thread's at a time. An output keeps its request's memory until the last view of
it is gone, behind close() too: the memory of a closed client goes with the last view.
"""

import ctypes
import os
import struct
import weakref

import numpy

_DTYPES = {
    1: numpy.bool_, 2: numpy.uint8, 3: numpy.uint16, 4: numpy.uint32, 5: numpy.uint64,
    6: numpy.int8, 7: numpy.int16, 8: numpy.int32, 9: numpy.int64, 10: numpy.float16,
    11: numpy.float32, 12: numpy.float64,
}
BYTES = 13
_DATATYPES = {numpy.dtype(dtype): number for number, dtype in _DTYPES.items()}


class Error(Exception):
    """`code` is gRPC's number."""

    def __init__(self, code, sentence):
        super().__init__(sentence)
        self.code = code


class _Options(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("max_request_bytes", ctypes.c_uint64),
                ("max_answer_bytes", ctypes.c_uint64), ("timeout_ns", ctypes.c_int64),
                ("wait_mode", ctypes.c_int)]


class _Info(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("datatype", ctypes.c_int), ("is_column", ctypes.c_int),
                ("rank", ctypes.c_size_t), ("dims", ctypes.POINTER(ctypes.c_int64))]


class _Input(ctypes.Structure):
    _fields_ = [("place", ctypes.c_uint32), ("datatype", ctypes.c_int32),
                ("columns", ctypes.c_uint32), ("reserved", ctypes.c_uint32),
                ("bytes", ctypes.c_uint64)]


class _Submit(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("deadline_ns", ctypes.c_int64),
                ("priority", ctypes.c_uint32), ("outputs", ctypes.c_uint32),
                ("user", ctypes.c_void_p), ("traceparent", ctypes.c_char_p)]


class _Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("datatype", ctypes.c_int), ("rows", ctypes.c_uint64),
                ("columns", ctypes.c_uint64), ("data", ctypes.c_void_p),
                ("bytes", ctypes.c_uint64)]


def _load(path):
    library = ctypes.CDLL(path)
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    number, where = ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)
    for name, result, arguments in [
            ("mr_abi", number, []),
            ("mr_connect", number, [text, pointer, where]),
            ("mr_close", None, [pointer]),
            ("mr_error", text, [pointer]),
            ("mr_connected", number, [pointer]),
            ("mr_places", size, [pointer]),
            ("mr_open_model", number, [pointer, text, text, where]),
            ("mr_input_info", number, [pointer, size, pointer]),
            ("mr_output_info", number, [pointer, size, pointer]),
            ("mr_max_rows", ctypes.c_uint32, [pointer]),
            ("mr_begin", number, [pointer, pointer, ctypes.c_uint32, pointer, size, where]),
            ("mr_input_data", pointer, [pointer, size, ctypes.POINTER(ctypes.c_uint64)]),
            ("mr_submit", number, [pointer, pointer, pointer]),
            ("mr_wait", size, [pointer, where, size, ctypes.c_int64]),
            ("mr_cancel", number, [pointer, pointer]),
            ("mr_infer", number, [pointer, pointer, pointer]),
            ("mr_request_code", number, [pointer]),
            ("mr_request_error", text, [pointer]),
            ("mr_request_version", ctypes.c_uint32, [pointer]),
            ("mr_result_count", size, [pointer]),
            ("mr_result", number, [pointer, size, pointer]),
            ("mr_release", None, [pointer, pointer])]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if library.mr_abi() != 1:
        raise ImportError(f"{path} has another ABI than this module")
    return library


def encode_bytes(values):
    """Strings or bytes as one array of uint8, in the form of BYTES."""
    parts = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
    return numpy.frombuffer(b"".join(struct.pack("<I", len(p)) + p for p in parts), numpy.uint8)


def decode_bytes(array):
    """The elements of a BYTES output, as bytes."""
    data, at, values = array.tobytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        values.append(data[at + 4:at + 4 + size])
        at += 4 + size
    return values


def _view(address, count, dtype, owner, writable):
    """An array over foreign memory; `owner` lives as long as any view of it."""
    buffer = (ctypes.c_char * (count * numpy.dtype(dtype).itemsize)).from_address(address)
    buffer.owner = owner
    array = numpy.frombuffer(buffer, dtype)
    array.flags.writeable = writable
    return array


class _Place:
    """A request's place in the client; given back when nothing refers to it any more."""

    def __init__(self, client, handle):
        self.client, self.handle = client, handle
        client.places += 1

    def __del__(self):
        client = self.client
        client.places -= 1
        if client.handle:
            client.library.mr_release(client.handle, self.handle)
        elif client.places == 0:
            client.end()


class Client:
    def __init__(self, address, library=None, max_request_bytes=0, max_answer_bytes=0,
                 timeout_s=10.0):
        path = library or os.environ.get("MILLRACE_CLIENT_LIBRARY", "libmillrace_client.so")
        self.library, self.handle = _load(path), None
        self.in_flight, self.places = {}, 0
        options = _Options(ctypes.sizeof(_Options), max_request_bytes, max_answer_bytes,
                           int(timeout_s * 1e9), 0)
        handle = ctypes.c_void_p()
        code = self.library.mr_connect(address.encode(), ctypes.byref(options),
                                       ctypes.byref(handle))
        if code:
            raise Error(code, self.library.mr_error(None).decode())
        self.handle = handle
        self.end = weakref.finalize(self, self.library.mr_close, handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.handle = None
        self.in_flight.clear()
        if self.places == 0:
            self.end()

    @property
    def connected(self):
        return bool(self.handle) and bool(self.library.mr_connected(self.handle))

    def check(self, code):
        if code:
            raise Error(code, self.library.mr_error(self.handle).decode())

    def open(self, name, version=""):
        handle = ctypes.c_void_p()
        self.check(self.library.mr_open_model(self.handle, name.encode(), version.encode(),
                                              ctypes.byref(handle)))
        return Model(self, handle)

    def wait(self, timeout_s=-1.0, most=64):
        """Requests that have ended, in order; an empty list when the time is up."""
        ended = (ctypes.c_void_p * most)()
        timeout_ns = -1 if timeout_s < 0 else int(timeout_s * 1e9)
        count = self.library.mr_wait(self.handle, ended, most, timeout_ns)
        return [self.in_flight.pop(ended[i]) for i in range(count)]


class Model:
    def __init__(self, client, handle):
        self.client, self.handle = client, handle
        self.inputs = self._infos(client.library.mr_input_info)
        self.outputs = self._infos(client.library.mr_output_info)
        self.max_rows = client.library.mr_max_rows(handle)

    def _infos(self, ask):
        infos, info = {}, _Info()
        while ask(self.handle, len(infos), ctypes.byref(info)) == 0:
            dims = tuple(info.dims[d] for d in range(info.rank))
            infos[info.name.decode()] = (len(infos), info.datatype, bool(info.is_column), dims)
        return infos

    def begin(self, rows=1, columns=None):
        """A request to be written. `columns`: for each raw column its dtype, or for BYTES the
        count of bytes; without it the model's ready tensors."""
        entries, wanted = [], []
        if columns is None:
            for name, (place, datatype, column, dims) in self.inputs.items():
                if not column:
                    width = int(numpy.prod(dims, dtype=numpy.int64))
                    size = rows * width * numpy.dtype(_DTYPES[datatype]).itemsize
                    entries.append((name, _DTYPES[datatype], (rows,) + dims))
                    wanted.append(_Input(place, datatype, width, 0, size))
        else:
            for name, what in columns.items():
                if name not in self.inputs:
                    raise Error(3, f"the model has no input {name!r}")
                place = self.inputs[name][0]
                if isinstance(what, int):
                    entries.append((name, numpy.uint8, (what,)))
                    wanted.append(_Input(place, BYTES, 1, 0, what))
                else:
                    dtype = numpy.dtype(what)
                    entries.append((name, dtype, (rows,)))
                    wanted.append(_Input(place, _DATATYPES[dtype], 1, 0, rows * dtype.itemsize))
        array = (_Input * len(wanted))(*wanted)
        handle = ctypes.c_void_p()
        self.client.check(self.client.library.mr_begin(self.client.handle, self.handle, rows, array,
                                                       len(wanted), ctypes.byref(handle)))
        return Request(self, handle, entries)

    def infer(self, **inputs):
        """Arrays in, a dict of arrays out: for whoever has the inputs elsewhere already."""
        ready = all(not self.inputs[name][2] for name in inputs if name in self.inputs)
        rows = len(next(iter(inputs.values())))
        arrays, columns = {}, {}
        for name, value in inputs.items():
            text = not ready and name in self.inputs and self.inputs[name][1] == BYTES
            arrays[name] = encode_bytes(value) if text else numpy.asarray(value)
            columns[name] = len(arrays[name]) if text else arrays[name].dtype
        request = self.begin(rows, None if ready else columns)
        for name, array in arrays.items():
            request.inputs[name][:] = array
        return request.infer()


class Request:
    def __init__(self, model, handle, entries):
        self.model, self.handle = model, handle
        self.place = _Place(model.client, handle)
        self.inputs = {}
        for i, (name, dtype, shape) in enumerate(entries):
            size = ctypes.c_uint64()
            address = model.client.library.mr_input_data(handle, i, ctypes.byref(size))
            count = size.value // numpy.dtype(dtype).itemsize
            self.inputs[name] = _view(address, count, dtype, self.place, True).reshape(shape)

    def _options(self, deadline_ns, priority, outputs, traceparent):
        bits = 0
        for name in outputs or ():
            bits |= 1 << self.model.outputs[name][0]
        return _Submit(ctypes.sizeof(_Submit), deadline_ns, priority, bits, None,
                       traceparent.encode() if traceparent else None)

    def submit(self, deadline_ns=0, priority=0, outputs=None, traceparent=None):
        """From here on the inputs may not be written. `traceparent`: the caller's span (W3C)."""
        client = self.model.client
        options = self._options(deadline_ns, priority, outputs, traceparent)
        client.check(client.library.mr_submit(client.handle, self.handle, ctypes.byref(options)))
        self.inputs = {}
        client.in_flight[self.handle.value] = self

    def infer(self, deadline_ns=0, priority=0, outputs=None, traceparent=None):
        client = self.model.client
        options = self._options(deadline_ns, priority, outputs, traceparent)
        code = client.library.mr_infer(client.handle, self.handle, ctypes.byref(options))
        self.inputs = {}
        client.check(code)
        return self.outputs()

    def cancel(self):
        client = self.model.client
        client.library.mr_cancel(client.handle, self.handle)

    @property
    def version(self):
        return self.model.client.library.mr_request_version(self.handle)

    def outputs(self):
        """The answer of a request that has ended, as read-only arrays; its error otherwise."""
        library = self.model.client.library
        code = library.mr_request_code(self.handle)
        if code:
            raise Error(code, library.mr_request_error(self.handle).decode())
        arrays, tensor = {}, _Tensor()
        for i in range(library.mr_result_count(self.handle)):
            library.mr_result(self.handle, i, ctypes.byref(tensor))
            dtype = _DTYPES.get(tensor.datatype, numpy.uint8)
            count = tensor.bytes // numpy.dtype(dtype).itemsize
            array = _view(tensor.data, count, dtype, self.place, False)
            if tensor.datatype != BYTES:
                array = array.reshape(tensor.rows, tensor.columns)
            arrays[tensor.name.decode()] = array
        return arrays
