#pragma once
#include "apps/command.h"
#include "apps/output_files.h"
#include "diffusion/film.h"

namespace stipple {

// --strip, --frames, --gif, --every: the denoising as pictures.
struct FilmOptions {
  std::string strip, frames, gif;
  int64_t every = 0;

  void add_to(CLI::App&);
  bool wanted() const { return !strip.empty() || !frames.empty() || !gif.empty(); }
  std::vector<OutputFile> outputs() const;
  void check_outputs() const;  // throws what writing would throw
  // Wrong usage where one of them has the name of a frame, in the folder of --frames.
  void check_apart(const std::vector<OutputFile>&) const;
  std::vector<std::string> write(const Film&, int64_t nrow) const;
};

}  // namespace stipple
