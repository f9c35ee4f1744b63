#include <cstdio>
#include <grassflow.hpp>

int main() {
  const grassflow::Context context;
  const grassflow::Tokenizer bytes(context, "byte");
  const grassflow::Dataset data(context, bytes.encode(context.sample_text(1, 50000)), 64);
  grassflow::ModelConfig config(GF_MIXER_GRASSMANN);
  config.vocab_size = 256, config.model_dim = 64;
  grassflow::Model model(context, config, 1);
  grassflow::TrainOptions options;
  options.max_steps = 20, options.warmup_steps = 5, options.lr = 3e-3;
  grassflow::Trainer(model, data, options).train([](const gf_train_report& report) {
    std::printf("loss %.4f\n", report.loss);
  });
  std::printf("perplexity %.1f\n", model.evaluate(data.slice(0, 80)).perplexity);
  model.save("model.safetensors");
}
