#!/usr/bin/env python3
"""The least time of every kernel of a training step, from its shapes; prints Markdown for docs/performance.md.

    floors.py [--operations 709e12] [--bandwidth 4.3e12]

A kernel takes at least its matrix operations at the rate of bf16 products or its bytes at the rate of device
memory, whichever is more. Bytes are what it must read and write, each once, wherever they lie; bf16 between
products, fp32 in the residual stream, parameters and their gradients. Kernels are those that src/model and the
operations of cuda/ are made of, in the order of a step; a fusion of two removes a row's bytes, never operations.
"""

import argparse
from collections import namedtuple

DIM, FF, HEADS, REDUCED = 256, 1024, 4, 32
COORDINATES = REDUCED * (REDUCED - 1) // 2
VOCABULARY, PADDED_VOCABULARY = 30522, 30528
PANEL_ROWS = 1024  # rows of logits that exist at one time

Shape = namedtuple("Shape", "kind length layers batch")
Kernel = namedtuple("Kernel", "name count bytes operations")  # bytes and operations of one of `count`


def parameters(shape):
    """As tests/model/test_config.cc has them."""
    linear = lambda i, o: i * o + o
    block = 2 * 2 * DIM + linear(DIM, FF) + linear(FF, DIM)
    if shape.kind == "grassmann":
        block += linear(DIM, REDUCED) + linear(COORDINATES, DIM) + linear(2 * DIM, DIM) + 2 * DIM
    else:
        block += linear(DIM, 3 * DIM) + linear(DIM, DIM)
    return (VOCABULARY + shape.length) * DIM + shape.layers * block + 2 * DIM


class Step:
    """Collects the kernels of a step. M rows; an activation of `cols` columns is 2 M cols bytes."""

    def __init__(self, shape):
        self.shape, self.M, self.kernels = shape, shape.batch * shape.length, []

    def add(self, name, count, bytes, operations=0.0):
        self.kernels.append(Kernel(name, count, float(bytes), float(operations)))

    def act(self, cols):
        return 2 * self.M * cols

    def stream(self, cols=DIM):
        return 4 * self.M * cols

    def forward(self, name, count, i, o):
        self.add(f"{name}: product", count, self.act(i) + 2 * i * o + self.act(o), 2 * self.M * i * o)

    def weight_gradient(self, name, count, i, o):
        self.add(f"{name}: weight gradient", count, self.act(i) + self.act(o) + 4 * i * o, 2 * self.M * i * o)
        self.add(f"{name}: bias gradient", count, self.act(o))

    def input_gradient(self, name, count, i, o, accumulates=False):
        dx = self.act(i) * (2 if accumulates else 1)
        self.add(f"{name}: input gradient", count, self.act(o) + 2 * i * o + dx, 2 * self.M * i * o)


def transformer_forward(s):
    N, T = s.shape.layers, s.shape.length
    s.forward("linear qkv_proj", N, DIM, 3 * DIM)
    s.add("attention", N, s.act(4 * DIM) + s.stream(HEADS), 2 * s.M * T * DIM)
    s.forward("linear out_proj", N, DIM, DIM)


def transformer_backward(s):
    N, T = s.shape.layers, s.shape.length
    s.weight_gradient("linear_backward out_proj", N, DIM, DIM)
    s.input_gradient("linear_backward out_proj", N, DIM, DIM)
    s.add("attention_backward", N, s.act(8 * DIM) + s.stream(HEADS), 5 * s.M * T * DIM)
    s.weight_gradient("linear_backward qkv_proj", N, DIM, 3 * DIM)
    s.input_gradient("linear_backward qkv_proj", N, DIM, 3 * DIM)


def grassmann_forward(s):
    N = s.shape.layers
    s.forward("linear W_red", N, DIM, REDUCED)
    s.add("plucker: wedge", N, s.act(REDUCED) + s.act(COORDINATES))
    s.forward("plucker", N, COORDINATES, DIM)
    s.forward("linear W_gate", N, 2 * DIM, DIM)
    s.add("gate_add_norm", N, 2 * s.stream() + s.act(4 * DIM) + s.stream(4))


def grassmann_backward(s):
    N = s.shape.layers
    s.add("gate_add_norm_backward", N, s.act(4 * DIM) + 3 * s.stream() + s.act(3 * DIM) + s.stream(4))
    s.weight_gradient("linear_backward W_gate", N, 2 * DIM, DIM)
    s.input_gradient("linear_backward W_gate", N, 2 * DIM, DIM, accumulates=True)
    s.add("plucker_backward: wedge again", N, s.act(REDUCED) + s.act(COORDINATES))
    s.weight_gradient("plucker_backward", N, COORDINATES, DIM)
    s.input_gradient("plucker_backward", N, COORDINATES, DIM)
    s.add("plucker_backward: wedge gradient", N, s.act(COORDINATES) + 2 * s.act(REDUCED))
    s.weight_gradient("linear_backward W_red", N, DIM, REDUCED)
    s.input_gradient("linear_backward W_red", N, DIM, REDUCED, accumulates=True)


def head(s):
    """By panels of R rows, each of which reads the embedding and adds to its gradient."""
    V, panels = PADDED_VOCABULARY, -(-s.M // PANEL_ROWS)
    R = s.M // panels
    panel, operations = 2 * R * V, 2 * R * DIM * V
    s.add("lm_loss_backward: logits", panels, 2 * R * DIM + 2 * V * DIM + panel, operations)
    s.add("lm_loss_backward: loss and gradient of logits", panels, 2 * panel)
    s.add("lm_loss_backward: gradient of h", panels, panel + 2 * V * DIM + 2 * R * DIM, operations)
    s.add("lm_loss_backward: first gradient of the embedding", 1, panel + 2 * R * DIM + 4 * V * DIM, operations)
    if panels > 1:
        s.add("lm_loss_backward: further ones, added", panels - 1, panel + 2 * R * DIM + 8 * V * DIM, operations)


def step(shape):
    s = Step(shape)
    is_grassmann, N, n = shape.kind == "grassmann", shape.layers, parameters(shape)
    add_norm = 2 * s.stream() + s.act(2 * DIM) + s.stream(2)
    add_norm_backward = s.act(2 * DIM) + 3 * s.stream() + s.stream(2)
    s.add("gather", 1, 8 * s.M)
    s.add("embed", 1, 2 * s.stream() + 4 * shape.length * DIM)
    s.add("norm", 1, s.stream() + s.act(DIM) + s.stream(2))
    (grassmann_forward if is_grassmann else transformer_forward)(s)
    s.forward("linear_gelu", N, DIM, FF)
    s.add("linear_gelu: gelu and dropout", N, 2 * s.act(FF))
    s.forward("linear W2", N, FF, DIM)
    s.add("add_norm", N if is_grassmann else 2 * N, add_norm)
    head(s)
    s.add("zero dx", 1, s.stream())
    s.add("add_norm_backward", N if is_grassmann else 2 * N, add_norm_backward)
    s.input_gradient("gelu_linear_backward", N, FF, DIM)
    s.add("gelu_linear_backward: gelu", N, 4 * s.act(FF))
    s.weight_gradient("gelu_linear_backward", N, FF, DIM)
    s.weight_gradient("linear_backward W1", N, DIM, FF)
    s.input_gradient("linear_backward W1", N, DIM, FF)
    (grassmann_backward if is_grassmann else transformer_backward)(s)
    s.add("norm_backward", 1, s.act(DIM) + 3 * s.stream())
    s.add("embed_backward", 1, 3 * s.stream() + 4 * shape.length * DIM)
    s.add("squared_norm", 1, 4 * n)
    s.add("adamw", 1, 30 * n)
    return s.kernels


def floor_us(kernel, rates):
    return 1e6 * max(kernel.operations / rates.operations, kernel.bytes / rates.bandwidth)


def megabytes(bytes):
    return f"{bytes / 1e6:.1f}" if bytes < 1e8 else f"{bytes / 1e6:,.0f}"


def kernel_table(kind, rates):
    """Both study sizes side by side; only the head and the attention differ in more than M."""
    small, large = Shape(kind, 128, 6, 32), Shape(kind, 256, 6, 128)
    a, b = step(small), step(large)
    columns = "a step | MB | GFLOP | floor, µs | measured, µs | share"
    yield f"| {kind} | M = 4,096: {columns} | M = 32,768: {columns} |"
    yield "|---" * 13 + "|"
    for x, y in zip(a, b):
        cells = [cell for k in (x, y) for cell in (
            str(k.count), megabytes(k.bytes), f"{k.operations / 1e9:.2f}" if k.operations else "",
            f"{floor_us(k, rates):.2f}", "", "")]
        yield f"| {x.name} | {' | '.join(cells)} |"
    sums = [cell for kernels in (a, b) for cell in (
        f"**{sum(k.count for k in kernels)}**", megabytes(sum(k.count * k.bytes for k in kernels)),
        f"{sum(k.count * k.operations for k in kernels) / 1e9:,.0f}",
        f"**{sum(k.count * floor_us(k, rates) for k in kernels):,.0f}**", "", "")]
    yield f"| **sum over the step** | {' | '.join(sums)} |"


def step_table(rates):
    """The floor of whole steps: products at their rate, then the optimizer's bytes; all other traffic left out."""
    yield "| model | L | N | B | TFLOP | products, ms | optimizer, ms | floor, ms | tokens/s | kernels, sum of floors, ms |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for length, layers, batch in ((128, 6, 32), (256, 12, 16), (256, 6, 128)):
        for kind in ("grassmann", "transformer"):
            shape = Shape(kind, length, layers, batch)
            kernels = step(shape)
            operations = sum(k.count * k.operations for k in kernels)
            products, optimizer = operations / rates.operations * 1e3, 34 * parameters(shape) / rates.bandwidth * 1e3
            total = products + optimizer
            each = sum(k.count * floor_us(k, rates) for k in kernels) / 1e3
            yield (f"| {kind} | {length} | {layers} | {batch} | {operations / 1e12:.3f} | {products:.3f} | "
                   f"{optimizer:.3f} | {total:.3f} | {batch * length / total / 1e3:.2f} M | {each:.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=float, default=709e12, help="bf16 products, operations a second")
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="device memory, bytes a second")
    rates = parser.parse_args()
    print("\n".join(step_table(rates)))
    for kind in ("grassmann", "transformer"):
        print("\n" + "\n".join(kernel_table(kind, rates)))


if __name__ == "__main__":
    main()
