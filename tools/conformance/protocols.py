"""tritonclient's three ways of asking, behind one face.

What differs: the module, how health and metadata come back, where a tensor's bytes travel, and how
a status is written. `status` gives both protocols' codes one name.
"""

import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

HTTP_NAMES = {
    "400": "INVALID_ARGUMENT",
    "404": "NOT_FOUND",
    "503": "UNAVAILABLE",
    "504": "DEADLINE_EXCEEDED",
}


class Protocol:

    def __init__(self, name, client, module, input_flags, output_flags):
        self.name, self.client = name, client
        # JSON has no NaN; tritonclient writes the word all the same, which no JSON reader must take.
        self.carries_nan = input_flags.get("binary_data", True)
        self._module = module
        self._input_flags, self._output_flags = input_flags, output_flags

    def input(self, name, array, datatype):
        tensor = self._module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **self._input_flags)
        return tensor

    def output(self, name):
        return self._module.InferRequestedOutput(name, **self._output_flags)

    def infer(self, model, inputs, outputs=None, **arguments):
        """`outputs`: names; None: whatever the server gives without being asked."""
        asked = None if outputs is None else [self.output(name) for name in outputs]
        return self.client.infer(model, inputs, outputs=asked, **arguments)

    def server_metadata(self):
        return self._plain(self.client.get_server_metadata)

    def model_metadata(self, model):
        return self._plain(self.client.get_model_metadata, model)

    def answer_head(self, answer):
        """The answer without its tensors, as a dictionary of text."""
        if self._module is triton_grpc:
            head = answer.get_response(as_json=True)
        else:
            head = answer.get_response()
        return {key: head.get(key) for key in ("id", "model_name", "model_version")}

    def _plain(self, call, *arguments):
        if self._module is triton_grpc:
            return call(*arguments, as_json=True)
        return call(*arguments)


def status(fault):
    """The code of an InferenceServerException by gRPC's name."""
    text = str(fault.status()).removeprefix("StatusCode.")
    return HTTP_NAMES.get(text, text)


def all_protocols(grpc_address, http_address):
    grpc_client = triton_grpc.InferenceServerClient(grpc_address)
    http_client = triton_http.InferenceServerClient(http_address)
    return [
        Protocol("grpc", grpc_client, triton_grpc, {}, {}),
        Protocol("http binary", http_client, triton_http, {"binary_data": True},
                 {"binary_data": True}),
        Protocol("http json", http_client, triton_http, {"binary_data": False},
                 {"binary_data": False}),
    ]


__all__ = ["InferenceServerException", "Protocol", "all_protocols", "status"]
