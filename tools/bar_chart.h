#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "picture.h"
#include "series.h"

namespace tools {

// Bars at places 0, 1, ..., at each one for every series, and their values above them.
class BarChart {
 public:
  // `shift`, in bars, is how far all of them stand to the right of their places.
  BarChart(const std::string& name, const std::string& title, const std::string& unit,
           double shift = 0);

  Picture& picture() { return picture_; }
  void add_place(const std::string& label) { labels_.push_back(label); }

  // The first place of figures that others have published: a line sets them apart.
  void add_border();

  // A bar at the last place. `low` and `high` are the ends of its whisker; equal for none.
  void add_bar(size_t series, bool published, double value, double low, double high,
               const std::string& text);

  // What somebody else has measured of the same, as a point on the latest bar.
  void add_mark(double value);

  // Throws Failure when gnuplot is missing or fails. `top` 0: as the bars want it.
  void draw(const std::filesystem::path& directory, const std::string& marks_title, double top = 0);

 private:
  struct Bar {
    double x;
    double value;
    double low, high;        // ends of the whisker
    double least, greatest;  // with the mark
    std::string text;
  };

  void include(double value);
  void plot(const std::string& marks_title);
  std::vector<std::string> rows_of(const std::vector<Bar>& bars) const;
  std::vector<std::string> texts(bool below) const;

  Picture picture_;
  double shift_;
  std::vector<std::string> labels_;
  std::map<std::pair<bool, size_t>, std::vector<Bar>> bars_;  // by published, series
  Bar* latest_ = nullptr;
  std::vector<std::string> marks_;
  double greatest_ = 0;
  double least_ = 0;
};

}  // namespace tools
