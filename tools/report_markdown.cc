#include "report_markdown.h"

#include <algorithm>

#include "format.h"

namespace tools {
namespace {

using Row = std::vector<std::string>;

std::string markdown_row(const Row& row) {
  std::string text = "|";
  for (const std::string& cell : row) text += " " + cell + " |";
  return text + "\n";
}

// The first row is the heading.
std::string markdown_table(const std::vector<Row>& rows) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    text += markdown_row(rows[i]);
    if (i == 0) text += markdown_row(Row(rows[0].size(), "---"));
  }
  return text + "\n";
}

// Characters of UTF-8: all bytes but those that continue one.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Columns as wide as their widest cell; all but the first one flush right.
std::string plain_table(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - width_of(row[i]), ' ');
      text += i == 0 ? row[i] + blanks : "  " + blanks + row[i];
    }
    text += "\n";
  }
  return text;
}

std::string number(int64_t value) {
  return std::to_string(value);
}

std::string format_gap(const std::optional<Statistic>& gap, const Measure& measure) {
  if (!gap) return "–";
  return format_statistic(gap, "%+.1f") + (measure.more_is_better ? "" : " %");
}

std::string format_seconds(const std::optional<Statistic>& seconds) {
  return seconds ? format_duration(seconds->mean) : "–";
}

std::string format_speed(const std::optional<Statistic>& speed) {
  return speed ? with_thousands(static_cast<int64_t>(speed->mean)) : "–";
}

// ---- The tables of a task ----

Row comparison_row(const Group& group) {
  const bool transformer = group.first().model() == "transformer";
  const Measure& measure = measure_of(group.task());
  return {group.series().name,
          number(group.first().length()),
          number(group.first().layers()),
          number(static_cast<int64_t>(group.runs.size())),
          format_statistic(group.validation, "%.2f"),
          format_statistic(group.best_epoch, "%.0f"),
          format_statistic(group.test, "%.2f"),
          transformer ? "" : format_gap(group.validation_gap, measure),
          transformer ? "" : format_gap(group.test_gap, measure),
          format_speed(group.tokens_per_second),
          format_seconds(group.seconds)};
}

std::string comparison(const std::vector<Group>& groups, const std::string& task) {
  const Measure& measure = measure_of(task);
  const std::string title = measure.title;
  const std::string gap = measure.more_is_better ? "difference" : "gap";
  std::vector<Row> rows = {{"model", "L", "N", "seeds", "best validation " + title, "epoch",
                            "test " + title, gap + ", validation", gap + ", test", "tokens/s",
                            "time of a run"}};
  for (const Group& group : groups) {
    if (group.task() == task) rows.push_back(comparison_row(group));
  }
  return markdown_table(rows);
}

// What gf-eval tells of a classifier on the test split, the mean over the seeds.
std::string class_table(const std::vector<Group>& groups, const std::string& task) {
  struct Column {
    const char* title;
    const char* key;
    double scale;
    const char* digits;
  };
  static constexpr Column kColumns[] = {
      {"loss", "loss", 1, "%.4f"},
      {"entailment, %", "entailment_accuracy", 100, "%.1f"},
      {"neutral, %", "neutral_accuracy", 100, "%.1f"},
      {"contradiction, %", "contradiction_accuracy", 100, "%.1f"},
  };
  std::vector<Row> rows = {{"model"}};
  for (const Column& column : kColumns) rows[0].push_back(column.title);
  for (const Group& group : groups) {
    if (group.task() != task) continue;
    Row row = {group.series().name};
    for (const Column& column : kColumns) {
      std::vector<double> values;
      for (const ReportRun* run : group.runs) {
        const Json value = run->test.value(column.key, Json());
        if (value.is_number()) values.push_back(column.scale * value.get<double>());
      }
      row.push_back(format_statistic(Statistic::of(values), column.digits));
    }
    rows.push_back(row);
  }
  return "Test loss, and the share of each class's pairs that are classified rightly:\n\n" +
         markdown_table(rows);
}

// ---- Which windows ----

std::string windows_text(const ReportRun& run) {
  std::string text;
  for (const Json& offset : run.config["windows"]) {
    text += (text.empty() ? "" : ", ") + offset.dump();
  }
  return run.schedule() == "per-layer" ? text + "; one per layer" : text;
}

Row windows_row(const Group& group) {
  const ReportRun& run = group.first();
  const bool transformer = run.model() == "transformer";
  const Measure& measure = measure_of(run.task());
  const int64_t parameters = run.results.value("parameters", int64_t{0});
  const std::string heads =
      run.config["grassmann_heads"].dump() + " × " + run.config["reduced_dim"].dump();
  return {transformer ? "transformer" : windows_text(run),
          transformer ? "" : heads,
          transformer ? "" : run.config["window_weights"].get<std::string>(),
          parameters > 0 ? with_thousands(parameters) : "–",
          number(static_cast<int64_t>(group.runs.size())),
          format_statistic(group.validation, "%.2f"),
          format_statistic(group.test, "%.2f"),
          transformer ? "" : format_gap(group.validation_gap, measure),
          transformer ? "" : format_gap(group.test_gap, measure)};
}

std::string windows_table(const Groups& groups, const Size& size) {
  const Measure& measure = measure_of(size.task);
  const std::string title = measure.title, gap = measure.more_is_better ? "difference" : "gap";
  std::vector<Row> rows = {{"windows", "heads × r", "weights", "parameters", "seeds",
                            "best validation " + title, "test " + title, gap + ", validation",
                            gap + ", test"}};
  for (const Group* group : by_windows(groups, size)) rows.push_back(windows_row(*group));
  return markdown_table(rows);
}

std::vector<Size> sizes_with_ablations(const Groups& groups) {
  std::vector<Size> sizes;
  for (const std::string& task : tasks_of(groups.ablations)) {
    for (const Size& size : sizes_of(groups.ablations, task)) sizes.push_back(size);
  }
  return sizes;
}

// ---- Figures of others ----

std::string source_name(const Json& figure) {
  return published_results()["sources"][figure["source"].get<std::string>()]["name"];
}

std::string series_of(const Json& figure) {
  const Json& schedule = figure["window_schedule"];
  return kSeries[find_series(figure["model"], schedule.is_string() ? schedule : Json("not told"))]
      .name;
}

std::string format_figure(const Json& figure, const char* key) {
  return figure.contains(key) ? format("%.2f", figure[key].get<double>()) : "–";
}

std::string published_perplexities() {
  const Json& published = published_results();
  std::vector<Row> rows = {
      {"source", "model", "L", "N", "best validation perplexity", "test perplexity"}};
  for (const Json& f : published["perplexities"]) {
    rows.push_back({source_name(f), series_of(f), f["max_seq_len"].dump(), f["num_layers"].dump(),
                    format_figure(f, "validation"), format_figure(f, "test")});
  }
  for (const Json& f : published["perplexity_ranges"]) {
    rows.push_back({source_name(f) + ", raw release", series_of(f), "128, 256", "6, 12",
                    format("%.2f to %.2f", f["low"].get<double>(), f["high"].get<double>()), "–"});
  }
  std::string text = "Published:\n\n" + markdown_table(rows);
  text +=
      "The tokenised release has its rare words replaced by one mark, so perplexities on it are "
      "lower than\non the raw release; gaps compare. ";
  for (const Json& f : published["gap_ranges"]) {
    text += format("Gap of the %s: %g to %g %%. ", source_name(f).c_str(), f["low"].get<double>(),
                   f["high"].get<double>());
  }
  text.back() = '\n';
  return text + "\n";
}

std::string published_accuracies() {
  std::vector<Row> rows = {{"source", "model", "best validation accuracy, %", "test accuracy, %"}};
  const Json& published = published_results();
  for (const Json& f : published["accuracies"]) {
    const Json& about = published["sources"][f["source"].get<std::string>()];
    rows.push_back({source_name(f) + ", " + about["snli"].get<std::string>(), series_of(f),
                    format_figure(f, "validation"), format_figure(f, "test")});
  }
  return "Published:\n\n" + markdown_table(rows);
}

// ---- Sections ----

std::string section_of_study(const ReportInput& input) {
  std::string text;
  for (const auto& [directory, study] : input.studies) {
    std::vector<Row> rows = {{"study", directory.string()}, {"device", study.device}};
    rows.push_back(
        {"libgrassflow", study.version + (study.commit.empty() ? "" : ", commit " + study.commit)});
    rows.push_back({"runs", number(static_cast<int64_t>(study.runs.size()))});
    for (const Study::Session& session : study.sessions) {
      rows.push_back({"carried out", session.started + ", " + format_duration(session.seconds) +
                                         ", " + number(session.jobs) + " side by side"});
    }
    rows.push_back(
        {"wall clock", format("%s (%.1f s), evaluation and checkpoints included",
                              format_duration(study.seconds()).c_str(), study.seconds())});
    text += markdown_table(rows);
  }
  return text;
}

std::string picture_line(const std::vector<std::string>& pictures, const std::string& name,
                         const std::string& what) {
  const bool drawn = std::find(pictures.begin(), pictures.end(), name) != pictures.end();
  return drawn ? "![" + what + "](" + name + ".png)\n\n" : "";
}

std::string section_of_task(const std::vector<Group>& groups, const std::string& task,
                            const std::vector<std::string>& pictures) {
  const auto first = std::find_if(groups.begin(), groups.end(),
                                  [&](const Group& group) { return group.task() == task; });
  std::string title = first->first().title();
  title[0] = static_cast<char>(std::toupper(title[0]));
  std::string text = "## " + title + "\n\n" + comparison(groups, task);
  const bool pairs = measure_of(task).more_is_better;
  if (pairs) text += class_table(groups, task);
  text += picture_line(pictures, task + "_results", "Best results on " + first->first().title());
  if (task.rfind("wikitext", 0) == 0) text += published_perplexities();
  if (task == "snli") text += published_accuracies();
  return text;
}

std::string section_of_windows(const Groups& groups, const std::vector<std::string>& pictures) {
  if (groups.ablations.empty()) return "";
  std::string text =
      "## Which windows\n\n"
      "The Grassmann model with other windows, heads and weights, beside the series of the same "
      "length, depth and\nrecipe.\n\n";
  for (const Size& size : sizes_with_ablations(groups)) {
    text += "Of " + size_title(size) + ":\n\n" + windows_table(groups, size);
  }
  return text + picture_line(pictures, "windows_ablation", "Gap by windows, heads and weights");
}

std::string section_of_missing(const ReportInput& input) {
  if (input.missing.empty()) return "";
  std::string text = "## What is missing\n\n";
  std::vector<Row> rows = {{"run", "why", "command"}};
  for (const MissingRun& run : input.missing) {
    rows.push_back({run.name, run.why, "`" + run.command + "`"});
  }
  text += markdown_table(rows);
  for (const auto& [directory, study] : input.studies) {
    text += "All of a study: `gf-study --continue " + directory.string() + "`\n\n";
  }
  return text;
}

std::string section_of_sources() {
  std::string text = "## Sources of published figures\n\n";
  for (const auto& [key, source] : published_results()["sources"].items()) {
    text +=
        "- " + source["name"].get<std::string>() + ": " + source["what"].get<std::string>() + "\n";
  }
  return text;
}

// ---- For a terminal ----

std::vector<Row> short_comparison(const std::vector<Group>& groups, const std::string& task) {
  const Measure& measure = measure_of(task);
  std::vector<Row> rows;
  for (const Group& group : groups) {
    if (group.task() != task) continue;
    const Row all = comparison_row(group);
    if (rows.empty()) {
      rows.push_back({group.first().title(), "L", "N", "seeds",
                      std::string("validation ") + measure.key, std::string("test ") + measure.key,
                      measure.more_is_better ? "difference" : "gap", "tokens/s"});
    }
    rows.push_back({all[0], all[1], all[2], all[3], all[4], all[6], all[7], all[9]});
  }
  return rows;
}

std::vector<Row> short_windows(const Groups& groups, const Size& size) {
  const Measure& measure = measure_of(size.task);
  std::vector<Row> rows = {{"windows: " + size_title(size), "heads × r", "weights",
                            std::string("validation ") + measure.key,
                            std::string("test ") + measure.key,
                            measure.more_is_better ? "difference" : "gap"}};
  for (const Group* group : by_windows(groups, size)) {
    const Row all = windows_row(*group);
    rows.push_back({all[0], all[1], all[2], all[5], all[6], all[7]});
  }
  return rows;
}

}  // namespace

std::string report_markdown(const ReportInput& input, const Groups& groups,
                            const std::vector<std::string>& pictures) {
  std::string text = "# Grassmann-flow beside the transformer\n\n" + section_of_study(input);
  text +=
      "Values are those of the weights that were best on validation. With several seeds they are "
      "mean ± sample\nstandard deviation. A gap says how much higher a perplexity is than that of "
      "the transformer of the same\nlength L, depth N, recipe and seed; a difference is one of "
      "accuracies, in points.\n\n";
  bool published = false;
  for (const std::string& task : tasks_of(groups.series)) {
    text += section_of_task(groups.series, task, pictures);
    published = published || task.rfind("wikitext", 0) == 0 || task == "snli";
  }
  const std::string gaps = picture_line(pictures, "gap_by_schedule", "Gap by window schedule");
  if (!gaps.empty()) text += "## The gap by window schedule\n\n" + gaps;
  text += section_of_windows(groups, pictures);
  const std::string curves = picture_line(pictures, "learning_curves", "Validation by epoch");
  if (!curves.empty()) text += "## Learning curves\n\n" + curves;
  text += section_of_missing(input);
  for (const std::string& remark : input.remarks) text += "Note: " + remark + ".\n\n";
  if (published) text += section_of_sources();
  return text;
}

std::string report_text(const ReportInput& input, const Groups& groups) {
  std::vector<std::string> parts;
  for (const std::string& task : tasks_of(groups.series)) {
    parts.push_back(plain_table(short_comparison(groups.series, task)));
  }
  for (const Size& size : sizes_with_ablations(groups)) {
    parts.push_back(plain_table(short_windows(groups, size)));
  }
  if (!input.missing.empty()) parts.emplace_back("missing:\n");
  for (const MissingRun& run : input.missing) {
    parts.back() += "  " + run.name + ": " + run.why + "\n    " + run.command + "\n";
  }
  std::string text;
  for (const std::string& part : parts) text.append(text.empty() ? "" : "\n").append(part);
  return text;
}

}  // namespace tools
