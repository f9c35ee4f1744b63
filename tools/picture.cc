#include "picture.h"

#include "format.h"
#include "json_file.h"
#include "process.h"
#include "tool.h"

namespace tools {
namespace fs = std::filesystem;

Picture::Picture(std::string name, int width, int height) : name_(std::move(name)) {
  const std::string size = format("size %d,%d noenhanced background '#ffffff'", width, height);
  add("# gnuplot -e \"type='png'\" " + name_ + ".gp, or 'svg'");
  add("if (!exists('type')) type = 'png'");
  add("set encoding utf8");
  add("if (type eq 'svg') { set terminal svg " + size + " font 'Arial,15' }");
  add("if (type eq 'png') { set terminal pngcairo " + size + " font 'Sans,12' }");
  // What the two terminals take for a size differs.
  add("points = type eq 'svg' ? 0.55 : 1");
  add("title_font = type eq 'svg' ? ',20' : ',16'");
  add("set output '" + name_ + ".'.type");
  add("set border 3 lc rgb '#444444'");
  add("set tics nomirror");
  add("set grid ytics lc rgb '#dddddd' lt 1 lw 1");
}

void Picture::add_data(const std::string& name, const std::vector<std::string>& rows) {
  add(name + " << EOD");
  for (const std::string& row : rows) add(row);
  add("EOD");
}

void Picture::add_plot(const std::vector<std::string>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    add((i == 0 ? "plot " : "     ") + parts[i] + (i + 1 < parts.size() ? ", \\" : ""));
  }
}

void Picture::write(const fs::path& directory) const {
  replace_file(directory / (name_ + ".gp"), script_);
  for (const char* type : {"png", "svg"}) {
    const std::string setting = std::string("type='") + type + "'";
    const Finished drawn = run_to_end({"gnuplot", "-e", setting, name_ + ".gp"}, directory);
    if (drawn.status == kNotStarted) {
      throw Failure("no pictures: gnuplot is not installed (Debian package gnuplot-nox)");
    }
    if (drawn.status != 0) {
      throw Failure("gnuplot has not drawn " + (directory / (name_ + ".gp")).string());
    }
  }
}

std::string quoted(const std::string& text) {
  return format("'%s'", text.c_str());
}

}  // namespace tools
