import grassflow as gf

context = gf.Context()
ids = gf.Tokenizer(context, "byte").encode(context.sample_text(seed=1, length=50_000))
data = gf.Dataset(context, ids, length=64)
model = gf.Model(context, gf.ModelConfig(vocab_size=256, model_dim=64), seed=1)
for report in gf.Trainer(model, data, gf.TrainOptions(max_steps=20, warmup_steps=5, lr=3e-3)):
    print(f"loss {report.loss:.4f}")
print(f"perplexity {model.evaluate(data[:80]).perplexity:.1f}")
model.save("model.safetensors")
