#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace stipple {

// What one optimizer step reports.
struct StepReport {
  int64_t step = 0;  // from 1
  double epoch = 0;
  double loss = 0;  // mean over the micro-batches
  double lr = 0;
  double grad_norm = 0;  // before clipping
  double ema_decay = 0;  // without EMA: 0
  double step_seconds = 0;
};

// metrics.jsonl: one object a line, flushed line by line, so that whoever follows the file sees every step and a crash
// loses none. Numbers that are not finite are null.
class Metrics {
 public:
  // Goes on with the file behind step `keep`; what was written later (before a crash) is cut off.
  Metrics(std::string path, int64_t keep);

  void append(const StepReport&);
  const std::vector<float>& losses() const { return losses_; }  // of all steps from 1 on

 private:
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::vector<float> losses_;
};

}  // namespace stipple
