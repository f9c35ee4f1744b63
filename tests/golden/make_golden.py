#!/usr/bin/env python3
"""Writes the golden files that test_golden.cc holds the library against.

    python3 tests/golden/make_golden.py [--oracle DIRECTORY] [--out DIRECTORY]

DIRECTORY of the oracle holds models.py, the PyTorch statement of both models; by default
../../../shared/reference as seen from here. Needs torch and numpy. Seeds are fixed: a second run on the
same machine writes the same bytes.

A case file holds `ids` [B, T], `param.<name>` (fp32, so that the library starts from the very same
values), and what the oracle makes of them in double precision: `loss` [1], `logits` [B, T, V] and
`grad.<name>`; `float32.loss`, `float32.logits`, `float32.grad.<name>` are the same in single precision:
their distance from double is what any fp32 implementation may show. Pair classifiers have `mask` [B, T]
and `labels` [B] too, and logits [B, classes]. Names are those of the oracle's state_dict, without the tied
lm_head.weight: grad.token_embedding.weight includes both of its uses.

adamw_<kind> holds ten steps: `batches` [10, B, T], `param.<name>`, then in double precision `loss`, `lr`,
`grad_norm` (before clipping) [10] each, and `final.<name>`, `moment1.<name>`, `moment2.<name>`.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

import tensor_file

HERE = pathlib.Path(__file__).resolve().parent
PRECISIONS = {"": torch.float64, "float32.": torch.float32}


# ---- Cases -------------------------------------------------------------------------------------------------

SMALL = dict(vocab=37, max_seq=20, dim=8, layers=2, ff=16, heads=2, reduced=5)

# schedule and list are the library's configuration, windows the offsets of each layer that follow from it.
ALL = [1, 2, 4, 8, 12, 16]


def case(kind, batch, schedule="all", offsets=ALL, windows=None, prepare=None, mixer_heads=1, **sizes):
    shape = {**SMALL, **sizes}
    if kind == "grassmann" and windows is None:
        windows = [offsets] * shape["layers"]
    return dict(kind=kind, batch=batch, schedule=schedule, offsets=offsets, windows=windows or [],
                prepare=prepare, mixer_heads=mixer_heads, shape=shape)


def learned_heads(models, spec):
    """The oracle's mixing with heads of r coordinates each and learned weights of the offsets.

    Window by window: each head's normalised vectors, weighted, are added up; the heads stand side by side.
    """
    heads, shape = spec["mixer_heads"], spec["shape"]

    class Mixing(models.GrassmannMixing):
        def __init__(self, windows):
            super().__init__(shape["dim"], shape["reduced"], windows, dropout=0.0)
            r = shape["reduced"]
            self.W_red = torch.nn.Linear(shape["dim"], heads * r)
            self.W_plu = torch.nn.Linear(heads * r * (r - 1) // 2, shape["dim"])
            self.offset_weight = torch.nn.Parameter(torch.empty(heads, len(windows)))

        def geometry_by_definition(self, z, h):
            z = z.unflatten(-1, (heads, -1))
            total = 0
            for k, delta in enumerate(self.windows):
                if delta < z.shape[1]:
                    p = models.pluecker(z[:, delta:], z[:, :-delta])
                    p = p / p.norm(dim=-1, keepdim=True).clamp(min=models.EPS)
                    total = total + F.pad(self.offset_weight[:, k, None] * p, (0, 0, 0, 0, delta, 0))
            has_past = torch.arange(z.shape[1]) >= min(self.windows)
            return self.W_plu(total.flatten(-2)) * has_past[:, None]

    return Mixing


def nearly_parallel(model):
    """z_t within about 1e-4 of one line, at different places on it."""
    for block in model.blocks:
        reduced = block.grassmann.W_red
        line = torch.randn(reduced.out_features)
        reduced.weight.data = (0.3 * torch.outer(line, torch.randn(reduced.in_features))
                               + 1e-4 * torch.randn_like(reduced.weight))
        reduced.bias.data = 5 * line


def zero(model):
    """z = 0: every Pluecker vector is zero and its norm at the floor."""
    for block in model.blocks:
        block.grassmann.W_red.weight.data.zero_()
        block.grassmann.W_red.bias.data.zero_()


CASES = {
    "transformer": case("transformer", (2, 17), dim=12, ff=48, heads=3),
    "transformer_t2": case("transformer", (3, 2), heads=4),
    "grassmann": case("grassmann", (2, 20), vocab=101, reduced=6),
    "grassmann_per_layer": case("grassmann", (2, 18), schedule="per-layer", windows=[[d] for d in ALL], layers=6,
                                reduced=5),
    "grassmann_short": case("grassmann", (3, 7), dim=24, ff=96, layers=1, reduced=8),
    "grassmann_t2": case("grassmann", (3, 2), reduced=2, layers=3),
    "grassmann_duplicates": case("grassmann", (2, 9), offsets=[2, 2, 5, 1, 2], dim=11, ff=44, reduced=3),
    "grassmann_user_list": case("grassmann", (1, 13), schedule="per-layer", offsets=[3, 1, 7, 11, 5], layers=3,
                                windows=[[3], [1, 7], [11, 5]], reduced=8),
    "grassmann_nearly_parallel": case("grassmann", (2, 19), prepare=nearly_parallel, reduced=8),
    "grassmann_zero": case("grassmann", (2, 6), prepare=zero),
    "classifier_transformer": case("transformer", (4, 12), classes=3),
    "classifier_grassmann": case("grassmann", (4, 19), classes=3),
    "grassmann_heads": case("grassmann", (2, 18), offsets=[2, 1, 5, 11], mixer_heads=3, reduced=4),
}


def build(models, spec):
    """The oracle in single precision, its weights large enough for every gradient to tell something."""
    shape = dict(spec["shape"])
    maker = models.PairClassifier if "classes" in shape else models.LanguageModel
    model = maker(spec["kind"], dropout=0.0, **shape)
    for layer, windows in enumerate(spec["windows"]):
        model.blocks[layer].grassmann.windows = windows
        if spec["mixer_heads"] > 1:
            model.blocks[layer].grassmann = learned_heads(models, spec)(windows)
    for name, parameter in model.named_parameters():
        gain = parameter.dim() == 1 and name.endswith("weight")
        parameter.data.normal_(1.0 if gain else 0.0, 0.2 if parameter.dim() == 1 else 0.3)
    if spec["prepare"]:
        spec["prepare"](model)
    return model.train()


def metadata(spec):
    shape = spec["shape"]
    return {"kind": spec["kind"], "schedule": spec["schedule"], "offsets": json.dumps(spec["offsets"]),
            "windows": json.dumps(spec["windows"]), "classes": str(shape.get("classes", 0)),
            **({"mixer_heads": str(spec["mixer_heads"])} if spec["mixer_heads"] > 1 else {}),
            **{key: str(shape[key]) for key in SMALL}}


def array(tensor):
    return tensor.detach().numpy()


def parameters(model, prefix):
    return {prefix + name: array(parameter).copy() for name, parameter in model.named_parameters()}


# ---- One forward and backward pass -------------------------------------------------------------------------

def language_model_pass(model, inputs):
    return model.loss(inputs["ids"]), model(inputs["ids"])


def classifier_pass(model, inputs):
    # PairClassifier.forward with the pooling left in the model's precision, which it rounds to float32.
    mask = inputs["mask"].unsqueeze(-1).to(model.classifier.weight.dtype)
    pooled = (model.states(inputs["ids"]) * mask).sum(1) / mask.sum(1).clamp(min=1)
    logits = model.classifier(pooled)
    return F.cross_entropy(logits, inputs["labels"]), logits


def make_inputs(spec):
    B, T = spec["batch"]
    ids = torch.randint(0, spec["shape"]["vocab"], (B, T))
    if "classes" not in spec["shape"]:
        return {"ids": ids}
    lengths = torch.tensor([T, T - 1, 3, 1])[:B]
    mask = (torch.arange(T) < lengths[:, None]).long()
    return {"ids": ids * mask, "mask": mask, "labels": torch.randint(0, 3, (B,))}


def make_case(models, spec):
    model, inputs = build(models, spec), make_inputs(spec)
    tensors = {**{name: array(tensor) for name, tensor in inputs.items()}, **parameters(model, "param.")}
    run = classifier_pass if "classes" in spec["shape"] else language_model_pass
    for prefix, precision in PRECISIONS.items():
        model.to(precision)
        model.zero_grad()
        loss, logits = run(model, inputs)
        loss.backward()
        tensors[prefix + "loss"] = array(loss).reshape(1)
        tensors[prefix + "logits"] = array(logits)
        for name, parameter in model.named_parameters():
            tensors[prefix + "grad." + name] = array(parameter.grad)
    return tensors


# ---- Ten steps ---------------------------------------------------------------------------------------------

STEPS, WARMUP, LR, MIN_LR, CLIP, DECAY = 10, 3, 1e-2, 1e-3, 1.0, 0.01


def learning_rate(step):
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    progress = (step - WARMUP) / (STEPS - 1 - WARMUP)
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * progress))


def make_steps(models, kind):
    spec = case(kind, (4, 10), max_seq=10)
    model = build(models, spec)
    tensors = {"batches": array(torch.randint(0, SMALL["vocab"], (STEPS, *spec["batch"])))}
    tensors.update(parameters(model, "param."))
    model.double()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY)
    seen = {"loss": [], "lr": [], "grad_norm": []}
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = learning_rate(step)
        optimizer.zero_grad()
        loss = model.loss(torch.from_numpy(tensors["batches"][step]))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        for name, value in zip(seen, (loss.item(), learning_rate(step), norm.item())):
            seen[name].append(value)
    tensors.update({name: np.array(values) for name, values in seen.items()})
    tensors.update(parameters(model, "final."))
    for name, parameter in model.named_parameters():
        tensors["moment1." + name] = array(optimizer.state[parameter]["exp_avg"])
        tensors["moment2." + name] = array(optimizer.state[parameter]["exp_avg_sq"])
    recipe = {"steps": STEPS, "warmup_steps": WARMUP, "lr": LR, "min_lr": MIN_LR, "clip": CLIP, "weight_decay": DECAY}
    return tensors, {**metadata(spec), **{key: str(value) for key, value in recipe.items()}}


# ---- The files ---------------------------------------------------------------------------------------------

def float32_distance(tensors):
    """Largest |a - b| / |b| of a gradient, single against double precision."""
    worst = 0.0
    for name in tensors:
        if name.startswith("grad."):
            exact, single = tensors[name], tensors["float32." + name]
            worst = max(worst, np.linalg.norm(single - exact) / max(np.linalg.norm(exact), 1e-6))
    return worst


def write(directory, name, tensors, texts, note):
    for tensor_name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            sys.exit(f"{name}: {tensor_name} is not finite")
    path = directory / f"{name}.safetensors"
    tensor_file.save(path, tensors, texts)
    print(f"{name:28s} {path.stat().st_size:8,d} bytes  {len(tensors):4d} tensors  {note}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", type=pathlib.Path, default=HERE / "../../../shared/reference")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    options = parser.parse_args()
    sys.path.insert(0, str(options.oracle))
    import models

    torch.set_num_threads(1)
    for seed, (name, spec) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        tensors = make_case(models, spec)
        write(options.out, name, tensors, metadata(spec),
              f"loss {tensors['loss'][0]:.6f}, gradients of float32 within {float32_distance(tensors):.1e}")
    for seed, kind in enumerate(("transformer", "grassmann")):
        torch.manual_seed(100 + seed)
        tensors, texts = make_steps(models, kind)
        write(options.out, f"adamw_{kind}", tensors, texts,
              f"loss {tensors['loss'][0]:.4f} to {tensors['loss'][-1]:.4f}, "
              f"{(tensors['grad_norm'] > CLIP).sum()} of {STEPS} steps clipped")


if __name__ == "__main__":
    main()
