#!/usr/bin/env python3
"""The tables of gpu.sh from its JSON lines, as Markdown.

    gpu_table.py RESULTS.jsonl

Lines of bench_gpu --json and pytorch_peer.py, each with "used_MiB", the GPU memory that its process took, and
"purpose": "table" or "scaling". Several of one side and shape are averaged.
"""

import json
import sys
from collections import defaultdict

# Tokens a second: (at least, aim) of training, on one H200.
TARGETS = {(128, 6, 32): (3.0e6, 4.5e6), (256, 12, 16): (1.8e6, 3.2e6), (256, 6, 128): (4.0e6, 5.5e6)}
EVAL_FACTOR = 2.0  # of the training rate, at least
MEMORY_SHARE = 0.5  # of PyTorch's, at most


def read(path):
    """{purpose: {(kind, L, N, B): {side: averaged line}}}; sides: ours, study, best."""
    lines = defaultdict(list)
    with open(path) as file:
        for line in map(json.loads, file):
            shape = (line["kind"], line["L"], line["N"], line["B"])
            side = "ours" if line["side"] == "grassflow" else line["variant"]
            lines[line["purpose"], shape, side].append(line)
    found = defaultdict(lambda: defaultdict(dict))
    for (purpose, shape, side), several in lines.items():
        found[purpose][shape][side] = average(several)
    return found


def average(lines):
    """Of times; everything else is the first's. Rates are of the averaged times."""
    mean, first = dict(lines[0]), lines[0]
    for key in ("ms", "eval_ms"):
        if first.get(key):
            mean[key] = sum(line[key] for line in lines) / len(lines)
    mean["used_MiB"] = max(line.get("used_MiB", 0) for line in lines)
    mean["spread"] = max(line["ms"] for line in lines) / min(line["ms"] for line in lines) - 1
    tokens = first["L"] * first["B"]
    mean["rate"] = tokens * 1e3 / mean["ms"]
    mean["eval_rate"] = tokens * 1e3 / mean["eval_ms"] if mean.get("eval_ms") else None
    return mean


def millions(rate):
    return "-" if not rate else f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:,.0f} k"


def ratio(a, b):
    return f"{a / b:.2f}" if a and b else "-"


def percent(a, b):
    return f"{100 * a / b:.0f} %" if a and b else "-"


def gigabytes(bytes):
    return f"{bytes / 2**30:.2f}" if bytes else "-"


def name(shape):
    return f"{shape[0]} | {shape[1]} | {shape[2]} | {shape[3]}"


def reached(rate, targets):
    return "aim" if rate >= targets[1] else "at least" if rate >= targets[0] else "neither"


def table(rows):
    """Rows of cells, the first of which are the headings."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * sum(c.count("|") + 1 for c in head), *rest])


def speed(cases):
    rows = [["model | L | N | B", "PyTorch study", "PyTorch best", "ours, ms", "ours", "ours / best", "at least",
             "aim", "reached", "share of the floor", "two runs differ by"]]
    for shape, sides in cases.items():
        ours, best = sides.get("ours", {}), sides.get("best", {})
        targets = TARGETS.get(shape[1:])
        rate = ours.get("rate")
        rows.append([name(shape), millions(sides.get("study", {}).get("rate")), millions(best.get("rate")),
                     f"{ours['ms']:.3f}" if ours else "-", millions(rate), ratio(rate, best.get("rate")),
                     *(map(millions, targets) if targets else ("-", "-")),
                     reached(rate, targets) if rate and targets else "-",
                     percent(ours.get("floor_ms"), ours.get("ms")),
                     f"{100 * ours['spread']:.1f} %" if ours else "-"])
    return table(rows)


def evaluation_and_memory(cases):
    rows = [["model | L | N | B", "evaluation: PyTorch best", "ours", "ours / its training", "share of the floor",
             "memory, GiB: PyTorch best, peak allocated", "its process", "ours, promised", "process",
             "promised / allocated", "process / process"]]
    for shape, sides in cases.items():
        ours, best = sides.get("ours", {}), sides.get("best", {})
        allocated, promised = best.get("peak_GiB", 0) * 2**30, ours.get("promised_bytes")
        used = [side.get("used_MiB", 0) * 2**20 for side in (best, ours)]
        rows.append([name(shape), millions(best.get("eval_rate")), millions(ours.get("eval_rate")),
                     ratio(ours.get("eval_rate"), ours.get("rate")),
                     percent(ours.get("eval_floor_ms"), ours.get("eval_ms")), gigabytes(allocated),
                     gigabytes(used[0]), gigabytes(promised), gigabytes(used[1]), ratio(promised, allocated),
                     ratio(used[1], used[0])])
    return table(rows)


def scaling(cases):
    """By length: both models beside each other, here and in PyTorch where that ran."""
    columns = [(kind, side) for side in ("ours", "best") for kind in ("grassmann", "transformer")
               if any(side in sides for (k, *_), sides in cases.items() if k == kind)]
    title = lambda kind, side: kind if side == "ours" else f"PyTorch {kind}"
    rows = [["T | B", *(f"{title(*c)}, ms | ns a token" for c in columns), "grassmann / transformer"]]
    for length, layers, batch in sorted({shape[1:] for shape in cases}):
        ms = [cases.get((kind, length, layers, batch), {}).get(side, {}).get("ms") for kind, side in columns]
        cells = [f"{t:.3f} | {t * 1e6 / (length * batch):.2f}" if t else "- | -" for t in ms]
        rows.append([f"{length} | {batch}", *cells, ratio(*ms[:2]) if len(ms) > 1 else "-"])
    return table(rows)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    results = read(sys.argv[1])
    if results["table"]:
        print("Training, tokens a second:\n\n" + speed(results["table"]))
        print(f"\nEvaluation in tokens a second (wanted: {EVAL_FACTOR:g} times the training rate) and memory (wanted: "
              f"{MEMORY_SHARE:g} of PyTorch's peak):\n\n" + evaluation_and_memory(results["table"]))
    if results["scaling"]:
        print("\nTraining by length, 65,536 tokens a step, N = 6:\n\n" + scaling(results["scaling"]))
    recipes = {side["recipe"] for case in results["table"].values() for key, side in case.items() if key == "best"}
    if recipes:
        print("\nPyTorch best (weights, attention, mode of torch.compile): " + "; ".join(sorted(recipes)) + ".")


if __name__ == "__main__":
    main()
