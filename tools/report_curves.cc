#include <algorithm>
#include <cstring>

#include "format.h"
#include "picture.h"
#include "report_pictures.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr int kWidth = 1200, kPanelHeight = 360, kOneRowHeight = 550;

struct Panel {
  const Measure* measure = nullptr;
  std::string title;
  std::vector<std::string> parts;  // of its plot
  double least = 0, greatest = 0;  // of the curves
  size_t epochs = 0;
};

// The best epoch is marked in the third column.
std::vector<std::string> curve_rows(const ReportRun& run, const std::vector<double>& values) {
  const int64_t best = run.results.value("best_epoch", int64_t{0});
  std::vector<std::string> rows;
  for (size_t e = 0; e < values.size(); ++e) {
    rows.push_back(format("%zu %g %d", e + 1, values[e], best == static_cast<int64_t>(e) + 1));
  }
  return rows;
}

// The curves of one size, one for each seed.
Panel make_panel(Picture& picture, const std::vector<Group>& groups, const Size& size,
                 size_t number) {
  Panel panel;
  panel.measure = &measure_of(size.task);
  for (const Series& series : kSeries) {
    const Group* group = find_group(groups, size, series);
    if (!group) continue;
    panel.title = size_title(size);
    for (const ReportRun* run : group->runs) {
      const std::vector<double> values = run->validation_by_epoch();
      const std::vector<std::string> rows = curve_rows(*run, values);
      if (rows.empty()) continue;
      const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
      panel.least = panel.parts.empty() ? *least : std::min(panel.least, *least);
      panel.greatest = std::max(panel.greatest, *greatest);
      panel.epochs = std::max(panel.epochs, values.size());
      const std::string data = format("$curve_%zu_%zu", number, panel.parts.size());
      picture.add_data(data, rows);
      panel.parts.push_back(format("%s using 1:2 with lines lw %g lc rgb '%s' notitle",
                                   data.c_str(), group->runs.size() > 1 ? 1.5 : 2.5, series.color));
      panel.parts.push_back(
          format("%s using 1:($3 == 1 ? $2 : NaN) with points pt 7 ps 1.3*points lc rgb '%s' "
                 "notitle",
                 data.c_str(), series.color));
    }
  }
  return panel;
}

// The legend of all panels, below them. A key of gnuplot's own keeps to the width of one panel.
void add_legend(Picture& picture, const std::vector<Group>& groups, double y) {
  constexpr double kLine = 0.03, kCharacter = 0.008;  // widths, in that of the picture
  std::vector<const Series*> used;
  size_t characters = 0;
  for (const Series& series : kSeries) {
    if (std::none_of(groups.begin(), groups.end(),
                     [&](const Group& group) { return &group.series() == &series; })) {
      continue;
    }
    used.push_back(&series);
    characters += std::strlen(series.name);
  }
  const std::string last = "point: best epoch";
  characters += last.size();
  double x = 0.5 - static_cast<double>(characters) * kCharacter / 2 -
             static_cast<double>(used.size()) * kLine;
  for (const Series* series : used) {
    picture.add(
        format("set arrow from screen %g, screen %g to screen %g, screen %g nohead lw 3 lc "
               "rgb '%s'",
               x, y, x + kLine, y, series->color));
    x += 1.2 * kLine;
    picture.add(format("set label '%s' at screen %g, screen %g left", series->name, x, y));
    x += static_cast<double>(std::strlen(series->name)) * kCharacter + 0.8 * kLine;
  }
  picture.add(format("set label '%s' at screen %g, screen %g left", last.c_str(), x, y));
}

// Those of a logarithmic axis of perplexities; gnuplot's own are a decade apart.
std::string perplexity_tics() {
  std::string tics;
  for (const char* tic :
       {"1",   "1.2", "1.5", "1.7", "2",   "2.5", "3",   "4",    "5",    "7",
        "10",  "15",  "20",  "30",  "40",  "50",  "70",  "85",   "100",  "120",
        "150", "200", "250", "300", "400", "500", "700", "1000", "2000", "5000"}) {
    tics += (tics.empty() ? "" : ", ") + std::string(tic);
  }
  return tics;
}

void add_panel(Picture& picture, const Panel& panel) {
  const bool linear = panel.measure->more_is_better || panel.greatest < 2 * panel.least;
  picture.add("set title " + quoted(panel.title) + " offset 0,-0.4");
  picture.add(std::string("set ylabel 'validation ") + panel.measure->title + "'");
  picture.add(linear ? "unset logscale y" : "set logscale y");
  picture.add(linear ? "set ytics autofreq" : "set ytics (" + perplexity_tics() + ")");
  const double space = 0.02 * panel.least + 0.05 * (panel.greatest - panel.least);
  picture.add(format("set xrange [0:%g]", static_cast<double>(panel.epochs) + 0.5));
  picture.add(format("set xtics %zu scale 0.5", (panel.epochs + 9) / 10));
  picture.add(linear ? format("set yrange [%g:%g]", panel.least - space, panel.greatest + space)
                     : format("set yrange [%g:%g]", panel.least / 1.1, panel.greatest * 1.1));
  picture.add_plot(panel.parts);
  picture.add("unset label");
  picture.add("unset arrow");
}

}  // namespace

std::optional<std::string> draw_curves(const std::vector<Group>& groups,
                                       const fs::path& directory) {
  std::vector<Size> sizes;
  for (const std::string& task : tasks_of(groups)) {
    for (const Size& size : sizes_of(groups, task)) sizes.push_back(size);
  }
  const size_t columns = sizes.size() == 1 ? 1 : sizes.size() <= 4 ? 2 : 3;
  const size_t rows = (sizes.size() + columns - 1) / columns;
  const int height = rows == 1 ? kOneRowHeight : 100 + kPanelHeight * static_cast<int>(rows);
  Picture picture("learning_curves", kWidth, height);
  std::vector<Panel> panels;
  for (const Size& size : sizes) {
    Panel panel = make_panel(picture, groups, size, panels.size());
    if (!panel.parts.empty()) panels.push_back(std::move(panel));
  }
  if (panels.empty()) return std::nullopt;
  picture.add(
      format("set multiplot layout %zu,%zu margins char 9, char 2, screen %g, screen %g "
             "spacing char 11, char 5",
             rows, columns, 90.0 / height, 1 - 45.0 / height));
  picture.add("set xlabel 'epoch' offset 0,0.5");
  picture.add("unset key");
  add_legend(picture, groups, 22.0 / height);
  for (const Panel& panel : panels) add_panel(picture, panel);
  picture.add("unset multiplot");
  picture.write(directory);
  return "learning_curves";
}

}  // namespace tools
