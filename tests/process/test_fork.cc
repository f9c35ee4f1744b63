// A process that has a context with threads forks: the child execs a program that trains too, or
// goes on by itself with a context of its own; both get the parent's result, and the parent goes
// on.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "api/api_test.h"

namespace {

using namespace gf_test;

// Trains for some steps on a context; the last loss, to its last digit.
std::string train(gf_context* context) {
  gf_model* model = make_model(context);
  gf_dataset* dataset = make_dataset(context);
  gf_trainer* trainer = nullptr;
  gf_train_report report = {};
  report.struct_size = sizeof report;
  gf_status status = gf_trainer_create(model, dataset, nullptr, &trainer);
  for (int step = 0; step < 10 && status == GF_OK; ++step) status = gf_train_step(trainer, &report);
  gf_trainer_free(trainer);
  gf_dataset_free(dataset);
  gf_model_free(model);
  char text[64];
  std::snprintf(text, sizeof text, "%s %.17g", gf_status_name(status), report.loss);
  return text;
}

std::string train_afresh() {
  gf_context* context = make_context();
  const std::string text = train(context);
  gf_context_free(context);
  return text;
}

// What a forked child that runs `body` writes to the descriptor it is given.
template <class Body>
std::string output_of_child(const Body& body) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    close(ends[0]);
    body(ends[1]);
    _exit(1);
  }
  close(ends[1]);
  std::string text;
  char buffer[256];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return text;
}

void a_forked_child_execs(void**) {
  gf_context* context = make_context();
  const std::string wanted = train(context);
  const std::string got = output_of_child([](int out) {
    dup2(out, STDOUT_FILENO);
    execl("/proc/self/exe", "test_fork", "--train", nullptr);
  });
  assert_string_equal(got.c_str(), wanted.c_str());
  assert_string_equal(train(context).c_str(), wanted.c_str());
  gf_context_free(context);
}

void a_forked_child_makes_a_context_of_its_own(void**) {
  if (on_gpu()) return;  // CUDA itself does not outlive a fork
  gf_context* context = make_context();
  const std::string wanted = train(context);
  const std::string got = output_of_child([](int out) {
    const std::string text = train_afresh();
    if (write(out, text.data(), text.size()) == static_cast<ssize_t>(text.size())) _exit(0);
  });
  assert_string_equal(got.c_str(), wanted.c_str());
  assert_string_equal(train(context).c_str(), wanted.c_str());
  gf_context_free(context);
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) return std::fputs(train_afresh().c_str(), stdout) < 0;
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_forked_child_execs),
      cmocka_unit_test(a_forked_child_makes_a_context_of_its_own),
  };
  return cmocka_run_group_tests_name("process/fork", tests, nullptr, nullptr);
}
