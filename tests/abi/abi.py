#!/usr/bin/env python3
"""The binary interface, held against what tests/abi records of it.

Usage: abi.py symbols|layout|abidiff|update HEADER LIBRARY

symbols  what libgrassflow.so exports, with versions, is symbols.txt
layout   every field of every public struct is where layout.txt has it
abidiff  libabigail finds no change but additions against grassflow.abi; LIBRARY needs debug info
update   writes all three anew: additions are recorded so. What breaks callers is refused; after
         deliberately breaking them, which takes a new soname, delete the three files first.

What is added and not recorded fails symbols or layout, so that nothing is promised by accident.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from header import structs

HERE = Path(__file__).parent
UPDATE = "tests/abi/update.sh records it"

# Only what the exported functions lead to and the header shows; nothing that depends on the place of
# the build or on what else is linked in. Only for 64 bits, of which there is but one layout.
ABIDW = ["abidw", "--exported-interfaces-only", "--drop-private-types", "--no-show-locs",
         "--no-comp-dir-path", "--no-corpus-path", "--no-elf-needed", "--type-id-style", "hash"]


def output(*command):
    return subprocess.run(list(map(str, command)), check=True, text=True, capture_output=True).stdout


def read_symbols(header, library):
    lines = output("nm", "-D", "--defined-only", "--with-symbol-versions", library).splitlines()
    names = [line.split()[-1] for line in lines]
    return sorted(name for name in names if name != "GF_0" and not name.startswith("GF_0@"))


def read_layout(header, library):
    """Lines such as "gf_dataset_info.chunks at 16 of 8 bytes: int64_t"."""
    probe = ["#include <grassflow.h>", "#include <stdio.h>", "int main(void) {"]
    for name, fields in structs(Path(header).read_text()):
        for field, kind in fields:
            probe.append(f'printf("{name}.{field} at %zu of %zu bytes: {kind}\\n", '
                         f"offsetof({name}, {field}), sizeof((({name}*)0)->{field}));")
    probe.append("return 0; }")
    with tempfile.TemporaryDirectory() as directory:
        source, program = Path(directory) / "probe.c", Path(directory) / "probe"
        source.write_text("\n".join(probe))
        output("cc", "-I", Path(header).parent, source, "-o", program)
        return output(program).splitlines()


def write_dump(header, library, path):
    output(*ABIDW, "--headers-dir", Path(header).parent, "--out-file", path, library)
    lines = path.read_text().splitlines()
    # Sources are named by where they lie on the machine of the build, or, by ccache, from there.
    place = re.compile(
        f"{re.escape(str(Path(header).resolve().parent.parent))}/|(?<=path=')(\\.\\./)+")
    path.write_text("\n".join(place.sub("", line) for line in lines) + "\n")


def compare(file, now):
    """(what breaks callers, what is only new) of lines against a recorded file."""
    path = HERE / file
    recorded = path.read_text().splitlines() if path.exists() else []
    gone = [f"{file}: {line}: removed or changed" for line in recorded if line not in now]
    return gone, [f"{file}: {line}: not recorded; {UPDATE}" for line in now if line not in recorded]


def symbols(header, library):
    return sum(compare("symbols.txt", read_symbols(header, library)), [])


def layout(header, library):
    return sum(compare("layout.txt", read_layout(header, library)), [])


def abidiff(header, library):
    with tempfile.TemporaryDirectory() as directory:
        now = Path(directory) / "now.abi"
        write_dump(header, library, now)
        if "<class-decl" not in now.read_text():
            return [f"{library}: no debug info: build with -g, as RelWithDebInfo does"]
        run = subprocess.run(["abidiff", "--no-added-syms", "--suppressions",
                              str(HERE / "growth.suppr"), str(HERE / "grassflow.abi"), str(now)],
                             text=True, capture_output=True)
    return [run.stdout + run.stderr] if run.returncode else []


def update(header, library):
    if (HERE / "grassflow.abi").exists():
        broken = [*compare("symbols.txt", read_symbols(header, library))[0],
                  *compare("layout.txt", read_layout(header, library))[0],
                  *abidiff(header, library)]
        if broken:
            return broken
    (HERE / "symbols.txt").write_text("\n".join(read_symbols(header, library)) + "\n")
    (HERE / "layout.txt").write_text("\n".join(read_layout(header, library)) + "\n")
    write_dump(header, library, HERE / "grassflow.abi")
    return []


COMMANDS = [symbols, layout, abidiff, update]


def main():
    commands = {command.__name__: command for command in COMMANDS}
    if len(sys.argv) != 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    problems = commands[sys.argv[1]](*sys.argv[2:])
    if problems:
        sys.exit("\n".join(problems))


main()
