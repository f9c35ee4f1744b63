#include "products.h"

#include "plain_product.h"
#include "product_plan.h"

namespace gf::cuda {

Products::Products(Gpu& gpu) : gpu_(gpu) {}
Products::~Products() = default;

ProductPlan& Products::plan(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                            const void* bias) {
  const int64_t bias_alignment = bias == nullptr ? 0 : alignment(bias);
  const Key key = {a.rows,
                   a.cols,
                   a.ld,
                   a.transposed,
                   b.rows,
                   b.cols,
                   b.ld,
                   b.transposed,
                   c.ld,
                   a.element,
                   c.element,
                   accumulate,
                   alignment(a.data),
                   alignment(b.data),
                   alignment(c.data),
                   bias_alignment};
  std::unique_ptr<ProductPlan>& plan = plans_[key];
  if (plan == nullptr) plan = std::make_unique<ProductPlan>(gpu_, a, b, c, bias);
  return *plan;
}

void Products::multiply(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                        const void* bias_as_c, const float* bias) {
  ProductPlan& p = plan(a, b, c, accumulate, bias_as_c);
  if (p.chosen()) {
    p.run(*p.chosen(), a, b, c, accumulate, bias_as_c);
  } else {
    plain_product(gpu_, a, b, c, accumulate, bias);
  }
}

void Products::run(const Operand& a, const Operand& b, const Operand& c, bool accumulate,
                   const float* bias) {
  // cuBLASLt takes a bias of the output's type only.
  if (bias == nullptr || c.element == sizeof(float)) {
    multiply(a, b, c, accumulate, bias, bias);
  } else {
    multiply(a, b, c, accumulate, nullptr, nullptr);
    add_bias(gpu_, c, bias);
  }
}

void Products::run(const Operand& a, const Operand& b, const Operand& c, const Param& bias) {
  const void* as_c = bias.value.data;
  if (c.element != sizeof(float)) as_c = bias.act.data;
  multiply(a, b, c, false, as_c, bias.value.data);
}

}  // namespace gf::cuda
