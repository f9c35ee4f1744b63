#include "reference/classifier.h"

#include "reference/products.h"

namespace reference {
namespace {

// (softmax - one-hot of the label) / B, and what a row adds to loss and confusion.
Matrix gradient_of(const Matrix& logits, const std::vector<int32_t>& labels, Classifier& result) {
  Matrix dlogits(logits.rows, logits.cols);
  for (int64_t b = 0; b < logits.rows; ++b) {
    const int32_t label = labels[static_cast<size_t>(b)];
    double sum = 0;
    int64_t largest = 0;
    for (int64_t c = 0; c < logits.cols; ++c) {
      sum += std::exp(logits(b, c));
      if (logits(b, c) > logits(b, largest)) largest = c;
    }
    for (int64_t c = 0; c < logits.cols; ++c) {
      dlogits(b, c) =
          (std::exp(logits(b, c)) / sum - (c == label)) / static_cast<double>(logits.rows);
    }
    result.loss += std::log(sum) - logits(b, label);
    result.confusion(label, largest) += 1;
  }
  return dlogits;
}

}  // namespace

Classifier classify(const Matrix& h, int64_t length, const std::vector<int32_t>& lengths,
                    const std::vector<int32_t>& labels, const Matrix& factors, const Matrix& weight,
                    const Matrix& bias) {
  const auto B = static_cast<int64_t>(lengths.size());
  Classifier result;
  result.pooled = Matrix(B, h.cols);
  result.confusion = Matrix(weight.rows, weight.rows);
  result.dh = Matrix(h.rows, h.cols);
  for (int64_t b = 0; b < B; ++b) {
    const int32_t count = lengths[static_cast<size_t>(b)];
    for (int64_t j = 0; j < h.cols; ++j) {
      for (int64_t t = 0; t < count; ++t) result.pooled(b, j) += h(b * length + t, j) / count;
      result.pooled(b, j) *= factors(b, j);
    }
  }
  result.logits = linear(result.pooled, weight, bias);
  const Matrix dlogits = gradient_of(result.logits, labels, result);
  const LinearGradients gradients = linear_backward(dlogits, result.pooled, weight);
  result.dweight = gradients.weight;
  result.dbias = gradients.bias;
  for (int64_t b = 0; b < B; ++b) {
    const int32_t count = lengths[static_cast<size_t>(b)];
    for (int64_t t = 0; t < count; ++t) {
      for (int64_t j = 0; j < h.cols; ++j) {
        result.dh(b * length + t, j) = gradients.x(b, j) * factors(b, j) / count;
      }
    }
  }
  return result;
}

}  // namespace reference
