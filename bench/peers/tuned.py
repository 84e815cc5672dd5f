"""The same, tuned: run with one uvicorn worker on each core, uvloop and httptools. One thread of PyTorch in each worker,
batchnorm folded into the convolutions (frozen TorchScript), channels_last, inference_mode, and JPEG scaled while decoded."""

import io
import os

import numpy as np
import torch
from fastapi import FastAPI, File, Request, UploadFile
from fastapi.responses import JSONResponse
from model import Model
from PIL import Image

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
app = FastAPI()
model = Model(os.environ["BENCH_BUNDLE"])
example = torch.zeros(1, 3, *model.input).to(memory_format=torch.channels_last)
with torch.inference_mode():
    traced = torch.jit.trace(model.network.to(memory_format=torch.channels_last), example)
    network = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
    for _ in range(5):
        network(example)


@torch.inference_mode()
def predict_pixels(pixels: np.ndarray) -> dict:
    # Rows of pixels are channels_last already.
    tensor = torch.from_numpy(pixels).unsqueeze(0).permute(0, 3, 1, 2).float()
    return model.answer(torch.softmax(network(tensor) / model.temperature, dim=1)[0].tolist())


@app.get("/health")
async def health() -> JSONResponse:
    return JSONResponse({"status": "ok"})


@app.post("/predict")
async def predict(file: UploadFile = File(...)) -> JSONResponse:
    image = Image.open(io.BytesIO(await file.read()))
    image.draft("RGB", model.size)
    image = image.convert("RGB").resize(model.size, Image.Resampling.LANCZOS).crop(model.box)
    return JSONResponse(predict_pixels(np.array(image)))


@app.post("/pixels")
async def pixels(request: Request) -> JSONResponse:
    """Pixels that were prepared already, to compare the networks alone."""
    return JSONResponse(predict_pixels(np.frombuffer(await request.body(), dtype=np.uint8).reshape(*model.input, 3).copy()))
