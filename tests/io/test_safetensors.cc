#include "io/safetensors.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "base/error.h"
#include "fuzz/fuzz_safetensors.h"
#include "support/support.h"

namespace {

const std::string kPath = gf_test::scratch_directory() + "/tensors";

template <class T>
gf::TensorSource source(const char* name, const char* dtype, std::vector<int64_t> shape,
                        std::vector<T> values) {
  return {name, dtype, std::move(shape), [values = std::move(values)](const gf::Sink& sink) {
            // In two parts, as a device hands its memory over.
            const size_t half = values.size() / 2;
            sink(values.data(), half * sizeof(T));
            sink(values.data() + half, (values.size() - half) * sizeof(T));
          }};
}

std::vector<gf::TensorSource> sample_tensors() {
  return {source<float>("weight", "F32", {2, 3}, {1, -2, 3, -4, 5, -6.5f}),
          source<uint16_t>("half", "F16", {5}, {0x3c00, 0xc001, 0x0001, 0x7c00, 0x8000}),
          source<uint16_t>("bfloat", "BF16", {3}, {0x3f80, 0xc049, 0x7f80}),
          source<double>("double", "F64", {1, 2}, {1.0 / 3, -1e300}),
          source<int64_t>("ids", "I64", {2}, {7, -1}),
          source<float>("empty", "F32", {0, 4}, {}),
          source<float>("a", "F32", {}, {42})};
}

const gf::Metadata kSampleMetadata = {{"gf.config", R"({"layers": 6})"}, {"ü", "\n\"quoted\""}};

std::string bytes_of(const std::string& path) {
  return std::string(gf::MappedFile(path).bytes());
}

void write_bytes(const std::string& bytes) {
  std::ofstream(kPath, std::ios::binary) << bytes;
}

// A file of this header, as it stands, and so many bytes of data.
void write_file(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  write_bytes(std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
              std::string(data_bytes, 'x'));
}

void assert_damaged(const char* part) {
  gf_test::assert_fails(GF_ERROR_FORMAT, part, [] { gf::SafetensorsFile file(kPath); });
  gf_test::assert_fails(GF_ERROR_FORMAT, kPath.c_str(), [] { gf::SafetensorsFile file(kPath); });
}

void assert_header_refused(const std::string& header, size_t data_bytes, const char* part) {
  write_file(header, data_bytes);
  assert_damaged(part);
}

void assert_floats(const gf::SafetensorsFile& file, const char* name,
                   const std::vector<float>& expected) {
  const gf::TensorView* tensor = file.find(name);
  assert_non_null(tensor);
  std::vector<float> values(expected.size());
  file.read_floats(*tensor, values);
  assert_memory_equal(values.data(), expected.data(), expected.size() * sizeof(float));
}

// ---- Sound files -------------------------------------------------------------------------------

void what_is_written_reads_back(void**) {
  const auto written = sample_tensors();
  gf::write_safetensors(kPath, kSampleMetadata, written);
  const gf::SafetensorsFile file(kPath);
  assert_true(file.metadata() == kSampleMetadata);
  assert_int_equal(file.tensors().size(), written.size());
  for (const gf::TensorSource& tensor : written) {
    assert_non_null(file.find(tensor.name));
    assert_string_equal(file.find(tensor.name)->dtype.c_str(), tensor.dtype.c_str());
    assert_true(file.find(tensor.name)->shape == tensor.shape);
  }
  assert_string_equal(file.tensors().front().name.c_str(), "weight");
  assert_null(file.find("weigh"));
  int64_t ids[2];
  assert_int_equal(file.find("ids")->bytes.size(), sizeof ids);
  std::memcpy(ids, file.find("ids")->bytes.data(), sizeof ids);
  assert_true(ids[0] == 7 && ids[1] == -1);
}

void every_float_type_is_converted(void**) {
  gf::write_safetensors(kPath, {}, sample_tensors());
  const gf::SafetensorsFile file(kPath);
  const float infinity = std::numeric_limits<float>::infinity();
  assert_floats(file, "weight", {1, -2, 3, -4, 5, -6.5f});
  assert_floats(file, "half", {1, -2 - 0x1p-9f, 0x1p-24f, infinity, -0.0f});
  assert_floats(file, "bfloat", {1, -3.140625f, infinity});
  assert_floats(file, "double", {1.0f / 3, -infinity});
  assert_floats(file, "empty", {});
  assert_floats(file, "a", {42});
  gf_test::assert_fails(GF_ERROR_MISMATCH, "\"ids\" has dtype I64", [&] {
    assert_floats(file, "ids", {7, -1});
  });
  gf_test::assert_fails(GF_ERROR_MISMATCH, "\"weight\" has 6 values, expected 5", [&] {
    assert_floats(file, "weight", {1, 2, 3, 4, 5});
  });
}

void equal_content_gives_the_same_bytes(void**) {
  gf::write_safetensors(kPath, {{"b", "2"}, {"a", "1"}},
                        std::vector{source<float>("w", "F32", {2}, {1.0f, 2.0f})});
  const std::string header =
      R"({"__metadata__":{"a":"1","b":"2"},"w":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}} )";
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\x40", 8);
  assert_int_equal(header.size() % 8, 0);
  assert_true(bytes_of(kPath) ==
              std::string(1, static_cast<char>(header.size())) + std::string(7, 0) + header + data);
}

void foreign_headers_are_read(void**) {
  // As other writers make them: any order, blanks, escapes, other fields, data at any alignment.
  write_file(R"( { "b\u00e9" : {"shape":[1],"dtype":"F32","data_offsets":[1,5],"note":[1]},)"
             "\n\t"
             R"("a":{"data_offsets":[0,1],"dtype":"BOOL","shape":[]}, "__metadata__":{} } )",
             5);
  const gf::SafetensorsFile file(kPath);
  assert_int_equal(file.tensors().size(), 2);
  assert_int_equal(file.find("bé")->bytes.size(), 4);
  write_file("{}", 0);
  assert_int_equal(gf::SafetensorsFile(kPath).tensors().size(), 0);
}

// ---- Damage ------------------------------------------------------------------------------------

void damaged_lengths_are_refused(void**) {
  write_bytes("");
  assert_damaged("has 0 bytes, expected the 8");
  write_bytes("1234567");
  assert_damaged("has 7 bytes, expected the 8");
  write_bytes(std::string("\x03\0\0\0\0\0\0\0{}", 10));
  assert_damaged("header of 3 bytes, expected at most 2");
  write_bytes(std::string(8, '\xff') + "{}");
  assert_damaged("header of 18446744073709551615 bytes, expected at most 2");
}

void an_absurd_header_is_refused_unread(void**) {
  // Sparse: takes no room on the disk.
  write_bytes(std::string("\x01\xe1\xf5\x05\0\0\0\0", 8));  // 100,000,001
  assert_int_equal(::truncate(kPath.c_str(), 200'000'000), 0);
  assert_damaged("header of 100000001 bytes, expected at most 100000000");
}

void malformed_headers_are_refused(void**) {
  assert_header_refused("", 0, "is not JSON");
  assert_header_refused("{", 0, "is not JSON");
  assert_header_refused("{} x", 0, "is not JSON");
  assert_header_refused("{\"\xff\":0}", 0, "is not JSON");
  assert_header_refused("[]", 0, "no JSON object");
  assert_header_refused("null", 0, "no JSON object");
  assert_header_refused(R"({"__metadata__":[]})", 0, "__metadata__ is no JSON object");
  assert_header_refused(R"({"__metadata__":{"k":1}})", 0, "\"k\" is no string");
  assert_header_refused(R"({"w":1})", 0, "\"w\" is no JSON object");
  assert_header_refused(R"({"w":{"shape":[],"data_offsets":[0,4]}})", 4, "dtype is missing");
  assert_header_refused(R"({"w":{"dtype":4,"shape":[],"data_offsets":[0,4]}})", 4, "dtype is");
  assert_header_refused(R"({"w":{"dtype":"F32","data_offsets":[0,4]}})", 4, "shape is missing");
  assert_header_refused(R"({"w":{"dtype":"F32","shape":[]}})", 4, "data_offsets is missing");
}

void deep_nesting_is_refused(void**) {
  assert_header_refused(std::string(1'000'000, '['), 0, "nested deeper");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  assert_header_refused(objects, 0, "nested deeper");
}

void names_that_stand_twice_are_refused(void**) {
  const std::string w = R"("w":{"dtype":"F32","shape":[],"data_offsets":[0,4]})";
  assert_header_refused("{" + w + "," + w + "}", 4, "has \"w\" twice");
  assert_header_refused(R"({"w":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4,
                        "has \"dtype\" twice");
  assert_header_refused(R"({"__metadata__":{"k":"1","k":"2"}})", 0, "has \"k\" twice");
}

// A header with one tensor of these fields.
std::string one(const char* dtype, const char* shape, const char* offsets) {
  return gf::format(R"({"w":{"dtype":"%s","shape":%s,"data_offsets":%s}})", dtype, shape, offsets);
}

void tensors_that_do_not_fit_are_refused(void**) {
  write_file(one("F32", "[2]", "[0,8]"), 8);
  assert_int_equal(gf::SafetensorsFile(kPath).tensors().size(), 1);
  assert_header_refused(one("F33", "[2]", "[0,8]"), 8, "has dtype \"F33\"");
  assert_header_refused(one("F32", "[3]", "[0,8]"), 8, "\"w\" has 8 bytes of data, expected 12");
  assert_header_refused(one("F32", "[2]", "[0,8]"), 7, "bytes 0 to 8, expected within 7");
  assert_header_refused(one("F32", "[2]", "[8,0]"), 8, "bytes 8 to 0");
  assert_header_refused(one("F32", "[2]", "[0,8,8]"), 8, "has 3 data_offsets");
  assert_header_refused(one("F32", "[2]", "[0,-8]"), 8, "data_offsets holds something else");
  assert_header_refused(one("F32", "[2.0]", "[0,8]"), 8, "shape holds something else");
  assert_header_refused(one("F32", "[9223372036854775808]", "[0,8]"), 8, "something else");
  assert_header_refused(one("F32", "[99999999999999999999]", "[0,8]"), 8, "something else");
  assert_header_refused(one("F32", "[4294967296,4294967296]", "[0,0]"), 0, "more than 2^63");
  assert_header_refused(one("F32", "[4611686018427387904]", "[0,0]"), 0, "more than 2^63");
}

void gaps_and_overlaps_are_refused(void**) {
  const auto two = [](const char* a, const char* b) {
    return gf::format(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":%s},)"
                      R"("b":{"dtype":"U8","shape":[2],"data_offsets":%s}})",
                      a, b);
  };
  write_file(two("[2,4]", "[0,2]"), 4);
  assert_string_equal(gf::SafetensorsFile(kPath).tensors()[0].name.c_str(), "b");
  assert_header_refused(two("[0,2]", "[1,3]"), 3, "\"b\" begins at byte 1, expected 2");
  assert_header_refused(two("[0,2]", "[0,2]"), 2, "begins at byte 0, expected 2");
  assert_header_refused(two("[0,2]", "[3,5]"), 5, "\"b\" begins at byte 3, expected 2");
  assert_header_refused(two("[1,3]", "[3,5]"), 5, "\"a\" begins at byte 1, expected 0");
  assert_header_refused(two("[0,2]", "[2,4]"), 5, "5 bytes of data, expected 4");
}

void any_mutation_reads_or_fails_cleanly(void**) {
  gf::write_safetensors(kPath, kSampleMetadata, sample_tensors());
  const std::string sound = bytes_of(kPath);
  std::mt19937 random(1);
  int refused = 0;
  const int rounds = 4000;
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = sound;
    for (uint32_t edits = 1 + random() % 4; edits > 0 && !bytes.empty(); --edits) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
          break;
        case 2:
          bytes.resize(random() % 8 == 0 ? at : bytes.size());
          break;
        case 3:
          bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 16));
          break;
      }
    }
    write_bytes(bytes);
    refused += !gf_test::read_safetensors(kPath);
  }
  // Flips in the data are sound files; most other edits are not.
  assert_in_range(refused, rounds / 4, rounds - 1);
}

// ---- Writing that fails ------------------------------------------------------------------------

void a_full_disk_leaves_the_earlier_file(void**) {
  gf::write_safetensors(kPath, {}, sample_tensors());
  const std::string earlier = bytes_of(kPath);
  rlimit before;
  assert_int_equal(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {1 << 16, before.rlim_max};
  assert_int_equal(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::vector<float> values(1 << 20);
  gf_test::assert_fails(GF_ERROR_IO, kPath.c_str(), [&] {
    gf::write_safetensors(
        kPath, {},
        std::vector{source<float>("w", "F32", {static_cast<int64_t>(values.size())}, values)});
  });
  assert_int_equal(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  assert_true(bytes_of(kPath) == earlier);
}

void wrong_use_of_the_writer_leaves_the_earlier_file(void**) {
  gf::write_safetensors(kPath, {}, sample_tensors());
  const std::string earlier = bytes_of(kPath);
  const auto fails = [](gf_status status, const char* part, const gf::Metadata& metadata,
                        const std::vector<gf::TensorSource>& tensors) {
    gf_test::assert_fails(status, part, [&] { gf::write_safetensors(kPath, metadata, tensors); });
  };
  const auto w = source<float>("w", "F32", {1}, {1});
  fails(GF_ERROR_INTERNAL, "\"w\": wrote 4 bytes, expected 8", {},
        {source<float>("w", "F32", {2}, {1})});
  fails(GF_ERROR_INTERNAL, "\"w\": its name is taken", {}, {w, w});
  fails(GF_ERROR_INTERNAL, "its name is taken", {}, {source<float>("__metadata__", "F32", {}, {})});
  fails(GF_ERROR_INVALID_ARGUMENT, "not UTF-8", {{"k", "\xff"}}, {w});
  assert_true(bytes_of(kPath) == earlier);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_reads_back),
      cmocka_unit_test(every_float_type_is_converted),
      cmocka_unit_test(equal_content_gives_the_same_bytes),
      cmocka_unit_test(foreign_headers_are_read),
      cmocka_unit_test(damaged_lengths_are_refused),
      cmocka_unit_test(an_absurd_header_is_refused_unread),
      cmocka_unit_test(malformed_headers_are_refused),
      cmocka_unit_test(deep_nesting_is_refused),
      cmocka_unit_test(names_that_stand_twice_are_refused),
      cmocka_unit_test(tensors_that_do_not_fit_are_refused),
      cmocka_unit_test(gaps_and_overlaps_are_refused),
      cmocka_unit_test(any_mutation_reads_or_fails_cleanly),
      cmocka_unit_test(a_full_disk_leaves_the_earlier_file),
      cmocka_unit_test(wrong_use_of_the_writer_leaves_the_earlier_file),
  };
  return cmocka_run_group_tests_name("io/safetensors", tests, nullptr, nullptr);
}
