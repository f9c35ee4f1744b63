#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "picture.h"
#include "series.h"

namespace tools {

// Bars at places 0, 1, ..., side by side in the order in which they were added, and their values
// above them.
class BarChart {
 public:
  BarChart(const std::string& name, const std::string& title, const std::string& unit);

  Picture& picture() { return picture_; }
  void add_place(const std::string& label) { places_.push_back({label}); }

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
  struct Place {
    std::string label;
    size_t bars = 0;
  };
  struct Bar {
    size_t place;
    size_t number;  // among those of the place
    double value;
    double low, high;        // ends of the whisker
    double least, greatest;  // with the mark
    std::string text;
  };

  struct Mark {
    Bar bar;
    double value;
  };

  void include(double value);
  double slot() const;  // from bar to bar; places are 1 apart
  double x_of(const Bar& bar) const;
  void plot(const std::string& marks_title);
  std::vector<std::string> rows_of(const std::vector<Bar>& bars) const;
  std::vector<std::string> texts(bool below) const;

  Picture picture_;
  std::vector<Place> places_;
  std::map<std::pair<bool, size_t>, std::vector<Bar>> bars_;  // by published, series
  Bar* latest_ = nullptr;
  std::vector<Mark> marks_;
  double greatest_ = 0;
  double least_ = 0;
};

}  // namespace tools
