#include "classification.h"

#include "format.h"

namespace tools {
namespace {

constexpr const char* kClasses[GF_SNLI_CLASSES] = {"entailment", "neutral", "contradiction"};

}  // namespace

Json classification_json(const gf_eval_report& report) {
  Json json = {
      {"accuracy", report.accuracy}, {"loss", report.loss}, {"total_samples", report.sequences}};
  Json distribution, matrix = Json::array();
  for (int i = 0; i < GF_SNLI_CLASSES; ++i) {
    json[std::string(kClasses[i]) + "_accuracy"] = report.class_accuracy[i];
    distribution[kClasses[i]] = report.class_counts[i];
    matrix.push_back(
        std::vector<int64_t>(report.confusion[i], report.confusion[i] + GF_SNLI_CLASSES));
  }
  json["label_distribution"] = distribution;
  json["confusion_matrix"] = matrix;
  return json;
}

void print_classification(const gf_eval_report& report, Display& display) {
  display.line(format("%-14s %9s %9s   %s", "class", "pairs", "accuracy",
                      "taken for entailment      neutral  contradiction"));
  for (int i = 0; i < GF_SNLI_CLASSES; ++i) {
    display.line(format("%-14s %9s %9s   %20s %12s %14s", kClasses[i],
                        with_thousands(report.class_counts[i]).c_str(),
                        format_share(report.class_accuracy[i]).c_str(),
                        with_thousands(report.confusion[i][0]).c_str(),
                        with_thousands(report.confusion[i][1]).c_str(),
                        with_thousands(report.confusion[i][2]).c_str()));
  }
}

}  // namespace tools
