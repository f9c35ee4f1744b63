#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tools {

// A script of gnuplot, which makes the same picture as PNG or SVG.
class Picture {
 public:
  Picture(std::string name, int width, int height);

  const std::string& name() const { return name_; }
  void add(const std::string& line) { script_ += line + "\n"; }
  // Rows of columns under a name "$...", for plot commands.
  void add_data(const std::string& name, const std::vector<std::string>& rows);

  // One plot of all the parts, later ones above.
  void add_plot(const std::vector<std::string>& parts);

  // NAME.gp, NAME.png and NAME.svg in the directory. Throws Failure when gnuplot is missing or
  // fails.
  void write(const std::filesystem::path& directory) const;

 private:
  std::string name_;
  std::string script_;
};

std::string quoted(const std::string& text);

}  // namespace tools
