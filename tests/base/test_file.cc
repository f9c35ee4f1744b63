#include "base/file.h"

#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "support/support.h"

namespace {

const std::string kPath = gf_test::scratch_directory() + "/file";

void write_text(const std::string& text) {
  gf::replace_file(kPath, [&](const gf::Sink& sink) { sink(text.data(), text.size()); });
}

void replaced_file_reads_back(void**) {
  write_text("first");
  write_text("second");
  assert_string_equal(std::string(gf::MappedFile(kPath).bytes()).c_str(), "second");
}

void large_and_small_writes_keep_their_order(void**) {
  const std::string large(3 << 20, 'x');
  gf::replace_file(kPath, [&](const gf::Sink& sink) {
    sink("a", 1);
    sink(large.data(), large.size());
    sink("b", 1);
  });
  assert_true(gf::MappedFile(kPath).bytes() == "a" + large + "b");
}

void a_failing_writer_leaves_the_earlier_file(void**) {
  write_text("earlier");
  gf_test::assert_fails(GF_ERROR_FORMAT, "planned", [] {
    gf::replace_file(kPath, [](const gf::Sink& sink) {
      sink("later", 5);
      gf::throw_error(GF_ERROR_FORMAT, "planned");
    });
  });
  assert_true(gf::MappedFile(kPath).bytes() == "earlier");
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(gf_test::scratch_directory())) {
    files += entry.is_regular_file();
  }
  assert_int_equal(files, 1);
}

void missing_files_and_directories_are_named(void**) {
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "/nowhere/x",
                        [] { gf::MappedFile file("/nowhere/x"); });
  gf_test::assert_fails(GF_ERROR_NOT_FOUND, "no-such-directory/file", [] {
    gf::replace_file(gf_test::scratch_directory() + "/no-such-directory/file",
                     [](const gf::Sink&) {});
  });
  gf_test::assert_fails(GF_ERROR_IO, "not a regular file",
                        [] { gf::MappedFile file(gf_test::scratch_directory()); });
}

void an_empty_file_maps_to_nothing(void**) {
  write_text("");
  assert_int_equal(gf::MappedFile(kPath).bytes().size(), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(replaced_file_reads_back),
      cmocka_unit_test(large_and_small_writes_keep_their_order),
      cmocka_unit_test(a_failing_writer_leaves_the_earlier_file),
      cmocka_unit_test(missing_files_and_directories_are_named),
      cmocka_unit_test(an_empty_file_maps_to_nothing),
  };
  return cmocka_run_group_tests_name("base/file", tests, nullptr, nullptr);
}
