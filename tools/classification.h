#pragma once

#include <grassflow.h>

#include "display.h"
#include "json_file.h"

namespace tools {

// What is told of a pair classifier's evaluation.

// accuracy, loss, total_samples, <class>_accuracy, label_distribution and confusion_matrix, label
// by prediction.
Json classification_json(const gf_eval_report& report);

// Accuracy of each class, and what its pairs were taken for.
void print_classification(const gf_eval_report& report, Display& display);

}  // namespace tools
