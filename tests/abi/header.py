"""The structs of grassflow.h, read from its text."""

import re

STRUCT = re.compile(r"typedef struct (gf_\w+) \{\n(.*?)\n\} \1;", re.S)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
FIELD = re.compile(r"([\w\s*]+?)\b(\w+)(\[\w+\])?\s*;")


def structs(header):
    """(name, its fields as pairs of name and type) of every struct with a body."""
    for name, body in STRUCT.findall(header):
        yield name, [(field, " ".join(f"{kind}{array}".split()))
                     for kind, field, array in FIELD.findall(COMMENT.sub("", body))]


def resized(header, change):
    """The header with the body of every struct changed by change(fields' text without comments)."""

    def replace(match):
        return f"typedef struct {match[1]} {{\n{change(COMMENT.sub('', match[2]))}\n}} {match[1]};"

    return STRUCT.sub(replace, header)
