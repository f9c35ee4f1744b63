#include "report_pictures.h"

#include <algorithm>
#include <limits>

#include "bar_chart.h"
#include "format.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMarksTitle = "the same in PyTorch (one seed)";

std::string size_label(const Size& size) {
  return format("L = %lld\\nN = %lld", static_cast<long long>(size.length),
                static_cast<long long>(size.layers));
}

void add_statistic(BarChart& chart, size_t series, const Statistic& value, const char* digits) {
  chart.add_bar(series, false, value.mean, value.mean - value.deviation,
                value.mean + value.deviation, format(digits, value.mean));
}

const Json* find_published(const Size& size, const Series& series) {
  for (const Json& figure : published_results()["perplexities"]) {
    if (figure["task"] == size.task && figure["model"] == series.model &&
        figure["window_schedule"] == series.schedule && figure["max_seq_len"] == size.length &&
        figure["num_layers"] == size.layers) {
      return &figure;
    }
  }
  return nullptr;
}

bool is_wikitext(const std::string& task) {
  return task.rfind("wikitext", 0) == 0;
}

const Group& first_of(const std::vector<Group>& groups, const std::string& task) {
  for (const Group& group : groups) {
    if (group.task() == task) return group;
  }
  return groups.front();
}

// " (lower is better; mean and standard deviation of 3 seeds)"
std::string reading(const std::vector<Group>& groups, const std::string& task, const char* better) {
  size_t least = std::numeric_limits<size_t>::max(), most = 0;
  for (const Group& group : groups) {
    if (group.task() != task) continue;
    least = std::min(least, group.runs.size());
    most = std::max(most, group.runs.size());
  }
  const std::string spread =
      format("; mean and standard deviation of %s%zu seeds", least < most ? "up to " : "", most);
  return format(" (%s is better%s)", better, most > 1 ? spread.c_str() : "");
}

// ---- <task>_results of language models ----

void add_published_perplexities(BarChart& chart) {
  chart.add_border();
  chart.add_place("study\\n(raw release)");
  for (const Json& range : published_results()["perplexity_ranges"]) {
    const double low = range["low"], high = range["high"];
    chart.add_bar(find_series(range["model"], range["window_schedule"]), true, (low + high) / 2,
                  low, high, format("%.0f–%.0f", low, high));
  }
}

std::string draw_perplexities(const std::vector<Group>& groups, const std::string& task,
                              const fs::path& directory) {
  const std::string name = task + "_results";
  BarChart chart(name,
                 "Best validation perplexity on " + first_of(groups, task).first().title() +
                     reading(groups, task, "lower"),
                 "perplexity");
  for (const Size& size : sizes_of(groups, task)) {
    chart.add_place(size_label(size));
    for (size_t s = 0; s < std::size(kSeries); ++s) {
      const Group* group = find_group(groups, size, kSeries[s]);
      if (!group) continue;
      add_statistic(chart, s, *group->validation, group->validation->mean < 10 ? "%.2f" : "%.1f");
      const Json* figure = find_published(size, kSeries[s]);
      if (figure) chart.add_mark((*figure)["validation"]);
    }
  }
  if (is_wikitext(task)) add_published_perplexities(chart);
  chart.draw(directory, kMarksTitle);
  return name;
}

// ---- <task>_results of pair classifiers ----

void add_accuracies(BarChart& chart, const std::vector<Group>& groups, const Size& size,
                    bool on_test) {
  chart.add_place(on_test ? "ours, test" : "ours, validation");
  for (size_t s = 0; s < std::size(kSeries); ++s) {
    const Group* group = find_group(groups, size, kSeries[s]);
    if (group) add_statistic(chart, s, on_test ? *group->test : *group->validation, "%.1f");
  }
}

void add_published_accuracies(BarChart& chart) {
  const Json& published = published_results();
  std::string source;
  chart.add_border();
  for (const Json& figure : published["accuracies"]) {
    if (figure["source"] != source) {
      source = figure["source"];
      const Json& about = published["sources"][source];
      chart.add_place(about["name"].get<std::string>() + ", test\\n" +
                      about["snli"].get<std::string>());
    }
    const Json& schedule = figure["window_schedule"];
    const double accuracy = figure["test"];
    chart.add_bar(find_series(figure["model"], schedule.is_string() ? schedule : Json("not told")),
                  true, accuracy, accuracy, accuracy, format("%.1f", accuracy));
  }
}

std::string draw_accuracies(const std::vector<Group>& groups, const std::string& task,
                            const fs::path& directory) {
  constexpr double kChance = 100.0 / 3;
  const std::string name = task + "_results";
  const Group& first = first_of(groups, task);
  BarChart chart(name, "Accuracy on " + first.first().title() + reading(groups, task, "higher"),
                 "pairs classified rightly, %");
  const Size size = sizes_of(groups, task).front();
  add_accuracies(chart, groups, size, false);
  add_accuracies(chart, groups, size, true);
  if (task == "snli") add_published_accuracies(chart);
  chart.picture().add(
      format("set arrow from graph 0, first %g to graph 1, first %g nohead dt 3 "
             "lw 2 lc rgb '#444444' front",
             kChance, kChance));
  chart.picture().add(format("set label 'chance' at graph 1, first %g left offset 0.4,0", kChance));
  chart.picture().add("set rmargin 9");
  chart.draw(directory, "", 100);
  return name;
}

// ---- gap_by_schedule ----

void add_published_gaps(BarChart& chart) {
  const Json& published = published_results();
  for (const Json& range : published["gap_ranges"]) {
    const double low = range["low"], high = range["high"];
    const std::string source = published["sources"][range["source"].get<std::string>()]["name"];
    chart.picture().add(
        format("set object rectangle from graph 0, first %g to graph 1, first %g "
               "behind fc rgb '#E69F00' fs solid 0.25 noborder",
               low, high));
    chart.picture().add(
        format("set label \"%s:\\n%g to %g %%\" at graph 1, first %g left "
               "offset 0.4,0.5",
               source.c_str(), low, high, (low + high) / 2));
  }
  chart.picture().add("set rmargin 14");
}

void add_gap(BarChart& chart, const Size& size, size_t series, const Statistic& gap) {
  add_statistic(chart, series, gap, "%+.1f %%");
  const Json* figure = find_published(size, kSeries[series]);
  const Json* reference = find_published(size, kSeries[find_series("transformer", "")]);
  if (!figure || !reference) return;
  const double value = (*figure)["validation"], of_transformer = (*reference)["validation"];
  chart.add_mark(100 * (value / of_transformer - 1));
}

// The tasks whose models have a gap, in perplexity.
std::vector<std::string> tasks_with_gap(const std::vector<Group>& groups) {
  std::vector<std::string> tasks;
  for (const std::string& task : tasks_of(groups)) {
    const bool any = std::any_of(groups.begin(), groups.end(), [&](const Group& group) {
      return group.task() == task && group.validation_gap.has_value();
    });
    if (any && !measure_of(task).more_is_better) tasks.push_back(task);
  }
  return tasks;
}

std::string draw_gaps(const std::vector<Group>& groups, const std::vector<std::string>& tasks,
                      const fs::path& directory) {
  const std::string name = "gap_by_schedule";
  const std::string only =
      tasks.size() == 1 ? ", " + first_of(groups, tasks[0]).first().title() : "";
  BarChart chart(name,
                 "Validation perplexity above that of the transformer of the same size" + only,
                 "gap, %");
  for (const std::string& task : tasks) {
    for (const Size& size : sizes_of(groups, task)) {
      const std::string title = "\\n" + first_of(groups, task).first().title();
      chart.add_place(size_label(size) + (tasks.size() == 1 ? "" : title));
      for (size_t s = 0; s < std::size(kSeries); ++s) {
        const Group* group = find_group(groups, size, kSeries[s]);
        if (group && group->validation_gap) add_gap(chart, size, s, *group->validation_gap);
      }
    }
  }
  chart.picture().add("set xzeroaxis lt 1 lc rgb '#444444'");
  if (std::any_of(tasks.begin(), tasks.end(), is_wikitext)) add_published_gaps(chart);
  chart.draw(directory, kMarksTitle);
  return name;
}

// ---- windows_ablation ----

// "1 to 16\\nlearned\\n4 heads"
std::string windows_label(const ReportRun& run) {
  const auto windows = run.config["windows"].get<std::vector<int32_t>>();
  const auto [least, greatest] = std::minmax_element(windows.begin(), windows.end());
  const int64_t heads = run.config["grassmann_heads"];
  std::string label =
      windows.size() == 1 ? format("only %d", windows[0]) : format("%d to %d", *least, *greatest);
  if (run.schedule() == "per-layer") label += "\\none per\\nlayer";
  if (run.config["window_weights"] == "learned") label += "\\nlearned";
  if (heads > 1) label += format("\\n%lld heads", static_cast<long long>(heads));
  return label;
}

// Of the task's first length and depth; the tables have the others.
std::string draw_windows(const Groups& groups, const std::string& task, const fs::path& directory) {
  const std::string name = "windows_ablation";
  const Size size = sizes_of(groups.ablations, task).front();
  BarChart chart(name, "Validation perplexity above that of the transformer, " + size_title(size),
                 "gap, %");
  for (const Group* group : by_windows(groups, size)) {
    if (!group->validation_gap) continue;
    chart.add_place(windows_label(group->first()));
    const auto series = static_cast<size_t>(&group->series() - kSeries);
    add_statistic(chart, series, *group->validation_gap, "%+.1f %%");
  }
  chart.picture().add("set xzeroaxis lt 1 lc rgb '#444444'");
  if (is_wikitext(task)) add_published_gaps(chart);
  chart.draw(directory, "");
  return name;
}

}  // namespace

void draw_pictures(const Groups& groups, const fs::path& directory,
                   std::vector<std::string>& names) {
  for (const std::string& task : tasks_of(groups.series)) {
    names.push_back(measure_of(task).more_is_better
                        ? draw_accuracies(groups.series, task, directory)
                        : draw_perplexities(groups.series, task, directory));
  }
  const std::vector<std::string> tasks = tasks_with_gap(groups.series);
  if (!tasks.empty()) names.push_back(draw_gaps(groups.series, tasks, directory));
  const std::vector<std::string> ablated = tasks_with_gap(groups.ablations);
  if (!ablated.empty()) names.push_back(draw_windows(groups, ablated[0], directory));
  if (const auto name = draw_curves(groups.series, directory)) names.push_back(*name);
}

}  // namespace tools
