#!/usr/bin/env python3
"""Writes tests/golden/tokenizers.json: what the public tokenizers make of texts hard to get right.

usage: make_reference.py DATA_DIR > tests/golden/tokenizers.json
DATA_DIR holds gpt2/ and bert-base-uncased/. Needs: pip install tokenizers==0.23.3 tiktoken==0.14.0
"""

import array
import hashlib
import json
import random
import sys

import tiktoken
import tiktoken.load
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer

DATA = sys.argv[1]
VOCAB, MERGES = DATA + "/gpt2/vocab.json", DATA + "/gpt2/merges.txt"

bert = BertWordPieceTokenizer(DATA + "/bert-base-uncased/vocab.txt")
gpt2 = ByteLevelBPETokenizer(VOCAB, MERGES)
openai = tiktoken.Encoding(
    "gpt2",
    pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    mergeable_ranks=tiktoken.load.data_gym_to_mergeable_bpe_ranks(MERGES, VOCAB),
    special_tokens={"<|endoftext|>": 50256},
)

TEXTS = [
    "",
    "Hello world",
    " Hello  World \n\n",
    "I'm sure they'll've said it's y'all'd DON'T WE'RE 'sabc ''s",
    "tabs\tand\r\nline ends\n\n\n  x\u00a0y\u3000z \u2003 ",
    "in 1984, 3.14 and 1,000,000 \u0663\u0664 \u00bd \u2167 x\u00b2",
    "na\u00efve caf\u00e9 \u00c5ngstr\u00f6m cafe\u0301 \u1e9e \u0130stanbul \u01c5 \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0419\u0401",
    "\u4f60\u597d\u4e16\u754c abc\u4e2ddef \uf900 \U0002f800 \U0002b820 \U00020000",
    "\ud55c\uad6d\uc5b4 \u304c\u304e \u30d0\u30ca\u30ca \uff71\uff9e",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u0645\u0631\u062d\u0628\u064b\u0627",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1e9\U0001f1ea",
    "<|endoftext|> a<|endoftext|>b",
    "[CLS] a [SEP][MASK]b [UNK [PAD]] [sep] [UNK]\u0301",
    "<unk> @-@ @,@ == Title ==",
    "zero\x00byte \x1f\x7f\x85 soft\u00adhyphen \ufeffbom \ufffd",
    "\u2260 \u226e \u1fef \u037e \u0387 <\u0338",
    "a\u0316\u0301\u0300 \u302e\u302f \u302e\U0001d16d\U0001d165 \U0001d15e\U0001d160 a\U0001e000\u302e",
    "\u302e\u0941\U0001d165 \u302e\u034f\U0001d165 \u302e\u0300\U0001d165 \U0001e94a\u302e\U0001e94a",
    "\u1734 \u166d \U000111c9 \U00010d50 \U00016ea0 \u1c89 \U00011938 \u08d4 \U00031350",
    "a" * 100 + " " + "a" * 101 + " " + "\u00e9" * 100 + " " + "e\u0301" * 101,
    "supercalifragilisticexpialidocious antidisestablishmentarianism zzzyx",
    " " * 40 + "x" + "\n" * 17 + "\t \t",
    "!" * 50 + "=-" * 20 + "'" * 9,
]

PAIRS = [("a b c d", "e f g"), ("a b", "e f g h"), ("a b c", "e f g"), ("", "x y"), ("x", "")]

DECODED = [
    [101, 7592, 1010, 2088, 999, 102, 0, 0],
    [2015, 1037, 2015, 100, 103, 2133, 1005, 1055, 1029, 1012],
    [],
]


def random_texts(count, characters):
    generator = random.Random(1)
    for _ in range(count):
        yield "".join(generator.choice(characters) for _ in range(generator.randrange(1, 30)))


# Characters whose order and neighbours matter.
DELICATE = (
    " \n\ta1!'st\u00e9\u0301\u0300\u0316\u302e\u302f\u0941\u034f\u094d\u00a0\u2003\u3000\u4e2d"
    "\uac00\u1100\u1161\u11a8\u0338<\u00ad\0\u200d[]\U0001d165\U0001d15e\U0001e000"
)
MARKS = (
    "a\uac00 \u302e\u302f\U0001d165\U0001d16d\U0001d15e\U0001e94a\u08d4\u1bf2\u0301\u0316\u0941"
    "\u034f\u0f75\u1734\U0001193d\u1715\u200d"
)


def gpt2_ids(text):
    ids = gpt2.encode(text).ids
    assert ids == openai.encode_ordinary(text), text
    return ids


def bert_ids(text):
    return bert.encode(text, add_special_tokens=False).ids


def bert_words(text):
    """The words before they are looked up: as ids, all unknown ones are the same."""
    normal = bert.normalizer.normalize_str(text)
    return [word for word, _ in bert.pre_tokenizer.pre_tokenize_str(normal)]


def digests(first, last):
    """SHA-256 of the ids and words of every code point from first to last in six surroundings."""
    gpt2, bert, words = array.array("H"), array.array("H"), hashlib.sha256()
    for c in range(first, last + 1):
        if not 0xD800 <= c < 0xE000:
            text = "a%sb 1%s2 !%s! %s %s%s" % ((chr(c),) * 6)
            gpt2.extend(gpt2_ids(text))
            bert.extend(bert_ids(text))
            words.update("".join(word + "\n" for word in bert_words(text)).encode())
    return {
        "first": first,
        "last": last,
        "gpt2": hashlib.sha256(gpt2.tobytes()).hexdigest(),
        "bert": hashlib.sha256(bert.tobytes()).hexdigest(),
        "words": words.hexdigest(),
    }


def pairs():
    for a, b in PAIRS:
        for max_length in (0, 4, 5, 6, 7, 8):
            if max_length:
                bert.enable_truncation(max_length, strategy="longest_first")
            yield {"a": a, "b": b, "max": max_length, "ids": bert.encode(a, b).ids}
            bert.no_truncation()


def main():
    texts = TEXTS + list(random_texts(60, DELICATE))
    blocks = [(c, c + 0x3FFF) for c in range(0, 0x40000, 0x4000)]
    blocks += [(0xE0000, 0xE0FFF), (0x10F000, 0x10FFFF)]
    reference = {
        "texts": [
            {"text": text, "gpt2": gpt2_ids(text), "bert": bert_ids(text)} for text in texts
        ],
        "pairs": list(pairs()),
        "decoded": [
            {
                "ids": ids,
                "text": bert.decode(ids, skip_special_tokens=False),
                "plain": bert.decode(ids, skip_special_tokens=True),
            }
            for ids in DECODED
        ],
        "words": [{"text": text, "words": bert_words(text)} for text in random_texts(60, MARKS)],
        "code_points": [digests(first, last) for first, last in blocks],
    }
    lines = [
        f'"{key}": [\n' + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"
        for key, entries in reference.items()
    ]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
