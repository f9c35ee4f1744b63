// Twenty steps on the sample corpus: prints, digit for digit, what examples/train_steps.c prints.
#include <cstdio>
#include <grassflow.hpp>

namespace {

void print_held_out(const grassflow::Model& model, const grassflow::Dataset& held_out) {
  const gf_eval_report report = model.evaluate(held_out);
  std::printf("held-out loss %.12f  perplexity %.12f\n", report.loss, report.perplexity);
}

void run(const char* path) {
  const grassflow::Context context;
  const grassflow::Tokenizer tokenizer(context, "byte");
  const grassflow::Dataset all(context, tokenizer.encode(context.sample_text(1, 50000)), 64);
  const int64_t held = 80, kept = all.info().chunks - held;
  const grassflow::Dataset train = all.slice(0, kept), held_out = all.slice(kept, held);

  grassflow::ModelConfig config(GF_MIXER_GRASSMANN);
  config.vocab_size = tokenizer.vocab_size();
  config.max_seq_len = 64, config.num_layers = 2, config.model_dim = 64, config.ff_dim = 256;
  grassflow::Model model(context, config, 1);

  grassflow::TrainOptions options;
  options.max_steps = 20, options.warmup_steps = 5, options.lr = 3e-3;
  grassflow::Trainer(model, train, options).train([](const gf_train_report& report) {
    std::printf("step %2d  loss %.12f\n", static_cast<int>(report.step), report.loss);
  });

  print_held_out(model, held_out);
  model.save(path);
  print_held_out(grassflow::Model::load(context, path), held_out);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: train_steps MODEL.safetensors\n"), 2;
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "train_steps: %s\n", error.what()), 1;
  }
  return 0;
}
