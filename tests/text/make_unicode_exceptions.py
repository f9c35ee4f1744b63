#!/usr/bin/env python3
"""Writes src/text/unicode_exceptions.h: where the published tokenizers and utf8proc disagree.

The published tokenizers carry character tables of several Unicode versions. This asks them about
every code point and lists those that they class otherwise than some Unicode version a system's
utf8proc may have (14 to 17): Python's unicodedata, the system's utf8proc and the module regex stand
for the versions. Needs: pip install tokenizers regex; libutf8proc.
"""

import ctypes
import ctypes.util
import unicodedata

import regex
from tokenizers import normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
WHITE_SPACE = regex.compile(r"\p{White_Space}")

utf8proc = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
utf8proc.utf8proc_category_string.restype = ctypes.c_char_p


class Properties(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


utf8proc.utf8proc_get_property.restype = ctypes.POINTER(Properties)

REGEX_CATEGORIES = {
    name: regex.compile(rf"\p{{{name}}}") for name in "L N P Mn Cc Cf Co".split()
}


def categories(c):
    """The general category of c in each Unicode version at hand."""
    newest = next((n for n, r in REGEX_CATEGORIES.items() if r.match(chr(c))), "Cn")
    return {
        unicodedata.category(chr(c)),
        utf8proc.utf8proc_category_string(c).decode(),
        newest,
    }


def combining_class(c):
    return utf8proc.utf8proc_get_property(c).contents.combining_class


def gpt2_class(category):
    return {"L": "kLetter", "N": "kNumber"}.get(category[0], "kSymbol")


byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)


def published_gpt2_class(c):
    for neighbour, name in (("a", "kLetter"), ("1", "kNumber"), ("!", "kSymbol")):
        if len(byte_level.pre_tokenize_str(neighbour + chr(c))) == 1:
            return name
    return "space"


def bert_class(category):
    if category in ("Cc", "Cf", "Co"):
        return "kControl"
    if category == "Mn":
        return "kNonspacing"
    return "kPunctuation" if category[0] == "P" else "kPlain"


bert = normalizers.BertNormalizer()
bert_clean = normalizers.BertNormalizer(strip_accents=False, lowercase=False)
bert_pieces = pre_tokenizers.BertPreTokenizer()


def published_bert_class(c):
    if bert_clean.normalize_str(chr(c)) == "":
        return "kControl"
    if bert.normalize_str("a" + chr(c) + "b") == "ab":
        return "kNonspacing"
    pieces = bert_pieces.pre_tokenize_str("a" + chr(c) + "b")
    return "kPunctuation" if len(pieces) == 3 else "kPlain"


nfd = normalizers.NFD()


def published_combining_class(c):
    """utf8proc's combining class if the published tokenizer orders c by it, else 0."""
    own = combining_class(c)
    for other in ("\u302e", "\U0001d165"):
        other_class = combining_class(ord(other))
        after = chr(c) + other if not own > other_class else other + chr(c)
        before = other + chr(c) if not (own and other_class > own) else chr(c) + other
        if nfd.normalize_str("a" + chr(c) + other) != "a" + after:
            return 0
        if nfd.normalize_str("a" + other + chr(c)) != "a" + before:
            return 0
    return own


strip_and_lower = normalizers.BertNormalizer(
    clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=True
)


def published_fold(c):
    return strip_and_lower.normalize_str(chr(c))


def ranges(values):
    """[(code point, value)] in order to [(first, last, value)]."""
    result = []
    for c, value in values:
        if result and result[-1][1] == c - 1 and result[-1][2] == value:
            result[-1][1] = c
        else:
            result.append([c, c, value])
    return result


def table(comment, declaration, values, show):
    print(f"\n// {comment}")
    print(f"inline constexpr {declaration}[] = {{")
    for first, last, value in ranges(values):
        print(f"    {{0x{first:X}, 0x{last:X}, {show(value)}}},")
    print("};")


def main():
    gpt2, bert_classes, marks, whole, lower = [], [], [], [], []
    for c in CODE_POINTS:
        if WHITE_SPACE.match(chr(c)):
            continue
        known = categories(c)
        published = published_gpt2_class(c)
        if {gpt2_class(category) for category in known} != {published}:
            gpt2.append((c, published))
        published = published_bert_class(c)
        if c != 0xFFFD and {bert_class(category) for category in known} != {published}:
            folded = unicodedata.normalize("NFD", chr(c))[0]
            if published != "kPunctuation" or folded == chr(c):
                bert_classes.append((c, published))
        if published not in ("kControl", "kNonspacing") and combining_class(c) and published_combining_class(c):
            marks.append((c, combining_class(c)))
        decomposed = regex.sub(r"\p{Mn}", "", unicodedata.normalize("NFD", chr(c)))
        fold = published_fold(c)
        if len(fold) == 1 and fold != chr(c) and fold != decomposed.lower():
            lower.append((c, ord(fold) - c))
        if nfd.normalize_str(chr(c)) == chr(c) and c in DECOMPOSED_SINCE_UNICODE_9:
            whole.append((c, True))
    print(HEAD)
    table(
        "GPT-2, both in Hugging Face tokenizers 0.23 and tiktoken 0.14: Unicode 16.",
        "CodePointRange<Gpt2Class> kGpt2Exceptions",
        gpt2,
        lambda v: f"Gpt2Class::{v}",
    )
    table(
        "BERT, Hugging Face tokenizers 0.23: categories of Unicode 8.",
        "CodePointRange<BertClass> kBertExceptions",
        bert_classes,
        lambda v: f"BertClass::{v}",
    )
    table(
        "BERT: combining class of the marks that are kept (Mc, and Mn newer than Unicode 8); all\n"
        "// others that are kept have class 0. Unicode 9.",
        "CodePointRange<uint8_t> kBertMarks",
        marks,
        str,
    )
    table(
        "BERT: characters that stay whole, their decompositions being newer than Unicode 9.",
        "CodePointRange<bool> kBertWhole",
        whole,
        lambda v: "true",
    )
    table(
        "BERT: distance to the lower-case form, for letters that got one after Unicode 14 (17).",
        "CodePointRange<int32_t> kBertLowerCase",
        lower,
        str,
    )
    print("\n}  // namespace gf")


# UnicodeData.txt of Unicode 17: canonical decompositions that Unicode 9 does not have.
DECOMPOSED_SINCE_UNICODE_9 = {
    0x105C9, 0x105E4, 0x11383, 0x11385, 0x1138E, 0x11391, 0x113C5, 0x113C7, 0x113C8, 0x11938,
    *range(0x16121, 0x16129), 0x16D68, 0x16D69, 0x16D6A,
}  # fmt: skip

HEAD = """\
// Written by tests/text/make_unicode_exceptions.py: where the published tokenizers class a code
// point otherwise than some Unicode version from 14 to 17, any of which utf8proc may have.
#pragma once

#include <cstdint>

#include "text/unicode.h"

namespace gf {

enum class Gpt2Class : uint8_t { kByCategory, kSymbol, kLetter, kNumber };
enum class BertClass : uint8_t { kByCategory, kPlain, kControl, kNonspacing, kPunctuation };"""

if __name__ == "__main__":
    main()
