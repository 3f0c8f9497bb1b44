"""The demo's model in MLServer. PEER_MODEL is the model's file."""

import os

import xgboost
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class BreastCancer(MLModel):
    async def load(self) -> bool:
        self.booster = xgboost.Booster({"nthread": 1})
        self.booster.load_model(os.environ["PEER_MODEL"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        prediction = self.booster.inplace_predict(rows).reshape(-1, 1)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output("prediction", prediction)],
        )
