#include "apps/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace stipple {
namespace {

constexpr int kBar = 24;
constexpr double kTerminalSeconds = 0.1, kPlainSeconds = 10;  // between two lines

std::string clock_time(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) : fmt::format("{}:{:02}", s / 60, s % 60);
}

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

Progress::Progress(std::string title)
    : title_(std::move(title)),
      terminal_(isatty(STDERR_FILENO)),
      colour_(terminal_ && !std::getenv("NO_COLOR")),
      begin_(Clock::now()),
      last_(begin_) {}

Progress::~Progress() {
  if (line_open_) std::fputc('\n', stderr);
}

std::string Progress::speed(int64_t done) const {
  const double rate = static_cast<double>(done - first_) / std::max(1e-9, seconds_between(begin_, Clock::now()));
  if (rate <= 0) return "";
  return rate >= 1 ? fmt::format("{:.2f} it/s", rate) : fmt::format("{:.2f} s/it", 1 / rate);
}

void Progress::update(int64_t done, int64_t total, const std::string& note) {
  const auto now = Clock::now();
  if (first_ < 0) first_ = done - 1;
  const double pause = terminal_ ? kTerminalSeconds : kPlainSeconds;
  if (done < total && done > first_ + 1 && seconds_between(last_, now) < pause) return;
  last_ = now;
  const double left = seconds_between(begin_, now) / static_cast<double>(done - first_) * static_cast<double>(total - done);
  const std::string text = fmt::format("{}/{}  {}{}  {}", done, total, speed(done), note.empty() ? "" : "  " + note,
                                       done < total ? clock_time(left) + " left" : clock_time(seconds_between(begin_, now)));
  if (!terminal_) {
    std::fprintf(stderr, "%s %s\n", title_.c_str(), text.c_str());
    return;
  }
  const auto full = static_cast<size_t>(kBar * done / std::max<int64_t>(1, total));
  std::fprintf(stderr, "\r%s %s%s%s%s %s\x1b[K", title_.c_str(), colour_ ? "\x1b[36m" : "",
               std::string(full, '#').c_str(), colour_ ? "\x1b[0m" : "", std::string(kBar - full, '.').c_str(), text.c_str());
  line_open_ = true;
  if (done >= total) {
    std::fputc('\n', stderr);
    line_open_ = false;
  }
}

void Progress::say(const std::string& line) {
  std::fprintf(stderr, "%s%s\n", line_open_ ? "\r\x1b[K" : "", line.c_str());
  line_open_ = false;
}

}  // namespace stipple
