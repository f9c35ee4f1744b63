#!/usr/bin/env python3
"""grassflow.h as an older and as a newer version of it would be.

Usage: resize_header.py older|newer HEADER OUTPUT

older: every struct lacks its last field, and the one before it where both have 32 bits: without one
of them it would be as large as before. newer: every struct ends with one that no version has.
"""

import re
import sys
from pathlib import Path

from header import resized

NARROW = re.compile(r"\s*(int32_t|float|gf_\w+(?<!_fn))\s+\w+")  # a callback is a pointer


def older(body):
    fields = body.rstrip().rstrip(";").split(";")
    narrow = all(NARROW.fullmatch(field) for field in fields[-2:])
    return ";".join(fields[: -2 if narrow else -1]) + ";"


CHANGES = {
    "older": older,
    "newer": lambda body: body + "\n  int64_t later;",
}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in CHANGES:
        sys.exit(__doc__)
    output = Path(sys.argv[3])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(resized(Path(sys.argv[2]).read_text(), CHANGES[sys.argv[1]]))


main()
