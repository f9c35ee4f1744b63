// Pairs, classifiers and what an evaluation says of them, as a C program meets them.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "api/api_test.h"

namespace {

using namespace gf_test;

constexpr int32_t kLongest = 128;

std::string sample_lines(gf_context* context, int64_t pairs) {
  size_t size = 0;
  assert_int_equal(gf_sample_pairs(context, 1, pairs, nullptr, 0, &size), GF_OK);
  std::string text(size, '\0');
  assert_int_equal(gf_sample_pairs(context, 1, pairs, text.data(), size, &size), GF_OK);
  return text;
}

gf_dataset* make_pairs(gf_context* context, int64_t pairs, gf_pair_report* report = nullptr) {
  gf_tokenizer* tokenizer = nullptr;
  assert_int_equal(gf_tokenizer_load(context, "byte", nullptr, &tokenizer), GF_OK);
  const std::string text = sample_lines(context, pairs);
  gf_dataset* dataset = nullptr;
  assert_int_equal(gf_dataset_from_snli_text(context, tokenizer, text.data(), text.size(), kLongest,
                                             report, &dataset),
                   GF_OK);
  gf_tokenizer_free(tokenizer);
  return dataset;
}

gf_model* make_classifier(gf_context* context) {
  gf_model_config config = small_config(GF_MIXER_TRANSFORMER);
  config.max_seq_len = kLongest;
  config.num_classes = GF_SNLI_CLASSES;
  gf_model* model = nullptr;
  assert_int_equal(gf_model_create(context, &config, 7, &model), GF_OK);
  return model;
}

void datasets_of_pairs_say_what_they_hold(void**) {
  gf_context* context = make_context();
  gf_pair_report report = {};
  report.struct_size = sizeof report;
  gf_dataset* dataset = make_pairs(context, 90, &report);
  gf_dataset_info info = {};
  info.struct_size = sizeof info;
  assert_int_equal(gf_dataset_get_info(dataset, &info), GF_OK);
  assert_int_equal(info.chunks, 90);
  assert_int_equal(info.buckets, 8);
  assert_int_equal(info.num_labels, 3);
  assert_int_equal(info.tokens, info.ids);
  assert_true(info.padded_tokens > info.tokens);
  assert_int_equal(info.length, report.longest);
  assert_int_equal(report.pairs, 90);
  assert_true(std::fabs(report.mean_length * 90 - static_cast<double>(info.tokens)) < 1e-6);
  for (int c = 0; c < GF_MAX_CLASSES; ++c) {
    assert_int_equal(info.label_counts[c], c < 3 ? 30 : 0);
    assert_int_equal(report.label_counts[c], c < 3 ? 30 : 0);
  }
  gf_dataset* part = nullptr;
  assert_int_equal(gf_dataset_slice(dataset, 10, 5, &part), GF_OK);
  assert_int_equal(gf_dataset_get_info(part, &info), GF_OK);
  assert_int_equal(info.chunks, 5);
  gf_dataset_free(part);
  gf_dataset_free(dataset);

  // As a caller of an earlier version would ask: what its struct has no room for stays untouched.
  gf_dataset* chunks = make_dataset(context, 4);
  std::memset(&info, 0x5a, sizeof info);
  info.struct_size = offsetof(gf_dataset_info, buckets);
  assert_int_equal(gf_dataset_get_info(chunks, &info), GF_OK);
  assert_int_equal(info.length, kLength);
  assert_int_equal(info.tokens, 0x5a5a5a5a5a5a5a5a);
  info.struct_size = sizeof info;
  assert_int_equal(gf_dataset_get_info(chunks, &info), GF_OK);
  assert_int_equal(info.tokens, 4 * kLength);
  assert_int_equal(info.padded_tokens, 4 * kLength);
  assert_int_equal(info.num_labels, 0);
  gf_dataset_free(chunks);
  gf_context_free(context);
}

void a_classifier_trains_and_is_told_apart_by_class(void**) {
  gf_context* context = make_context();
  gf_model* model = make_classifier(context);
  gf_dataset* dataset = make_pairs(context, 60);
  gf_train_options options;
  gf_train_options_init(&options);
  options.batch_size = 8;
  options.epochs = 2;
  gf_trainer* trainer = nullptr;
  assert_int_equal(gf_trainer_create(model, dataset, &options, &trainer), GF_OK);
  gf_train_report report = {};
  report.struct_size = sizeof report;
  int64_t tokens = 0;
  while (gf_train_step(trainer, &report) == GF_OK) tokens += report.tokens;
  gf_train_state state = {};
  state.struct_size = sizeof state;
  assert_int_equal(gf_trainer_get_state(trainer, &state), GF_OK);
  gf_dataset_info info = {};
  info.struct_size = sizeof info;
  gf_dataset_get_info(dataset, &info);
  assert_int_equal(state.tokens, tokens);
  assert_int_equal(tokens, 2 * info.tokens);
  gf_trainer_free(trainer);

  gf_eval_report found = {};
  found.struct_size = sizeof found;
  assert_int_equal(gf_eval(model, dataset, 16, &found), GF_OK);
  assert_int_equal(found.num_classes, 3);
  assert_int_equal(found.sequences, 60);
  assert_int_equal(found.tokens, info.tokens);
  int64_t right = 0;
  for (int i = 0; i < 3; ++i) {
    int64_t of_class = 0;
    for (int j = 0; j < 3; ++j) of_class += found.confusion[i][j];
    assert_int_equal(of_class, 20);
    assert_int_equal(found.class_counts[i], 20);
    assert_true(found.class_accuracy[i] == static_cast<double>(found.confusion[i][i]) / 20);
    right += found.confusion[i][i];
  }
  assert_true(found.accuracy == static_cast<double>(right) / 60);
  assert_int_equal(found.confusion[3][3], 0);
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

void logits_of_classes_agree_with_the_evaluation(void**) {
  gf_context* context = make_context();
  gf_model* model = make_classifier(context);
  const int32_t ids[] = {1, 2, 3, 9, 9, 4, 5, 6, 7, 8}, lengths[] = {3, 5}, labels[] = {2, 0};
  std::vector<float> padded(6), whole(3), alone(3);
  assert_int_equal(gf_model_classify(model, ids, lengths, 2, 5, padded.data()), GF_OK);
  assert_int_equal(gf_model_classify(model, ids + 5, nullptr, 1, 5, whole.data()), GF_OK);
  assert_int_equal(gf_model_classify(model, ids, nullptr, 1, 3, alone.data()), GF_OK);
  for (size_t c = 0; c < 3; ++c) {
    assert_true(std::fabs(padded[c] - alone[c]) < by_precision(1e-6, 1e-3));
    assert_true(std::fabs(padded[3 + c] - whole[c]) < by_precision(1e-6, 1e-3));
  }
  const int32_t unpadded[] = {1, 2, 3, 4, 5, 6, 7, 8};
  gf_dataset* dataset = nullptr;
  assert_int_equal(gf_dataset_from_pairs(context, unpadded, lengths, labels, 2, &dataset), GF_OK);
  gf_eval_report found = {};
  found.struct_size = sizeof found;
  assert_int_equal(gf_eval(model, dataset, 0, &found), GF_OK);
  double loss = 0;
  for (size_t b = 0; b < 2; ++b) {
    double sum = 0;
    for (size_t c = 0; c < 3; ++c) sum += std::exp(double{padded[3 * b + c]});
    loss += (std::log(sum) - padded[3 * b + static_cast<size_t>(labels[b])]) / 2;
  }
  assert_true(std::fabs(found.loss - loss) < by_precision(1e-6, 1e-3));
  gf_dataset_free(dataset);
  gf_model_free(model);
  gf_context_free(context);
}

void what_does_not_fit_is_named(void**) {
  gf_context* context = make_context();
  gf_model *classifier = make_classifier(context), *language = make_model(context);
  const int32_t ids[] = {1, 2, 3, 4}, lengths[] = {3, 1};
  float logits[6];
  const auto refused = [&](gf_status status, const char* text) {
    assert_error(context, status, GF_ERROR_INVALID_ARGUMENT, text);
  };
  refused(gf_model_forward(classifier, ids, 1, 2, logits), "gf_model_classify()");
  refused(gf_model_classify(language, ids, nullptr, 1, 2, logits), "gf_model_forward()");
  refused(gf_model_classify(classifier, ids, lengths, 2, 2, logits), "lengths[0] is 3, expected 1");
  refused(gf_model_classify(classifier, ids, nullptr, 0, 2, logits), "batch_size is 0");
  refused(gf_model_classify(classifier, ids, nullptr, 1, 129, logits), "129 ids");
  refused(gf_model_classify(classifier, nullptr, nullptr, 1, 2, logits), "ids is NULL");
  gf_dataset* dataset = nullptr;
  refused(gf_dataset_from_pairs(context, ids, nullptr, lengths, 1, &dataset), "lengths is NULL");
  refused(gf_dataset_from_pairs(context, ids, lengths, lengths, 0, &dataset), "count is 0");
  gf_model_config config = small_config(GF_MIXER_TRANSFORMER);
  config.num_classes = GF_MAX_CLASSES + 1;
  gf_model* model = nullptr;
  refused(gf_model_create(context, &config, 1, &model), "num_classes is 17, expected 0 to 16");
  gf_tokenizer* tokenizer = nullptr;
  assert_int_equal(gf_tokenizer_load(context, "byte", nullptr, &tokenizer), GF_OK);
  assert_error(context,
               gf_dataset_from_snli_text(context, tokenizer, "{", 1, 16, nullptr, &dataset),
               GF_ERROR_FORMAT, "text: line 1");
  assert_error(context,
               gf_dataset_from_snli_file(context, tokenizer, "/nowhere/x", 16, nullptr, &dataset),
               GF_ERROR_NOT_FOUND, "/nowhere/x");
  gf_pair_report report = {};
  refused(gf_dataset_from_snli_text(context, tokenizer, "{", 1, 16, &report, &dataset),
          "struct_size");
  gf_tokenizer_free(tokenizer);
  gf_model_free(language);
  gf_model_free(classifier);
  gf_context_free(context);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(datasets_of_pairs_say_what_they_hold),
      cmocka_unit_test(a_classifier_trains_and_is_told_apart_by_class),
      cmocka_unit_test(logits_of_classes_agree_with_the_evaluation),
      cmocka_unit_test(what_does_not_fit_is_named),
  };
  return cmocka_run_group_tests_name("api/pairs", tests, nullptr, nullptr);
}
