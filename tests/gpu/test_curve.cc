// The first steps of the study's training on the real WikiText-2: the loss on a GPU follows that of
// the CPU, kept in tests/golden/curve_*.json since it takes the CPU most of an hour.
//
//   GF_TEST_DEVICE=cpu build/tests/test_gpu_curve --write grassmann tests/golden
//
// writes the curve of a mixer anew, the same on any number of threads.

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "support/device_under_test.h"
#include "support/support.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

namespace {

constexpr int32_t kLength = 128;
constexpr int64_t kSteps = 300, kMean = 25;  // steps, and steps of one point of the curve

using Curve = std::vector<double>;

struct Mixer {
  const char* name;
  gf_mixer mixer;
};
constexpr Mixer kMixers[] = {{"grassmann", GF_MIXER_GRASSMANN},
                             {"transformer", GF_MIXER_TRANSFORMER}};

std::string file_of(const std::string& directory, const std::string& mixer) {
  return directory + "/curve_" + mixer + ".json";
}

std::shared_ptr<const gf::Dataset> wikitext(const std::string& directory) {
  const auto tokenizer = gf::load_tokenizer("bert", directory);
  return std::make_shared<gf::Dataset>(gf::dataset_from_text_file(
      *tokenizer, directory + "/wikitext-2/wiki.train.tokens", GF_TEXT_WIKITEXT, kLength));
}

// Mean training losses under the study's recipe, which are the options' defaults.
Curve train(gf_mixer mixer, std::shared_ptr<gf::Device> device,
            std::shared_ptr<const gf::Dataset> data) {
  gf_model_config config = gf::default_config(mixer);
  config.vocab_size = 30522;
  config.max_seq_len = kLength;
  auto model = std::make_shared<gf::Model>(std::move(device), gf::ModelConfig(config));
  model->initialise(0);
  gf::Trainer trainer(model, std::move(data), {});
  Curve curve;
  for (double sum = 0; trainer.progress().state.step < kSteps;) {
    const gf::StepReport report = trainer.step();
    sum += report.loss;
    if (report.step % kMean != 0) continue;
    curve.push_back(sum / static_cast<double>(kMean));
    print_message("step %d: %.5f, %.2f s a step\n", static_cast<int>(report.step), curve.back(),
                  report.seconds);
    sum = 0;
  }
  return curve;
}

// Both curves begin at the same weights and see the same batches with the same dropout; what rounds
// differently drifts apart by far less than this.
void assert_follows(const char* name, gf_mixer mixer, std::shared_ptr<const gf::Dataset> data) {
  const double tolerance = gf_test::by_precision(0.003, 0.01);
  std::ifstream file(file_of(gf_test::source_path("golden"), name));
  const Curve expected = nlohmann::json::parse(file).at("loss").get<Curve>();
  const Curve found = train(mixer, gf_test::make_test_device(0), std::move(data));
  assert_int_equal(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(found[i] / expected[i] - 1);
    print_message("%s, steps to %d: %.5f, on the CPU %.5f, apart by %.2e\n", name,
                  static_cast<int>((i + 1) * kMean), found[i], expected[i], error);
    if (!(error < tolerance)) fail_msg("%s: allowed %.1e", name, tolerance);
  }
}

void the_loss_follows_the_cpus(void**) {
  const std::string directory = gf_test::data_directory("the loss on WikiText-2");
  if (directory.empty()) skip();
  const auto data = wikitext(directory);
  for (const auto& [name, mixer] : kMixers) assert_follows(name, mixer, data);
}

int write(const std::string& wanted, const std::string& directory) {
  for (const auto& [name, mixer] : kMixers) {
    if (wanted != name) continue;
    nlohmann::ordered_json curve;
    curve["steps"] = kSteps;
    curve["steps_of_a_mean"] = kMean;
    curve["loss"] =
        train(mixer, gf_test::make_test_device(1), wikitext(gf_test::data_directory("the curve")));
    std::ofstream(file_of(directory, name)) << curve.dump(1) << "\n";
    return 0;
  }
  print_error("no mixer is called %s\n", wanted.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--write") return write(argv[2], argv[3]);
  const CMUnitTest tests[] = {
      cmocka_unit_test(the_loss_follows_the_cpus),
  };
  if (!gf_test::on_gpu()) {
    print_message("[  SKIPPED ] gpu/curve: the device is the CPU; see GF_TEST_DEVICE\n");
    return gf_test::kSkipped;
  }
  return cmocka_run_group_tests_name("gpu/curve", tests, nullptr, nullptr);
}
