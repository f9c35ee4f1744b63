#include "study_runner.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "format.h"
#include "interrupt.h"
#include "tool.h"

namespace tools {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::milliseconds kPollPeriod{20};

}  // namespace

StudyRunner::StudyRunner(const fs::path& directory, Study& study, StudyMode mode,
                         std::chrono::steady_clock::time_point start)
    : directory_(directory), study_(study), mode_(std::move(mode)), start_(start) {
  for (const PlannedRun& planned : study.runs) {
    Job& job = jobs_.emplace_back(StudyRun(planned, directory));
    job.run.refresh();
    job.first_share = job.run.share();
    if (!job.run.next_command(mode_)) job.state = State::kDone;
    queue_.push_back(&job);
  }
  // The longest first: none is left to run alone in the end.
  if (study.sessions.back().jobs > 1) {
    std::stable_sort(queue_.begin(), queue_.end(), [](const Job* a, const Job* b) {
      return a->run.planned().work > b->run.planned().work;
    });
  }
}

int StudyRunner::run() {
  const InterruptGuard guard;
  int signal = 0;
  while (true) {
    if (signal == 0) {
      signal = InterruptGuard::signal();
      if (signal != 0) interrupt();
    }
    for (Job& job : jobs_) poll(job, signal);
    if (signal == 0) start_waiting();
    if (under_way() == 0) break;
    if (table_.due()) table_.show(rows(), summary());
    std::this_thread::sleep_for(kPollPeriod);
  }
  note_time();
  table_.finish(rows(), summary());
  for (const Job& job : jobs_) {
    if (job.state != State::kFailed) continue;
    std::fprintf(stderr, "%s failed: %s (%s)\n", job.run.planned().name.c_str(),
                 job.failure.c_str(), job.run.log().c_str());
  }
  return signal;
}

size_t StudyRunner::failures() const {
  return count(State::kFailed);
}

void StudyRunner::advance(Job& job) {
  const auto command = job.run.next_command(mode_);
  if (!command) {
    job.state = State::kDone;
  } else if (*command == job.command) {
    job.state = State::kFailed;
    job.failure = fs::path(command->front()).filename().string() + " has left its work undone";
  } else {
    fs::create_directories(job.run.directory());
    job.command = *command;
    job.process.emplace(job.command, job.run.log());
    const bool trains = fs::path(job.command.front()).filename() == "gf-train";
    job.state = trains ? State::kTraining : State::kEvaluating;
  }
}

void StudyRunner::poll(Job& job, int signal) {
  if (!job.process) return;
  const std::optional<int> status = job.process->poll();
  job.run.refresh();
  if (!status) return;
  job.process.reset();
  if (*status == 0 && signal == 0) {
    advance(job);
  } else if (signal != 0) {
    job.state = job.run.next_command(mode_) ? State::kWaiting : State::kDone;
  } else {
    job.state = State::kFailed;
    job.failure = job.run.last_words();
  }
  note_time();
}

void StudyRunner::interrupt() {
  for (const Job& job : jobs_) {
    if (job.process) job.process->interrupt();
  }
}

void StudyRunner::start_waiting() {
  for (Job* job : queue_) {
    if (under_way() >= static_cast<size_t>(study_.sessions.back().jobs)) return;
    if (job->state == State::kWaiting) advance(*job);
  }
}

void StudyRunner::note_time() {
  study_.sessions.back().seconds = seconds();
  study_.write(directory_);
}

size_t StudyRunner::count(State state) const {
  return static_cast<size_t>(std::count_if(jobs_.begin(), jobs_.end(),
                                           [&](const Job& job) { return job.state == state; }));
}

// As much time for the work that is left as the work of this session has taken.
std::optional<double> StudyRunner::seconds_left() const {
  double done = 0, left = 0;
  for (const Job& job : jobs_) {
    const double share = job.state == State::kDone ? 1 : job.run.share();
    done += job.run.planned().work * (share - job.first_share);
    if (job.state != State::kFailed) left += job.run.planned().work * (1 - share);
  }
  if (done <= 0) return std::nullopt;
  return seconds() * left / done;
}

double StudyRunner::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

std::vector<StudyRow> StudyRunner::rows() const {
  static const char* const kStates[] = {"waiting", "training", "evaluating", "done", "FAILED"};
  std::vector<StudyRow> rows;
  for (const Job& job : jobs_) {
    StudyRow row = {job.run.planned().name,
                    kStates[static_cast<int>(job.state)],
                    job.run.epoch(),
                    job.run.validation(),
                    job.run.test(),
                    job.run.seconds() > 0 ? format_duration(job.run.seconds()) : "",
                    "",
                    job.process.has_value()};
    const double share = job.run.share();
    if (job.state == State::kTraining && share > 0) {
      row.left = format_duration(job.run.seconds() * (1 - share) / share);
    }
    if (job.state == State::kWaiting && !row.epoch.empty()) row.state = "interrupted";
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string StudyRunner::summary() const {
  std::string text = format("%zu of %zu done", count(State::kDone), jobs_.size());
  if (under_way() > 0) text += format(", %zu under way", under_way());
  if (count(State::kWaiting) > 0) text += format(", %zu to come", count(State::kWaiting));
  if (failures() > 0) text += format(", %zu failed", failures());
  text += "; " + format_duration(seconds());
  const std::optional<double> left = seconds_left();
  if (left && under_way() > 0) text += ", ETA " + format_duration(*left);
  return text;
}

}  // namespace tools
