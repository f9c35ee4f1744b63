"""The C API: structs, functions, and where the library is. grassflow.h is the manual.

The tests hold all that stands here against the installed header.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from ctypes import POINTER, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t
from ctypes import c_uint32, c_uint64, c_void_p
from typing import Any, TypeVar

import numpy as np
from numpy.ctypeslib import ndpointer

VERSION = 100  # of the header that is followed here: major * 10000 + minor * 100 + patch
SONAME = "libgrassflow.so.0"

GF_OK, GF_CANCELLED, GF_END = 0, 1, 2
GF_NO_SPECIAL = 1
GF_MAX_WINDOWS = 64
GF_MAX_NAME = 96
GF_MAX_CLASSES = 16
SNLI_CLASSES = ("entailment", "neutral", "contradiction")  # by number

TEXT_FORMATS = {"plain": 0, "wikitext": 1}
MIXERS = {"grassmann": 0, "transformer": 1}
WINDOW_SCHEDULES = {"all": 0, "per-layer": 1}
WINDOW_WEIGHTS = {"mean": 0, "learned": 1}
SCHEDULES = {"cosine": 0, "cosine-epoch": 1, "constant": 2}

Ids = ndpointer(np.int32, flags="C_CONTIGUOUS")
Floats = ndpointer(np.float32, flags="C_CONTIGUOUS")
Handle = c_void_p
Out = POINTER(c_void_p)
Status = c_int


class ContextOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("device", c_char_p),
        ("precision", c_char_p),
        ("threads", c_int32),
        ("log", c_void_p),
        ("log_user", c_void_p),
        ("allocate", c_void_p),
        ("release", c_void_p),
        ("allocator_user", c_void_p),
        ("attention", c_char_p),
    ]


class ProfileEntry(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char * 48),
        ("calls", c_int64),
        ("seconds", c_double),
    ]


class SpecialIds(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("pad", c_int32),
        ("unknown", c_int32),
        ("begin", c_int32),
        ("separator", c_int32),
        ("end", c_int32),
    ]


class PairReport(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("lines", c_int64),
        ("pairs", c_int64),
        ("unlabelled", c_int64),
        ("empty", c_int64),
        ("cut", c_int64),
        ("longest", c_int32),
        ("mean_length", c_double),
        ("label_counts", c_int64 * GF_MAX_CLASSES),
    ]


class DatasetInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("ids", c_int64),
        ("chunks", c_int64),
        ("length", c_int32),
        ("buckets", c_int32),
        ("tokens", c_int64),
        ("padded_tokens", c_int64),
        ("num_labels", c_int32),
        ("label_counts", c_int64 * GF_MAX_CLASSES),
    ]


class ModelConfig(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("mixer", c_int),
        ("vocab_size", c_int32),
        ("max_seq_len", c_int32),
        ("num_layers", c_int32),
        ("model_dim", c_int32),
        ("num_heads", c_int32),
        ("reduced_dim", c_int32),
        ("ff_dim", c_int32),
        ("num_classes", c_int32),
        ("dropout", c_float),
        ("window_schedule", c_int),
        ("num_windows", c_int32),
        ("windows", c_int32 * GF_MAX_WINDOWS),
        ("grassmann_heads", c_int32),
        ("window_weights", c_int),
    ]


class Parameter(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char * GF_MAX_NAME),
        ("dims", c_int32),
        ("shape", c_int64 * 2),
    ]


class TrainReport(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_int64),
        ("total_steps", c_int64),
        ("epoch", c_int32),
        ("loss", c_double),
        ("gradient_norm", c_double),
        ("learning_rate", c_double),
        ("tokens", c_int64),
        ("seconds", c_double),
    ]


class TrainOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("batch_size", c_int32),
        ("epochs", c_int32),
        ("max_steps", c_int64),
        ("lr", c_double),
        ("min_lr", c_double),
        ("warmup_steps", c_int64),
        ("schedule", c_int),
        ("beta1", c_double),
        ("beta2", c_double),
        ("epsilon", c_double),
        ("weight_decay", c_double),
        ("grad_clip", c_double),
        ("seed", c_uint64),
        ("progress", c_void_p),
        ("progress_user", c_void_p),
    ]


class TrainState(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_int64),
        ("total_steps", c_int64),
        ("steps_per_epoch", c_int64),
        ("epoch", c_int32),
        ("epoch_loss", c_double),
        ("tokens", c_int64),
    ]


class EvalReport(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("loss", c_double),
        ("perplexity", c_double),
        ("sequences", c_int64),
        ("tokens", c_int64),
        ("seconds", c_double),
        ("accuracy", c_double),
        ("num_classes", c_int32),
        ("class_counts", c_int64 * GF_MAX_CLASSES),
        ("class_accuracy", c_double * GF_MAX_CLASSES),
        ("confusion", (c_int64 * GF_MAX_CLASSES) * GF_MAX_CLASSES),
    ]


P = POINTER
# name: (what it returns, what it takes)
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "gf_status_text": (c_char_p, [Status]),
    "gf_version": (c_int, []),
    "gf_version_string": (c_char_p, []),
    "gf_context_options_init_sized": (None, [P(ContextOptions), c_size_t]),
    "gf_context_create": (Status, [P(ContextOptions), Out, c_char_p, c_size_t]),
    "gf_context_free": (None, [Handle]),
    "gf_context_error": (c_char_p, [Handle]),
    "gf_context_description": (c_char_p, [Handle]),
    "gf_context_cancel": (None, [Handle, c_int]),
    "gf_context_set_profiling": (Status, [Handle, c_int]),
    "gf_context_profile": (Status, [Handle, P(ProfileEntry), c_size_t, P(c_size_t)]),
    "gf_tokenizer_load": (Status, [Handle, c_char_p, c_char_p, Out]),
    "gf_tokenizer_free": (None, [Handle]),
    "gf_tokenizer_name": (c_char_p, [Handle]),
    "gf_tokenizer_vocab_size": (c_int32, [Handle]),
    "gf_tokenizer_special_ids": (Status, [Handle, P(SpecialIds)]),
    "gf_tokenizer_encode": (
        Status,
        [Handle, c_char_p, c_size_t, c_uint32, Ids, c_size_t, P(c_size_t)],
    ),
    "gf_tokenizer_encode_pair": (
        Status,
        [Handle, c_char_p, c_char_p, c_uint32, c_size_t, Ids, c_size_t, P(c_size_t)],
    ),
    "gf_tokenizer_decode": (
        Status,
        [Handle, Ids, c_size_t, c_uint32, c_char_p, c_size_t, P(c_size_t)],
    ),
    "gf_dataset_from_ids": (Status, [Handle, Ids, c_size_t, c_int32, Out]),
    "gf_dataset_from_text_file": (Status, [Handle, Handle, c_char_p, c_int, c_int32, Out]),
    "gf_dataset_from_pairs": (Status, [Handle, Ids, Ids, Ids, c_size_t, Out]),
    "gf_dataset_from_snli_file": (
        Status,
        [Handle, Handle, c_char_p, c_int32, P(PairReport), Out],
    ),
    "gf_dataset_from_snli_text": (
        Status,
        [Handle, Handle, c_char_p, c_size_t, c_int32, P(PairReport), Out],
    ),
    "gf_dataset_slice": (Status, [Handle, c_int64, c_int64, Out]),
    "gf_dataset_free": (None, [Handle]),
    "gf_dataset_get_info": (Status, [Handle, P(DatasetInfo)]),
    "gf_sample_text": (Status, [Handle, c_uint64, c_char_p, c_size_t]),
    "gf_sample_pairs": (Status, [Handle, c_uint64, c_int64, c_char_p, c_size_t, P(c_size_t)]),
    "gf_model_config_init_sized": (None, [P(ModelConfig), c_size_t, c_int]),
    "gf_model_config_grassmann_plus": (None, [P(ModelConfig)]),
    "gf_model_config_count": (Status, [Handle, P(ModelConfig), P(c_int32), P(c_int64)]),
    "gf_model_config_bytes": (
        Status,
        [Handle, P(ModelConfig), c_int32, c_int32, P(c_int64), P(c_int64)],
    ),
    "gf_model_create": (Status, [Handle, P(ModelConfig), c_uint64, Out]),
    "gf_model_load": (Status, [Handle, c_char_p, Out]),
    "gf_model_load_weights": (Status, [Handle, c_char_p]),
    "gf_model_save": (Status, [Handle, c_char_p]),
    "gf_model_free": (None, [Handle]),
    "gf_model_get_config": (Status, [Handle, P(ModelConfig)]),
    "gf_model_set_metadata": (Status, [Handle, c_char_p, c_char_p]),
    "gf_model_metadata": (c_char_p, [Handle, c_char_p]),
    "gf_model_parameters": (Status, [Handle, P(Parameter), c_size_t, P(c_size_t)]),
    "gf_model_read_parameter": (Status, [Handle, c_char_p, Floats, c_size_t]),
    "gf_model_write_parameter": (Status, [Handle, c_char_p, Floats, c_size_t]),
    "gf_model_forward": (Status, [Handle, Ids, c_int32, c_int32, Floats]),
    "gf_model_classify": (Status, [Handle, Ids, Ids, c_int32, c_int32, Floats]),
    "gf_train_options_init_sized": (None, [P(TrainOptions), c_size_t]),
    "gf_trainer_create": (Status, [Handle, Handle, P(TrainOptions), Out]),
    "gf_trainer_free": (None, [Handle]),
    "gf_train_step": (Status, [Handle, P(TrainReport)]),
    "gf_trainer_get_state": (Status, [Handle, P(TrainState)]),
    "gf_checkpoint_save": (Status, [Handle, c_char_p]),
    "gf_checkpoint_load": (Status, [Handle, c_char_p]),
    "gf_eval": (Status, [Handle, Handle, c_int32, P(EvalReport)]),
}

AnyStruct = TypeVar("AnyStruct", bound=ctypes.Structure)


def sized(struct: type[AnyStruct]) -> AnyStruct:
    """A zeroed struct with its struct_size set."""
    value = struct()
    value.struct_size = ctypes.sizeof(struct)
    return value


def _candidates() -> list[str]:
    """Where the library may be: the one named, or pkg-config's, then the loader's."""
    named = os.environ.get("GRASSFLOW_LIBRARY")
    if named:
        return [named]
    try:
        asked = ["pkg-config", "--variable=libdir", "grassflow"]
        libdir = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    except OSError:  # no pkg-config on this machine
        libdir = ""
    installed = os.path.join(libdir, SONAME)
    return [installed, SONAME] if libdir and os.path.exists(installed) else [SONAME]


def _load() -> ctypes.CDLL:
    problems = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as problem:
            problems.append(str(problem))
            continue
        for function, (result, arguments) in FUNCTIONS.items():
            try:
                entry = getattr(library, function)
            except AttributeError:
                raise ImportError(f"{name} is no libgrassflow that this package knows: it lacks "
                                  f"{function}") from None
            entry.restype, entry.argtypes = result, arguments
        version = library.gf_version()
        if version < VERSION or version // 10000 != VERSION // 10000:
            raise ImportError(f"{name} has the version number {version}, expected {VERSION} or a "
                              "later one of the same major version")
        return library
    raise ImportError("libgrassflow is not found; install it, or name it by GRASSFLOW_LIBRARY: "
                      + "; ".join(problems))


library = _load()


def library_version() -> str:
    """Version of the library that runs, such as "0.1.0"."""
    text: bytes = library.gf_version_string()
    return text.decode()
