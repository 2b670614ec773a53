#include "apps/film_flags.h"

#include <filesystem>

#include "diffusion/image/encode.h"

namespace stipple {

namespace fs = std::filesystem;

void FilmOptions::add_to(CLI::App& c) {
  const std::string group = "The denoising as pictures";
  c.add_option("--strip", strip, "PNG: for each picture a row of states and a row of predicted clean images")
      ->group(group);
  c.add_option("--frames", frames, "folder: predicted clean images as frame-000.png, frame-001.png, ...")->group(group);
  c.add_option("--every", every, "at every so many steps (default: ten in all)")
      ->check(CLI::Range(1, 1000000))
      ->group(group);
}

void FilmOptions::check_outputs() const {
  if (!strip.empty()) check_output(strip);
  if (!frames.empty()) check_output((fs::path(frames).parent_path() / "frame").string());
}

std::vector<std::string> FilmOptions::write(const Film& film, int64_t nrow) const {
  std::vector<std::string> files;
  const auto save = [&](const fs::path& file, const Image& image) {
    write_png(file, image);
    files.push_back(file.string());
  };
  if (!strip.empty()) save(strip, film.strip());
  if (!frames.empty()) fs::create_directory(frames);
  for (size_t i = 0; !frames.empty() && i < film.size(); ++i)
    save(fs::path(frames) / fmt::format("frame-{:03}.png", i), film.frame(i, nrow));
  return files;
}

}  // namespace stipple
