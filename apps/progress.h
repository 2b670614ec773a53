#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace stipple {

// Progress of long work on standard error: on a terminal one line that is rewritten (bar, step/total, it/s or s/it, a
// note, time left), elsewhere a plain line now and then. Colours only on terminals without NO_COLOR.
class Progress {
 public:
  explicit Progress(std::string title);
  ~Progress();

  void update(int64_t done, int64_t total, const std::string& note = "");
  void say(const std::string& line);  // a line of its own, above the progress line

 private:
  using Clock = std::chrono::steady_clock;

  bool due(int64_t done, int64_t total);  // remembers when it last was
  std::string speed(int64_t done) const;
  std::string time_left(int64_t done, int64_t total) const;
  std::string bar(int64_t done, int64_t total, int64_t text) const;

  std::string title_;
  bool terminal_, colour_;
  bool line_open_ = false;
  int64_t first_ = -1;  // steps that were done at the first update
  Clock::time_point begin_, first_time_, last_;
};

}  // namespace stipple
