"""Twenty steps on the sample corpus: prints, digit for digit, what examples/train_steps.c prints."""

import sys

import grassflow as gf

TEXT_BYTES = 50_000
LENGTH = 64
HELD_OUT_CHUNKS = 80


def print_held_out(model: gf.Model, held_out: gf.Dataset) -> None:
    report = model.evaluate(held_out)
    print(f"held-out loss {report.loss:.12f}  perplexity {report.perplexity:.12f}")


def show(report: gf.TrainReport) -> None:
    print(f"step {report.step:2}  loss {report.loss:.12f}")


def main() -> None:
    if len(sys.argv) != 2:
        print("usage: train_steps MODEL.safetensors", file=sys.stderr)
        sys.exit(2)
    context = gf.Context()
    tokenizer = gf.Tokenizer(context, "byte")
    ids = tokenizer.encode(context.sample_text(seed=1, length=TEXT_BYTES))
    data = gf.Dataset(context, ids, LENGTH)
    train, held_out = data[:-HELD_OUT_CHUNKS], data[-HELD_OUT_CHUNKS:]

    config = gf.ModelConfig(tokenizer.vocab_size, max_seq_len=LENGTH, num_layers=2, model_dim=64,
                            ff_dim=256)
    model = gf.Model(context, config, seed=1)
    options = gf.TrainOptions(max_steps=20, warmup_steps=5, lr=3e-3)
    gf.Trainer(model, train, options).train(show)

    print_held_out(model, held_out)
    model.save(sys.argv[1])
    print_held_out(gf.Model.load(context, sys.argv[1]), held_out)


main()
