// gf-report: tables and pictures of a study's runs.

#include <cstdio>

#include "command_line.h"
#include "report_markdown.h"
#include "report_pictures.h"
#include "tool.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr const char* kName = "gf-report";

int run(int argc, char** argv) {
  CommandLine line(kName,
                   "Compares the runs of a study, or of several: report.md,\n"
                   "best_results_summary.json and pictures.",
                   {"gf-report outputs/STUDY", "gf-report --output report outputs/A outputs/B"});
  std::vector<std::string> directories;
  std::string output;
  line.positional("DIR", "directories of studies or of single runs", directories);
  line.option("--output", "DIR", "where the report goes; without it the first directory", output);
  if (!line.parse(argc, argv)) return 0;
  if (directories.empty()) throw UsageError("expected the directory of a study or of a run");

  ReportInput input = read_report_input(directories);
  const Groups groups = group_runs(input);
  const fs::path target = output.empty() ? directories.front() : output;
  std::error_code error;
  fs::create_directories(target, error);
  if (error) throw Failure("cannot create " + target.string() + ": " + error.message());

  std::vector<std::string> pictures;
  std::string no_pictures;
  try {
    draw_pictures(groups, target, pictures);
  } catch (const Failure& failure) {
    no_pictures = failure.what();
  }
  replace_file(target / "report.md", report_markdown(input, groups, pictures));
  write_json(target / "best_results_summary.json", summary_json(input, groups));

  std::printf("%s\nreport     %s\n", report_text(input, groups).c_str(),
              (target / "report.md").c_str());
  std::printf("summary    %s\n", (target / "best_results_summary.json").c_str());
  for (const std::string& picture : pictures) {
    std::printf("picture    %s.png, .svg\n", (target / picture).c_str());
  }
  if (no_pictures.empty()) return 0;
  std::fprintf(stderr, "%s: %s\n", kName, no_pictures.c_str());
  return 1;
}

}  // namespace
}  // namespace tools

int main(int argc, char** argv) {
  return tools::run_tool(tools::kName, [&] { return tools::run(argc, argv); });
}
