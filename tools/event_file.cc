#include "event_file.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstring>
#include <ctime>

#include "format.h"
#include "tool.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

// ---- CRC-32C: the Castagnoli polynomial, bits reversed ----

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    table[byte] = crc;
  }
  return table;
}

uint32_t crc32c(const std::string& data) {
  static constexpr std::array<uint32_t, 256> kTable = make_crc_table();
  uint32_t crc = ~0u;
  for (const char c : data) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 255];
  return ~crc;
}

// The CRC of data that hold their own CRC is a constant; masked, it is not.
uint32_t masked_crc(const std::string& data) {
  return std::rotr(crc32c(data), 15) + 0xa282ead8u;
}

// ---- The few parts of protobuf that an event needs ----

// Field numbers of the messages Event, SessionLog, Summary and Summary.Value.
enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7 };
enum SessionLogField { kStatus = 1 };
enum SummaryField { kValue = 1 };
enum ValueField { kTag = 1, kSimpleValue = 2 };
constexpr int64_t kStart = 1;  // SessionLog.SessionStatus

enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  return bytes += static_cast<char>(value);
}

std::string key(int field, WireType type) {
  return varint(static_cast<uint64_t>(field) << 3 | type);
}

std::string integer_field(int field, int64_t value) {
  return key(field, kVarint) + varint(static_cast<uint64_t>(value));
}

std::string double_field(int field, double value) {
  return key(field, kFixed64) + little_endian(value);
}

std::string float_field(int field, float value) {
  return key(field, kFixed32) + little_endian(value);
}

// A text, or a message within a message.
std::string bytes_field(int field, const std::string& bytes) {
  return key(field, kBytes) + varint(bytes.size()) + bytes;
}

std::string wall_time() {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return double_field(kWallTime, now.count());
}

// Names sort by time, and those of one second by their number.
fs::path new_path(const fs::path& directory) {
  const auto now = static_cast<long long>(std::time(nullptr));
  for (int number = 0;; ++number) {
    const fs::path path = directory / format("events.out.tfevents.%010lld.%04d", now, number);
    if (!fs::exists(path)) return path;
  }
}

}  // namespace

EventFile::EventFile(const fs::path& directory, int64_t steps)
    : path_(new_path(directory)), file_(path_, std::ios::binary) {
  write_record(wall_time() + bytes_field(kFileVersion, "brain.Event:2"));
  write_record(wall_time() + integer_field(kStep, steps + 1) +
               bytes_field(kSessionLog, integer_field(kStatus, kStart)));
}

void EventFile::write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    summary += bytes_field(
        kValue, bytes_field(kTag, tag) + float_field(kSimpleValue, static_cast<float>(value)));
  }
  write_record(wall_time() + integer_field(kStep, step) + bytes_field(kSummary, summary));
}

void EventFile::write_record(const std::string& event) {
  const std::string length = little_endian(static_cast<uint64_t>(event.size()));
  file_ << length << little_endian(masked_crc(length)) << event << little_endian(masked_crc(event))
        << std::flush;
  if (!file_) throw Failure("cannot write " + path_.string());
}

}  // namespace tools
