#pragma once
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace stipple {

enum class ClassConditioning { none, embedding, channels };
ClassConditioning class_conditioning(const std::string& name);  // throws for unknown names
const char* name_of(ClassConditioning);

// How classes enter the network. A pipeline keeps this in conditioning/config.json, beside what diffusers knows.
//   embedding  a row of a table is added to the time embedding (num_class_embeds of the U-Net)
//   channels   a row of a table [rows, planes] becomes constant planes next to the image's channels (the course's way)
// With label dropout the table has one more row, the last: "no label". That is what guidance needs.
struct ConditioningConfig {
  ClassConditioning kind = ClassConditioning::none;
  int64_t classes = 0;
  int64_t planes = 4;
  bool label_dropout = false;
  std::vector<std::string> class_names;

  int64_t rows() const { return classes + label_dropout; }
  int64_t no_label() const;  // throws where the network was trained without label dropout
  // Labels must be there exactly where the network wants them, and name classes it knows.
  void check_labels(const Tensor& labels) const;

  static ConditioningConfig from_json(const std::string& text, const std::string& file,
                                      std::vector<std::string>& notices);
  std::string to_json() const;
};

}  // namespace stipple
