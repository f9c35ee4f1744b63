#include "format.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <ctime>

namespace tools {
namespace {

std::string format_time(const char* pattern, std::tm* (*convert)(const std::time_t*, std::tm*)) {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  convert(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, pattern, &parts);
  return text;
}

}  // namespace

std::string format(const char* pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  std::string text(std::vsnprintf(nullptr, 0, pattern, arguments), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  va_end(arguments);
  return text;
}

std::string with_thousands(int64_t value) {
  const std::string digits = std::to_string(value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool group_begins = i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-';
    if (group_begins) text += ',';
    text += digits[i];
  }
  return text;
}

std::string format_bytes(int64_t bytes) {
  static const char* const kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return format(unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
}

std::string format_duration(double seconds) {
  const auto s = static_cast<long long>(std::llround(std::fmax(seconds, 0)));
  if (s < 60) return format("%llds", s);
  if (s < 3600) return format("%lldm%02llds", s / 60, s % 60);
  if (s < 86400) return format("%lldh%02lldm", s / 3600, s / 60 % 60);
  return format("%lldd%02lldh", s / 86400, s / 3600 % 24);
}

std::string format_rate(double rate) {
  return rate == 0 ? "0" : format("%.2e", rate);
}

std::string format_perplexity(double loss) {
  const double perplexity = std::exp(loss);
  if (perplexity < 1000) return format("%.2f", perplexity);
  if (perplexity < 1e6) return format("%.0f", perplexity);
  return format("%.1e", perplexity);
}

std::string format_share(double share) {
  return format("%.2f %%", 100 * share);
}

std::string format_windows(const int32_t* windows, int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ',';
    text += std::to_string(windows[i]);
  }
  return text;
}

const char* schedule_name(gf_window_schedule schedule) {
  return schedule == GF_WINDOWS_ALL ? "all" : "per-layer";
}

const char* weights_name(gf_window_weights weights) {
  return weights == GF_WINDOW_WEIGHTS_LEARNED ? "learned" : "mean";
}

std::string time_stamp() {
  return format_time("%Y-%m-%d_%H-%M-%S", localtime_r);
}

std::string utc_time() {
  return format_time("%Y-%m-%dT%H:%M:%SZ", gmtime_r);
}

}  // namespace tools
