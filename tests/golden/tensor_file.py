"""Reads and writes safetensors files as numpy arrays; equal content gives equal bytes."""

import json
import struct

import numpy as np

DTYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32}


def save(path, tensors, metadata):
    """tensors: name -> array; metadata: name -> text."""
    header, data = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        dtype = next(k for k, v in DTYPES.items() if v == array.dtype)
        payload = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(payload)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += payload
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def load(path):
    """-> (tensors, metadata)"""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    metadata = header.pop("__metadata__", {})
    tensors = {name: np.frombuffer(data[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(entry["shape"])
               for name, entry in header.items()}
    return tensors, metadata
