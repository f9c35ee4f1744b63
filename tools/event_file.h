#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace tools {

// A file of TensorBoard events: scalars by step. Each program that writes to a directory has a file
// of its own there, and TensorBoard reads them in the order of their names.
//
// A file is a row of records, each the length of its data (8 bytes, little-endian), the masked
// CRC-32C of these 8 bytes, the data, and the masked CRC-32C of the data. Data are a protobuf
// message `Event`: https://github.com/tensorflow/tensorboard, compat/proto/event.proto.
class EventFile {
 public:
  // A new file in an existing directory. Of what earlier files hold, TensorBoard drops the steps
  // after `steps`: they are taken again. Throws Failure naming the file.
  EventFile(const std::filesystem::path& directory, int64_t steps);

  void write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);

 private:
  void write_record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace tools
