"""The demo's model in Triton's Python backend: requests that wait are predicted in one call.

The backend's interpreter knows nothing of a virtual environment, so its packages are named by
PEER_PACKAGES; PEER_MODEL is the model's file.
"""

import os
import sys

sys.path.append(os.environ["PEER_PACKAGES"])

import numpy  # noqa: E402
import triton_python_backend_utils as backend  # noqa: E402
import xgboost  # noqa: E402


class TritonPythonModel:
    def initialize(self, args):
        self.booster = xgboost.Booster({"nthread": 1})
        self.booster.load_model(os.environ["PEER_MODEL"])

    def execute(self, requests):
        inputs = [backend.get_input_tensor_by_name(r, "input").as_numpy() for r in requests]
        predictions = self.booster.inplace_predict(numpy.concatenate(inputs)).reshape(-1, 1)
        responses = []
        first = 0
        for rows in map(len, inputs):
            tensor = backend.Tensor("prediction", predictions[first : first + rows])
            responses.append(backend.InferenceResponse([tensor]))
            first += rows
        return responses
