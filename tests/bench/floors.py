#!/usr/bin/env python3
"""The least time of every operation of a training step, from its shapes; prints Markdown for docs/performance.md.

    floors.py [--operations 709e12] [--bandwidth 4.3e12] [--profile FILE]...

An operation takes at least its matrix products at the rate of bf16 products or its bytes at the rate of device
memory, whichever is more. Bytes are what its kernels must read and write, each once, wherever they lie; bf16 between
products, fp32 in the residual stream, parameters and their gradients. A FILE is what `gf-train --profile --json`
printed: its times stand beside, less what an empty interval takes (--interval, in microseconds).
"""

import argparse
import json
from collections import namedtuple

DIM, FF, HEADS, REDUCED = 256, 1024, 4, 32
COORDINATES = REDUCED * (REDUCED - 1) // 2
VOCABULARY = 30522

Shape = namedtuple("Shape", "kind length layers batch")
Operation = namedtuple("Operation", "count bytes products")  # in a step; products: operations of the matrix units


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
    """Sums of a step by operation. M rows; an activation of `cols` columns is 2 M cols bytes."""

    def __init__(self, shape):
        self.shape, self.M, self.operations = shape, shape.batch * shape.length, {}

    def add(self, name, count, bytes, products=0.0):
        old = self.operations.get(name, Operation(0, 0.0, 0.0))
        self.operations[name] = Operation(old.count + count, old.bytes + count * bytes, old.products + count * products)

    def act(self, cols):
        return 2 * self.M * cols

    def stream(self, cols=DIM):
        return 4 * self.M * cols

    def product(self, name, count, i, o, more=0):
        """[M, i] times [i, o]; `more` bytes beside its operands and its result."""
        self.add(name, count, self.act(i) + 2 * i * o + self.act(o) + more, 2 * self.M * i * o)

    def weight_gradients(self, count, *layers):
        self.add("weight_gradients", count, sum(self.act(i) + self.act(o) + 4 * i * o for i, o in layers),
                 sum(2 * self.M * i * o for i, o in layers))


def transformer_forward(s):
    N, T = s.shape.layers, s.shape.length
    s.product("linear", N, DIM, 3 * DIM)
    s.add("attention", N, s.act(4 * DIM) + s.stream(HEADS), 2 * s.M * T * DIM)
    s.product("linear", N, DIM, DIM)


def transformer_backward(s):
    N, T = s.shape.layers, s.shape.length
    s.product("linear_backward", N, DIM, DIM)
    s.add("attention_backward", N, s.act(8 * DIM) + s.stream(HEADS), 5 * s.M * T * DIM)
    s.product("linear_backward", N, 3 * DIM, DIM)
    s.weight_gradients(N, (DIM, 3 * DIM), (DIM, DIM))


def grassmann_forward(s):
    N = s.shape.layers
    s.product("linear", N, DIM, REDUCED)
    s.add("plucker", N, s.act(REDUCED) + 2 * COORDINATES * DIM + s.act(DIM), 2 * s.M * COORDINATES * DIM)
    s.product("linear", N, 2 * DIM, DIM)
    s.add("gate_add_norm", N, 2 * s.stream() + s.act(4 * DIM) + s.stream(4))


def grassmann_backward(s):
    N = s.shape.layers
    s.add("gate_add_norm_backward", N, s.act(4 * DIM) + 3 * s.stream() + s.act(3 * DIM) + s.stream(4))
    s.product("linear_backward", N, DIM, 2 * DIM, s.act(2 * DIM))
    s.add("plucker_backward", N, s.act(DIM) + 2 * s.act(REDUCED) + 2 * COORDINATES * DIM + s.act(COORDINATES),
          2 * s.M * COORDINATES * DIM)
    s.product("linear_backward", N, REDUCED, DIM, s.act(DIM))
    s.weight_gradients(N, (2 * DIM, DIM), (COORDINATES, DIM), (DIM, REDUCED))


def step(shape):
    s = Step(shape)
    is_grassmann, N, n = shape.kind == "grassmann", shape.layers, parameters(shape)
    norms = N if is_grassmann else 2 * N
    s.add("gather", 1, 8 * s.M)
    s.add("embed", 1, 2 * s.stream() + 4 * shape.length * DIM)
    s.add("norm", 1, s.stream() + s.act(DIM) + s.stream(2))
    (grassmann_forward if is_grassmann else transformer_forward)(s)
    s.product("linear_gelu", N, DIM, FF, s.act(FF))
    s.product("linear", N, FF, DIM)
    s.add("add_norm", norms, 2 * s.stream() + s.act(2 * DIM) + s.stream(2))
    # Both products of the gradient with the logits made anew: four products in all.
    s.add("lm_loss_backward", 1, 3 * s.act(DIM) + 2 * 2 * VOCABULARY * DIM + 4 * VOCABULARY * DIM,
          8 * s.M * DIM * VOCABULARY)
    s.add("add_norm_backward", norms, s.act(2 * DIM) + 3 * s.stream() + s.stream(2))
    s.product("gelu_linear_backward", N, DIM, FF, 2 * s.act(FF))
    s.product("linear_backward", N, FF, DIM)
    s.weight_gradients(N, (FF, DIM), (DIM, FF))
    (grassmann_backward if is_grassmann else transformer_backward)(s)
    s.add("norm_backward", 1, s.act(DIM) + 3 * s.stream())
    s.add("embed_backward", 1, 3 * s.stream() + 4 * shape.length * DIM)
    s.add("squared_norm", 1, 4 * n)
    s.add("adamw", 1, 30 * n)
    s.add("finish_step", 1, 64)
    return s.operations


def floor_us(operation, rates):
    return 1e6 * max(operation.products / rates.operations, operation.bytes / rates.bandwidth)


def measured_us(profiles, kind, interval):
    """{operation: microseconds in a step} of the profile of this model; calls that nest take no interval."""
    for events in profiles:
        names = {o["name"] for o in events["operations"]}
        if ("plucker" in names) == (kind == "grassmann"):
            return {o["name"]: o["microseconds"] - o["calls"] * interval for o in events["operations"]}
    return {}


def operation_table(kind, rates, profiles):
    measured = measured_us(profiles, kind, rates.interval)
    yield f"| {kind}, L = 128, N = 6, B = 32 | a step | MB | GFLOP | floor, µs | measured, µs | share |"
    yield "|---|---|---|---|---|---|---|"
    operations = step(Shape(kind, 128, 6, 32))
    for name, o in operations.items():
        floor, us = floor_us(o, rates), measured.get(name)
        cells = (f"{us:.0f} | {100 * floor / us:.0f} %" if us else " | ")
        yield (f"| {name} | {o.count} | {o.bytes / 1e6:,.1f} | {o.products / 1e9:,.1f} | {floor:.1f} | {cells} |")
    floor, us = sum(floor_us(o, rates) for o in operations.values()), sum(measured.values())
    cells = (f"**{us:,.0f}** | **{100 * floor / us:.0f} %**" if us else " | ")
    yield f"| **all** | | | | **{floor:,.0f}** | {cells} |"


def step_table(rates):
    """The floor of whole steps: products at their rate, then the optimizer's bytes; all other traffic left out."""
    yield "| model | L | N | B | TFLOP | products, ms | optimizer, ms | floor, ms | tokens/s | operations, sum of floors, ms |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for length, layers, batch in ((128, 6, 32), (256, 12, 16), (256, 6, 128)):
        for kind in ("grassmann", "transformer"):
            shape = Shape(kind, length, layers, batch)
            operations = step(shape)
            # The logits that are made a second and third time are the implementation's choice.
            least = sum(o.products for o in operations.values()) - 2 * batch * length * DIM * VOCABULARY
            products, optimizer = least / rates.operations * 1e3, 34 * parameters(shape) / rates.bandwidth * 1e3
            total = products + optimizer
            each = sum(floor_us(o, rates) for o in operations.values()) / 1e3
            yield (f"| {kind} | {length} | {layers} | {batch} | {least / 1e12:.3f} | {products:.3f} | "
                   f"{optimizer:.3f} | {total:.3f} | {batch * length / total / 1e3:.2f} M | {each:.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=float, default=709e12, help="bf16 products, operations a second")
    parser.add_argument("--bandwidth", type=float, default=4.3e12, help="device memory, bytes a second")
    parser.add_argument("--interval", type=float, default=2.5, help="microseconds that timing adds to an operation")
    parser.add_argument("--profile", action="append", default=[], metavar="FILE")
    rates = parser.parse_args()
    profiles = [json.loads(line) for path in rates.profile for line in open(path) if '"profile"' in line]
    print("\n".join(step_table(rates)))
    for kind in ("grassmann", "transformer"):
        print("\n" + "\n".join(operation_table(kind, rates, profiles)))


if __name__ == "__main__":
    main()
