#include "apps/progress.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace stipple {
namespace {

constexpr int kBar = 24;
constexpr double kTerminalSeconds = 0.1, kPlainSeconds = 10;  // between two lines

std::string clock_time(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

int64_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string title)
    : title_(std::move(title)),
      terminal_(isatty(STDERR_FILENO)),
      colour_(terminal_ && !std::getenv("NO_COLOR")),
      begin_(Clock::now()),
      first_time_(begin_),
      last_(begin_) {}

Progress::~Progress() {
  if (line_open_) std::fputc('\n', stderr);
}

// Of the time since the first update, which therefore knows none.
std::string Progress::speed(int64_t done) const {
  if (done <= first_) return "";
  const double rate = static_cast<double>(done - first_) / std::max(1e-9, seconds_between(first_time_, Clock::now()));
  return rate >= 1 ? fmt::format("  {:.2f} it/s", rate) : fmt::format("  {:.2f} s/it", 1 / rate);
}

std::string Progress::time_left(int64_t done, int64_t total) const {
  if (done >= total) return "  " + clock_time(seconds_between(begin_, Clock::now()));
  if (done <= first_) return "";
  const double passed = seconds_between(first_time_, Clock::now());
  return "  " + clock_time(passed * static_cast<double>(total - done) / static_cast<double>(done - first_)) + " left";
}

bool Progress::due(int64_t done, int64_t total) {
  const auto now = Clock::now();
  const bool first = first_ < 0;
  if (first) {
    first_ = done;
    first_time_ = now;
  } else if (done < total && seconds_between(last_, now) < (terminal_ ? kTerminalSeconds : kPlainSeconds)) {
    return false;
  }
  last_ = now;
  return true;
}

// As wide as the text leaves room for.
std::string Progress::bar(int64_t done, int64_t total, int64_t text) const {
  const int64_t room = terminal_columns() - static_cast<int64_t>(title_.size()) - text - 3;
  const int64_t width = std::clamp<int64_t>(room, 0, kBar), full = width * done / std::max<int64_t>(1, total);
  return fmt::format("{}{}{}{}", colour_ ? "\x1b[36m" : "", std::string(full, '#'), colour_ ? "\x1b[0m" : "",
                     std::string(width - full, '.'));
}

void Progress::update(int64_t done, int64_t total, const std::string& note) {
  if (!due(done, total)) return;
  const std::string text =
      fmt::format("{}/{}{}{}{}", done, total, speed(done), note.empty() ? "" : "  " + note, time_left(done, total));
  if (!terminal_) {
    std::fprintf(stderr, "%s %s\n", title_.c_str(), text.c_str());
    return;
  }
  const std::string drawn = bar(done, total, static_cast<int64_t>(text.size()));
  std::fprintf(stderr, "\r%s %s %s\x1b[K", title_.c_str(), drawn.c_str(), text.c_str());
  line_open_ = done < total;
  if (!line_open_) std::fputc('\n', stderr);
}

void Progress::say(const std::string& line) {
  std::fprintf(stderr, "%s%s\n", line_open_ ? "\r\x1b[K" : "", line.c_str());
  line_open_ = false;
}

}  // namespace stipple
