#include "diffusion/image/plot.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "diffusion/image/canvas.h"
#include "diffusion/image/encode.h"
#include "tensor/error.h"

namespace stipple {
namespace {

constexpr Colour kPaper{255, 255, 255}, kGridLine{229, 232, 239}, kFrame{150, 156, 170}, kInk{38, 44, 58},
    kLabel{92, 99, 115}, kCurve{32, 99, 196};
constexpr double kTitleSize = 13, kLabelSize = 9.5;  // height of capitals, pixels

// The part of the sheet that shows data, and what it shows.
struct Axes {
  Canvas::Clip area;
  double first_step, last_step;
  double low, high;  // loss; logarithms where log_y
  bool log_y;

  double x(double step) const {
    return area.left + (step - first_step) / (last_step - first_step) * (area.right - area.left);
  }
  double y(double loss) const {
    const double value = log_y ? std::log10(loss) : loss;
    return area.bottom - (value - low) / (high - low) * (area.bottom - area.top);
  }
  bool shows(double loss) const { return std::isfinite(loss) && (!log_y || loss > 0); }
};

// Means over a window of a fortieth of the run (some ten steps at least) around each step; towards the start the window
// shrinks, because the curve is steep there, at the end it is cut in half. Not a number where the step itself is none.
std::vector<double> smoothed(std::span<const float> losses) {
  const int64_t n = static_cast<int64_t>(losses.size()), half = std::max(n / 80, std::min<int64_t>(n / 8, 5));
  std::vector<double> sums(n + 1), counts(n + 1), means(n);
  for (int64_t i = 0; i < n; ++i) {
    const bool finite = std::isfinite(losses[i]);
    sums[i + 1] = sums[i] + (finite ? losses[i] : 0);
    counts[i + 1] = counts[i] + finite;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int64_t reach = std::min(half, i), begin = i - reach, end = std::min(n, i + reach + 1);
    means[i] = std::isfinite(losses[i]) ? (sums[end] - sums[begin]) / (counts[end] - counts[begin]) : NAN;
  }
  return means;
}

// What nearly all losses lie between, with a margin.
void choose_range(Axes& axes, std::span<const float> losses) {
  std::vector<double> shown;
  for (float loss : losses)
    if (axes.shows(loss)) shown.push_back(axes.log_y ? std::log10(loss) : loss);
  std::sort(shown.begin(), shown.end());
  if (shown.empty()) shown = {0, 1};
  const double low = shown[shown.size() / 500], high = shown[shown.size() - 1 - shown.size() / 200];
  const double margin = high > low ? 0.06 * (high - low) : std::max(std::abs(high), 1e-3) / 2;
  axes.low = low - margin;
  axes.high = high + margin;
  if (!axes.log_y && low >= 0) axes.low = std::max(axes.low, 0.0);
}

// The smallest of 1, 2, 5 times a power of ten that makes at most `count` steps.
double nice_step(double extent, int count) {
  const double power = std::pow(10, std::floor(std::log10(extent / count)));
  for (double factor : {1.0, 2.0, 5.0})
    if (extent / (factor * power) <= count) return factor * power;
  return 10 * power;
}

std::vector<double> linear_ticks(double low, double high, int count) {
  const double step = nice_step(high - low, count);
  std::vector<double> ticks;
  for (double k = std::ceil(low / step); k * step <= high; ++k) ticks.push_back(k * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  const bool wide = high - low > 3;
  std::vector<double> ticks;
  for (double decade = std::floor(low); decade <= high; ++decade)
    for (double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * std::pow(10, decade);
      if (std::log10(tick) >= low && std::log10(tick) <= high && (factor == 1 || !wide)) ticks.push_back(tick);
    }
  return ticks;
}

std::string step_label(double step) {
  return step >= 10'000 ? fmt::format("{:g}k", step / 1000) : fmt::format("{:g}", step);
}

void draw_axes(Canvas& canvas, const Axes& axes) {
  const auto [left, top, right, bottom] = axes.area;
  for (double loss : axes.log_y ? log_ticks(axes.low, axes.high) : linear_ticks(axes.low, axes.high, 8)) {
    const double y = std::round(axes.y(loss));
    const std::string label = fmt::format("{:.6g}", std::abs(loss) < 1e-12 ? 0 : loss);
    canvas.line({{left, y}, {right, y}}, 1, kGridLine);
    canvas.text({left - 12 - Canvas::text_width(label, kLabelSize), y + kLabelSize / 2}, label, kLabelSize, kLabel);
  }
  for (double step : linear_ticks(axes.first_step, axes.last_step, 8)) {
    const double x = std::round(axes.x(step));
    const std::string label = step_label(step);
    canvas.line({{x, top}, {x, bottom}}, 1, kGridLine);
    canvas.text({x - Canvas::text_width(label, kLabelSize) / 2, bottom + 12 + kLabelSize}, label, kLabelSize, kLabel);
  }
  canvas.line({{left, top}, {left, bottom}, {right, bottom}}, 1, kFrame);
  canvas.text({left - 12 - Canvas::text_width("loss", kLabelSize), top - 14}, "loss", kLabelSize, kLabel);
  canvas.text({right - Canvas::text_width("step", kLabelSize), bottom + 20 + 2.4 * kLabelSize}, "step", kLabelSize,
              kLabel);
}

// Lines through the values, broken where there is none. Where several steps share a column of pixels, the line goes
// through the least and the greatest of them.
template <typename T>
void draw_curve(Canvas& canvas, const Axes& axes, std::span<const T> values, double width, double opacity) {
  std::vector<Spot> spots;
  const auto finish = [&] {
    if (!spots.empty()) canvas.line(spots, width, kCurve, opacity);
    spots.clear();
  };
  const int64_t n = static_cast<int64_t>(values.size());
  const int64_t stride = std::max<int64_t>(1, n / static_cast<int64_t>(axes.area.right - axes.area.left));
  for (int64_t begin = 0; begin < n; begin += stride) {
    const auto column = values.subspan(begin, std::min(stride, n - begin));
    if (!std::all_of(column.begin(), column.end(), [&](T v) { return axes.shows(v); })) {
      finish();
      continue;
    }
    const auto [low, high] = std::minmax_element(column.begin(), column.end());
    const double x = axes.x(axes.first_step + begin);
    spots.push_back({x, axes.y(*low)});
    if (*high > *low) spots.push_back({x, axes.y(*high)});
  }
  finish();
}

// The last smoothed loss, as a dot and a number.
void draw_last(Canvas& canvas, const Axes& axes, const std::vector<double>& means) {
  const auto last = std::find_if(means.rbegin(), means.rend(), [&](double m) { return axes.shows(m); });
  if (last == means.rend()) return;
  const Spot at{axes.x(axes.first_step + static_cast<double>(means.rend() - last - 1)), axes.y(*last)};
  canvas.line({at}, 8, kPaper);
  canvas.line({at}, 6, kCurve);
  canvas.text({at.x + 10, at.y + kLabelSize / 2}, fmt::format("{:.4g}", *last), kLabelSize, kCurve, 1.6);
}

}  // namespace

Image draw_loss(std::span<const float> losses, const std::string& title, const PlotOptions& o) {
  check(o.width >= 320 && o.height >= 200, "plot: {} x {} pixels are too small", o.width, o.height);
  Canvas canvas(o.height, o.width, kPaper);
  const double first = static_cast<double>(o.first_step), count = static_cast<double>(losses.size());
  Axes axes{{84, 76, o.width - 84.0, o.height - 64.0}, first, first + std::max(count - 1, 1.0), 0, 1, o.log_y};
  choose_range(axes, losses);
  const double fits = (o.width - 84.0 - 24) / Canvas::text_width(title, 1);
  canvas.text({84, 36}, title, std::min(kTitleSize, fits), kInk, 1.8);
  draw_axes(canvas, axes);
  const std::vector<double> means = smoothed(losses);
  canvas.clip(axes.area);
  draw_curve(canvas, axes, losses, 1.2, 0.33);
  draw_curve(canvas, axes, std::span<const double>(means), 2.6, 1);
  canvas.clip_nothing();
  draw_last(canvas, axes, means);
  return canvas.image();
}

void plot_loss(const std::filesystem::path& png, std::span<const float> losses, const std::string& title,
               const PlotOptions& o) {
  write_png(png, draw_loss(losses, title, o));
}

}  // namespace stipple
