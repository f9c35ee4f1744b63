#pragma once

// Numbers and times for people.

#include <grassflow.h>

#include <cstdint>
#include <string>

namespace tools {

// printf into a std::string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

std::string with_thousands(int64_t value);    // 12,585,472
std::string format_bytes(int64_t bytes);      // 48.1 MiB
std::string format_duration(double seconds);  // 42s, 3m05s, 1h02m, 2d03h
std::string format_rate(double rate);         // learning rate: 6.0e-04
std::string format_perplexity(double loss);   // exp(loss) to at most 7 characters: 91.31, 12204
std::string format_share(double share);       // 52.07 %
std::string format_windows(const int32_t* windows, int64_t count);  // 1,2,4
// As flags and files have them: all or per-layer, mean or learned.
const char* schedule_name(gf_window_schedule schedule);
const char* weights_name(gf_window_weights weights);

std::string time_stamp();  // now, in names of directories: 2026-11-25_19-30-00
std::string utc_time();    // now: 2026-11-25T19:30:00Z

}  // namespace tools
