"""Small moving pictures of known content, and a tiny model that can be understood, for the tests of this folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from tests.needs import needs

from deeptrace.detectors.tracenet.appearance import DIMENSIONS
from deeptrace.detectors.tracenet.evidence import CHANNELS, GRID
from deeptrace.detectors.tracenet.model import CARD_NAME, MODEL_NAME
from deeptrace.detectors.tracenet.texture import texture_names
from deeptrace.video import Frame

FPS = 8.0
HOT = 10.0
USUAL, STEEP = 0.2, 20.0
"""Grey levels of residual at which the heat of `make_model` is one half; and what its texture score is made of."""


def textured(seed: int, height: int, width: int, blur: float = 2.0) -> np.ndarray:
    """(height, width, 3) uint8: smooth colour noise between about 60 and 190."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.clip(125 + 25 * noise / noise.std(), 60, 190).astype(np.uint8)


def panning(count: int, height: int = 144, width: int = 192, step: float = 1.5, seed: int = 0) -> np.ndarray:
    """(count, height, width, 3): a camera that moves `step` pixels a frame to the right."""
    wall = textured(seed, height, width + int(count * step) + 2)
    shift = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    pictures = []
    for k in range(count):
        shift[0, 2] = -step * k
        pictures.append(cv2.warpAffine(wall, shift, (width, height), flags=cv2.INTER_LINEAR))
    return np.stack(pictures)


def flickering(pictures: np.ndarray, rows: slice, columns: slice, moments: slice) -> np.ndarray:
    """The pictures with a part that shows something else at every one of `moments`."""
    out = pictures.copy()
    height, width = rows.stop - rows.start, columns.stop - columns.start
    for k in range(moments.start, moments.stop):
        out[k, rows, columns] = textured(100 + k, height, width, 3.0)
    return out


def frames_of(pictures: np.ndarray, step_s: float = 1 / FPS) -> list[Frame]:
    """Frames `step_s` apart."""
    return [Frame(k * step_s, picture) for k, picture in enumerate(pictures)]


def make_model(folder: Path) -> Path:
    """A real ONNX model of a few operators whose heat is the residual: hot where it is above HOT grey levels.

    Its clip logit follows the strongest residual of an eighth of the picture; its categories are, from the likeliest
    down, in the order of `Category`; its texture score follows
    the share of pixels that motion explains worst, and its score of appearance is 0.
    """
    onnx = needs("onnx")
    from onnx import TensorProto, helper

    constants = {
        "from": np.array([CHANNELS.index("residual")]),
        "to": np.array([CHANNELS.index("residual") + 1]),
        "axis": np.array([1]),
        "limit": np.array(np.log(HOT), np.float32),
        "steep": np.array(4.0, np.float32),
        "shares": np.linspace(1.0, 0.2, 9, dtype=np.float32).reshape(1, 9, 1, 1),
        "texture_weights": np.where(np.array(texture_names()) == "unexplained.0", STEEP, 0).astype(np.float32),
        "usual": np.array(USUAL * STEEP, np.float32),
        "no_appearance": np.zeros(DIMENSIONS, np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["evidence", "from", "to", "axis"], ["residual"]),
        helper.make_node("Sub", ["residual", "limit"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["heat"]),
        helper.make_node("Squeeze", ["heat", "axis"], ["where"]),
        helper.make_node("Identity", ["where"], ["present"]),
        helper.make_node("AveragePool", ["heat"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Mul", ["coarse", "shares"], ["kinds"]),
        helper.make_node("AveragePool", ["logit"], ["parts"], kernel_shape=[8, 8], strides=[4, 4]),
        helper.make_node("ReduceMax", ["parts"], ["generated"], keepdims=0),
        helper.make_node("MatMul", ["texture", "texture_weights"], ["strange"]),
        helper.make_node("Sub", ["strange", "usual"], ["texture_score"]),
        helper.make_node("MatMul", ["appearance", "no_appearance"], ["appearance_score"]),
    ]
    heat = ["frames", GRID, GRID]
    shapes = {
        "generated": [],
        "texture_score": [],
        "where": heat,
        "present": heat,
        "kinds": ["frames", 9, GRID // 2, GRID // 2],
        "appearance_score": [],
    }
    graph = helper.make_graph(
        nodes,
        "heat-is-residual",
        [
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["frames", len(CHANNELS), GRID, GRID]),
            helper.make_tensor_value_info("texture", TensorProto.FLOAT, [len(texture_names())]),
            helper.make_tensor_value_info("appearance", TensorProto.FLOAT, [DIMENSIONS]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder, model.SerializeToString())
    return folder


def write_model(folder: Path, weights: bytes, **changes: object) -> None:
    """The two files of a model, the card true to the weights but for `changes`."""
    card = {
        "name": "tracenet",
        "version": "test",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "channels": list(CHANNELS),
        "texture_statistics": len(texture_names()),
        "appearance_statistics": DIMENSIONS,
        "calibration": {
            "texture": 1.0, "appearance": 1.0, "bias": 0.0, "threshold_fpr_1": 0.9, "threshold_fpr_5": 0.7,
            "threshold_balanced": 0.5, "heat": 4.0, "presence": 0.0, "trace_generated": 0.2, "trace_bias": -2.0,
            "sharpen": 1.0, "category_thresholds": [],
        },
    }  # fmt: skip
    (folder / MODEL_NAME).write_bytes(weights)
    (folder / CARD_NAME).write_text(json.dumps(card | changes))


def write_encoder(
    path: Path,
    *,
    batch: int | str = "n",
    side: int | str = 54,
    output: str = "vector",
    of_bytes: bool = False,
    channels: int = 3,
    wide: int | None = None,
    second_input: bool = False,
) -> Path:
    """An image encoder that says how red, green and blue a picture is: as a map, as tokens or as one vector."""
    onnx = needs("onnx")
    from onnx import TensorProto, helper

    sides = [side, side if wide is None else wide]
    shape = [batch, *sides, channels] if of_bytes else [batch, channels, *sides]
    kind = TensorProto.UINT8 if of_bytes else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("pictures", kind, shape)]
    if second_input:
        inputs.append(helper.make_tensor_value_info("words", TensorProto.FLOAT, [1]))
    nodes = [helper.make_node("Cast", ["pictures"], ["floats"], to=TensorProto.FLOAT)]
    nodes.append(
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2])
        if of_bytes
        else helper.make_node("Identity", ["floats"], ["planes"])
    )
    nodes.append(helper.make_node("AveragePool", ["planes"], ["map"], kernel_shape=[18, 18], strides=[18, 18]))
    nodes += [
        helper.make_node("Reshape", ["map", "flat"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["tokens"], ["vector"], axes=[1], keepdims=0),
    ]
    rank = {"map": 4, "tokens": 3, "vector": 2}[output]
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * rank)
    flat = onnx.numpy_helper.from_array(np.array([0, channels, -1]), "flat")
    graph = helper.make_graph(nodes, "colours", inputs, [value], [flat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
