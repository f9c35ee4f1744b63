#include "bar_chart.h"

#include <algorithm>

#include "format.h"

namespace tools {
namespace {

constexpr int kWidth = 1200, kHeight = 700;
constexpr double kPlaceShare = 0.84;      // of a place, that bars may fill
constexpr double kWidestSlot = 0.27;      // where several bars share a place
constexpr double kBarShare = 0.92;        // of a slot, that its bar fills
constexpr double kPublishedShare = 0.35;  // opacity of the bars of others

}  // namespace

BarChart::BarChart(const std::string& name, const std::string& title, const std::string& unit)
    : picture_(name, kWidth, kHeight) {
  picture_.add("set title " + quoted(title) + " font title_font");
  picture_.add("set ylabel " + quoted(unit));
  picture_.add("set bmargin at screen 0.2");
  picture_.add(
      "set key at screen 0.5, screen 0.055 center center horizontal Left reverse samplen 1.5");
  picture_.add("set style fill solid noborder");
}

void BarChart::add_border() {
  const double x = static_cast<double>(places_.size()) - 0.5;
  picture_.add(
      format("set arrow from %g, graph 0 to %g, graph 1 nohead dt 2 lc rgb '#888888'", x, x));
}

void BarChart::add_bar(size_t series, bool published, double value, double low, double high,
                       const std::string& text) {
  std::vector<Bar>& bars = bars_[{published, series}];
  bars.push_back({places_.size() - 1, places_.back().bars++, value, low, high, low, high, text});
  latest_ = &bars.back();
  include(low);
  include(high);
}

void BarChart::add_mark(double value) {
  marks_.push_back({*latest_, value});
  latest_->least = std::min(latest_->least, value);
  latest_->greatest = std::max(latest_->greatest, value);
  include(value);
}

void BarChart::draw(const std::filesystem::path& directory, const std::string& marks_title,
                    double top) {
  std::string tics;
  for (size_t i = 0; i < places_.size(); ++i) {
    tics += format("%s\"%s\" %zu", i == 0 ? "" : ", ", places_[i].label.c_str(), i);
  }
  picture_.add("set xtics (" + tics + ") scale 0");
  picture_.add(format("set xrange [-0.6:%g]", static_cast<double>(places_.size()) - 0.4));
  const double space = 0.1 * (greatest_ - least_);  // for the values above and below the bars
  picture_.add(format("set yrange [%g:%g]", least_ < 0 ? least_ - space : 0,
                      top > 0 ? top : greatest_ + space));
  plot(marks_title);
  picture_.write(directory);
}

void BarChart::include(double value) {
  greatest_ = std::max(greatest_, value);
  least_ = std::min(least_, value);
}

double BarChart::slot() const {
  size_t most = 1;
  for (const Place& place : places_) most = std::max(most, place.bars);
  const double share = kPlaceShare / static_cast<double>(most);
  return most == 1 ? share : std::min(share, kWidestSlot);
}

double BarChart::x_of(const Bar& bar) const {
  const auto last = static_cast<double>(places_[bar.place].bars - 1);
  return static_cast<double>(bar.place) + (static_cast<double>(bar.number) - last / 2) * slot();
}

std::vector<std::string> BarChart::rows_of(const std::vector<Bar>& bars) const {
  std::vector<std::string> rows;
  for (const Bar& bar : bars) {
    rows.push_back(format("%g %g %g %g", x_of(bar), bar.value, bar.low, bar.high));
  }
  return rows;
}

// The values that stand above their bars, or below those that hang.
std::vector<std::string> BarChart::texts(bool below) const {
  std::vector<std::string> rows;
  for (const auto& [key, bars] : bars_) {
    for (const Bar& bar : bars) {
      if ((bar.value < 0) != below) continue;
      rows.push_back(
          format("%g %g \"%s\"", x_of(bar), below ? bar.least : bar.greatest, bar.text.c_str()));
    }
  }
  return rows;
}

// Whiskers, points and values lie above all bars, the first two edged in white.
void BarChart::plot(const std::string& marks_title) {
  std::vector<std::string> parts, above;
  for (const auto& [key, bars] : bars_) {
    const auto& [published, series] = key;
    const std::string data = format("$bars%d%zu", published, series);
    picture_.add_data(data, rows_of(bars));
    const bool titled = !published || !bars_.contains({false, series});
    parts.push_back(format("%s using 1:2:(%g) with boxes lc rgb '%s' fs solid %g %s", data.c_str(),
                           kBarShare * slot(), kSeries[series].color,
                           published ? kPublishedShare : 1.0,
                           titled ? ("title " + quoted(kSeries[series].name)).c_str() : "notitle"));
    for (const char* line : {"lw 4 lc rgb '#ffffff'", "lw 1.5 lc rgb '#222222'"}) {
      above.push_back(data +
                      " using ($4 > $3 ? $1 : NaN):3:(0):($4 - $3) with vectors heads size "
                      "0.02,90 " +
                      line + " notitle");
    }
  }
  if (!marks_.empty()) {
    std::vector<std::string> rows;
    for (const Mark& mark : marks_) rows.push_back(format("%g %g", x_of(mark.bar), mark.value));
    picture_.add_data("$marks", rows);
    above.push_back("$marks using 1:2 with points pt 13 ps 2.4*points lc rgb '#ffffff' notitle");
    above.push_back("$marks using 1:2 with points pt 13 ps 1.6*points lc rgb '#000000' title " +
                    quoted(marks_title));
  }
  for (const bool below : {false, true}) {
    const std::vector<std::string> rows = texts(below);
    if (rows.empty()) continue;
    const std::string data = below ? "$below" : "$above";
    picture_.add_data(data, rows);
    above.push_back(data + " using 1:2:3 with labels center offset 0," + (below ? "-0.8" : "0.8") +
                    " tc rgb '#222222' notitle");
  }
  parts.insert(parts.end(), above.begin(), above.end());
  picture_.add_plot(parts);
}

}  // namespace tools
