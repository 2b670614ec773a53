#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"

// What `stipple profile` can run on the emulated GPU: operations with the sizes one names, and training steps.

namespace stipple {

using Sizes = std::map<std::string, int64_t>;

// An operation to profile: "conv2d n=2 h=16 w=16 c=64 k=64 kernel=3 stride=1".
struct OperationRequest {
  std::string name;
  Sizes sizes;  // those left out are the operation's own

  std::string title() const;
};

// Words of a command line: a name, then its sizes, then perhaps another name. Throws where a name or a size is unknown.
std::vector<OperationRequest> parse_operations(const std::vector<std::string>& words);
std::vector<OperationRequest> default_operations();  // at shapes of U-Nets
std::string describe_operations();                   // names with their sizes, for --help

// Forward and backward, ready to run: its inputs are on the GPU already.
std::function<void()> prepare(const OperationRequest&, Dtype);

struct TrainingStepRequest {
  std::string config;                        // a U-Net's config.json
  int64_t batch = 1, height = 0, width = 0;  // 0: as the configuration says
};
std::function<void()> prepare(const TrainingStepRequest&, Dtype);  // of what its layers compute in

}  // namespace stipple
