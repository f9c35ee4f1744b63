#!/usr/bin/env python3
"""What the kernels of a program cost, by name, from Nsight Compute; prints Markdown.

    ncu --csv --page raw --metrics gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum \\
        --clock-control none PROGRAM >kernels.csv
    kernel_table.py [--steps COUNT] [--full-names] kernels.csv

Takes both forms of the CSV, a column or a row for each metric, and dram__bytes.sum in place of the two. Profiled
kernels run one by one and find their caches cold: their sum is more than a step takes. With --steps counts and
times are those of one of so many steps.
"""

import argparse
import csv
import re
import sys
from collections import defaultdict

SECONDS = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1.0,
           "second": 1.0}
BYTES = {"byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}
TIME = "gpu__time_duration.sum"
TRAFFIC = ("dram__bytes.sum", "dram__bytes_read.sum", "dram__bytes_write.sum")


def number(text):
    return float(text.replace(",", "")) if text not in ("", "n/a") else 0.0


def base_units(metric, value, unit):
    scale = (SECONDS if metric == TIME else BYTES).get(unit)
    if scale is None:
        sys.exit(f"kernel_table.py: {metric} is in {unit!r}, which is not known")
    return number(value) * scale


def launches(lines):
    """{id: {"name": ..., metric: value in seconds or bytes}} in the order of launches."""
    rows = list(csv.reader(line for line in lines if line.startswith('"')))
    if not rows or "Kernel Name" not in rows[0]:
        sys.exit("kernel_table.py: no output of ncu --csv")
    head, *rows = rows
    at = {name: i for i, name in enumerate(head)}
    found = defaultdict(dict)
    if "Metric Name" in at:
        for row in rows:
            metric = row[at["Metric Name"]]
            if metric == TIME or metric in TRAFFIC:
                launch = found[row[at["ID"]]]
                launch["name"] = row[at["Kernel Name"]]
                launch[metric] = base_units(metric, row[at["Metric Value"]], row[at["Metric Unit"]])
        return found
    if TIME not in at:
        sys.exit(f"kernel_table.py: {TIME} is not among the metrics")
    units, *rows = rows
    for row in rows:
        launch = found[row[at["ID"]]]
        launch["name"] = row[at["Kernel Name"]]
        for metric in (TIME, *TRAFFIC):
            if metric in at:
                launch[metric] = base_units(metric, row[at[metric]], units[at[metric]])
    return found


def short(name):
    """The function's own name, without its return type, namespaces, template and call arguments."""
    name = name.replace("(anonymous namespace)::", "").replace("<unnamed>::", "")
    name = re.sub(r"^(void|static) ", "", name)
    depth, kept = 0, []
    for c in name:
        if c == "(" and depth == 0:
            break
        depth += c == "<"
        if depth == 0:
            kept.append(c)
        depth -= c == ">"
    return "".join(kept).split("::")[-1].strip() or name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=argparse.FileType(), help="- for standard input")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--full-names", action="store_true", help="one row for each instance of a template")
    args = parser.parse_args()
    kernels = defaultdict(lambda: [0, 0.0, 0.0])  # launches, seconds, bytes
    for launch in launches(args.file).values():
        sums = kernels[launch["name"] if args.full_names else short(launch["name"])]
        sums[0] += 1
        sums[1] += launch.get(TIME, 0.0)
        sums[2] += launch[TRAFFIC[0]] if TRAFFIC[0] in launch else sum(launch.get(m, 0.0) for m in TRAFFIC[1:])
    total = sum(seconds for _, seconds, _ in kernels.values())
    print("| kernel | launches | µs each | µs | share | MB each | GB/s |\n|---|---|---|---|---|---|---|")
    for name, (count, seconds, moved) in sorted(kernels.items(), key=lambda item: -item[1][1]):
        print(f"| `{name}` | {count / args.steps:g} | {1e6 * seconds / count:.2f} | {1e6 * seconds / args.steps:.1f} | "
              f"{100 * seconds / total:.1f} % | {moved / count / 1e6:.2f} | {moved / seconds / 1e9:,.0f} |")
    print(f"| **all** | {sum(k[0] for k in kernels.values()) / args.steps:g} | | {1e6 * total / args.steps:.1f} | | | "
          f"{sum(k[2] for k in kernels.values()) / total / 1e9:,.0f} |")


if __name__ == "__main__":
    main()
