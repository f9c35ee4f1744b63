#!/usr/bin/env python3
"""A model goes from PyTorch to the library and back; the logits must stay.

    python3 tests/golden/check_pytorch.py LOGITS_TOOL [--oracle DIRECTORY]

LOGITS_TOOL is the program built from logits_tool.c. The oracle's directory holds models.py; by default
$GF_ORACLE_DIR, else ../../../shared/reference as seen from here. Exits with 77, which CTest shows as skipped,
and a line that says why, where torch or the oracle is missing.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
TOLERANCE = 1e-4
HERE = pathlib.Path(__file__).resolve().parent
SIZES = dict(vocab=211, max_seq=24, layers=3, dim=32, heads=4, reduced=7, ff=80)
SEQUENCES, LENGTH = 3, 21


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def run_library(tool, kind, weights, ids, directory):
    """-> (logits, path of the model that the library saved)"""
    model, ids_path, logits = (directory / name for name in ("model.safetensors", "ids", "logits"))
    ids.numpy().astype(np.int32).tofile(ids_path)
    sizes = [str(size) for size in SIZES.values()]
    subprocess.run([tool, kind, *sizes, weights, model, ids_path, str(SEQUENCES), str(LENGTH), logits], check=True)
    return torch.from_numpy(np.fromfile(logits, np.float32).reshape(SEQUENCES, LENGTH, SIZES["vocab"])), model


def load_oracle(models, kind, path):
    state = {name: torch.from_numpy(values.copy()) for name, values in tensor_file.load(path)[0].items()}
    state["lm_head.weight"] = state["token_embedding.weight"]
    oracle = models.LanguageModel(kind, dropout=0.0, **SIZES)
    oracle.load_state_dict(state)
    return oracle


def save_oracle(models, kind, path):
    """A model with weights large enough to matter, as torch.save's safetensors twin would write it: the tied
    head stands in the file under its own name too."""
    oracle = models.LanguageModel(kind, dropout=0.0, **SIZES)
    for parameter in oracle.parameters():
        parameter.data.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.2)
    tensor_file.save(path, {name: values.numpy() for name, values in oracle.state_dict().items()}, {"format": "pt"})
    return oracle


def check(what, found, expected):
    off = (found - expected).abs().max().item()
    print(f"{what}: logits up to {expected.abs().max().item():.3f}, off by {off:.1e} at most")
    return off <= TOLERANCE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", type=pathlib.Path)
    parser.add_argument("--oracle", type=pathlib.Path,
                        default=os.environ.get("GF_ORACLE_DIR", HERE / "../../../shared/reference"))
    options = parser.parse_args()
    if not (options.oracle / "models.py").is_file():
        skip(f"no models.py in {options.oracle}; set GF_ORACLE_DIR")
    sys.path.insert(0, str(options.oracle))
    import models

    torch.manual_seed(1)
    ids = torch.randint(0, SIZES["vocab"], (SEQUENCES, LENGTH))
    sound = True
    for kind in ("grassmann", "transformer"):
        with tempfile.TemporaryDirectory() as name, torch.no_grad():
            directory = pathlib.Path(name)
            oracle = save_oracle(models, kind, directory / "torch.safetensors")
            logits, saved = run_library(options.tool, kind, directory / "torch.safetensors", ids, directory)
            sound &= check(f"{kind}, PyTorch's weights in the library", logits, oracle(ids))
            sound &= check(f"{kind}, the same back in PyTorch", load_oracle(models, kind, saved)(ids), oracle(ids))
            logits, saved = run_library(options.tool, kind, "-", ids, directory)
            sound &= check(f"{kind}, the library's weights in PyTorch", load_oracle(models, kind, saved)(ids), logits)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    try:
        import numpy as np
        import torch

        import tensor_file
    except ImportError as missing:
        skip(f"python3 has no {missing.name}")
    main()
