#pragma once
#include <string>

#include "diffusion/pipeline.h"
#include "tests/tiny_run.h"

namespace stipple {

inline UNet2DConfig tiny_network(int64_t rows = 0) {
  std::vector<std::string> notices;
  UNet2DConfig config = UNet2DConfig::from_json(kTinyNetwork, "tiny", notices);
  if (rows > 0) config.class_embedding = ClassEmbedding::table, config.num_class_embeds = rows;
  return config;
}

// The tiny network, not trained, as a pipeline folder; `conditioning` by embedding where it has classes.
inline void write_tiny_pipeline(const std::string& folder, const ConditioningConfig& conditioning = {}) {
  const bool embeds = conditioning.kind == ClassConditioning::embedding;
  Pipeline pipeline(tiny_network(embeds ? conditioning.rows() : 0), conditioning, {});
  PhiloxGenerator generator(0);
  pipeline.parameters.initialize(generator);
  pipeline.save(folder, pipeline.parameters.values());
}

inline ConditioningConfig three_classes(bool label_dropout) {
  ConditioningConfig c;
  c.kind = ClassConditioning::embedding;
  c.classes = 3;
  c.label_dropout = label_dropout;
  return c;
}

// Replaces the first `from` in a text file.
inline void edit_file(const std::string& path, const std::string& from, const std::string& to) {
  std::string text = read_file(path);
  const size_t at = text.find(from);
  check(at != std::string::npos, "{}: does not hold '{}'", path, from);
  write_file_atomically(path, text.replace(at, from.size(), to));
}

}  // namespace stipple
