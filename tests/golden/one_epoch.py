#!/usr/bin/env python3
"""One epoch of WikiText-2 with a small configuration, by the PyTorch oracle: where the expected losses of
tests/train/test_one_epoch.cc come from.

    python3 one_epoch.py DATA REFERENCE [SEED ...]

DATA holds wikitext-2/ and bert-base-uncased/, REFERENCE models.py. Needs torch and tokenizers. Prints, for
each model and seed, the mean training loss of every hundred steps and the validation loss after the epoch.
The library draws other random numbers (weights, shuffle, dropout): compare with the spread over seeds.
"""
import math
import sys

import torch
from tokenizers import BertWordPieceTokenizer

LENGTH, LAYERS, DIM, FF, HEADS, REDUCED, BATCH = 128, 6, 64, 256, 4, 16, 32
LR, MIN_LR, WARMUP = 3e-3, 3e-4, 50
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def chunks_of(tokenizer, path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row + "\n" for row in file.read().split("\n")]
    text = "\n".join(row for row in rows if row.strip())
    ids = tokenizer.encode(text.replace("<unk>", "[UNK]")).ids  # the tokenised release's unknown word
    count = len(ids) // LENGTH
    return torch.tensor(ids[: count * LENGTH]).view(count, LENGTH).to(DEVICE)


def learning_rate(step, total):
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * (step - WARMUP) / (total - 1 - WARMUP)))


def run(models, kind, schedule, train, valid, seed):
    torch.manual_seed(seed)
    model = models.LanguageModel(kind, 30522, LENGTH, DIM, layers=LAYERS, ff=FF, heads=HEADS, reduced=REDUCED,
                                 schedule=schedule).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    batches = train[torch.randperm(len(train)).to(DEVICE)].split(BATCH)
    losses = []
    for step, ids in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(batches))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            model(ids, collapsed=True)[:, :-1].reshape(-1, 30522), ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
    losses = torch.stack(losses).tolist()
    model.eval()
    with torch.no_grad():
        held = sum(model.loss(ids, True).item() * len(ids) for ids in valid.split(BATCH)) / len(valid)
    curve = " ".join(f"{sum(losses[i:i + 100]) / len(losses[i:i + 100]):.4f}" for i in range(0, len(losses), 100))
    print(f"{kind} {schedule} seed {seed}: {curve} | validation {held:.4f}", flush=True)


def main():
    data, reference, *seeds = sys.argv[1:]
    sys.path.insert(0, reference)
    import models

    tokenizer = BertWordPieceTokenizer(f"{data}/bert-base-uncased/vocab.txt", lowercase=True)
    train, valid = (chunks_of(tokenizer, f"{data}/wikitext-2/wiki.{split}.tokens") for split in ("train", "valid"))
    print(f"{len(train)} and {len(valid)} chunks of {LENGTH}", flush=True)
    for seed in seeds or ["0"]:
        for kind, schedule in (("transformer", "all"), ("grassmann", "all"), ("grassmann", "per-layer")):
            run(models, kind, schedule, train, valid, int(seed))


if __name__ == "__main__":
    main()
