#include "apps/film_flags.h"

#include <filesystem>

#include "diffusion/image/encode.h"
#include "diffusion/image/gif.h"

namespace stipple {

namespace fs = std::filesystem;

namespace {

constexpr const char* kProbe = "frame-000.png";

std::vector<Image> all_frames(const Film& film, int64_t nrow) {
  std::vector<Image> frames;
  for (size_t i = 0; i < film.size(); ++i) frames.push_back(film.frame(i, nrow));
  return frames;
}

// For the frames: one that is there, or the name of one.
void check_folder(const std::string& folder) {
  const bool there = fs::exists(folder);
  check(!there || fs::is_directory(folder), "--frames {}: it is a file, a folder is expected", folder);
  check_output(there ? (fs::path(folder) / "frame-000.png").string() : folder);
}

}  // namespace

void FilmOptions::add_to(CLI::App& c) {
  const std::string group = "The denoising as pictures";
  c.add_option("--strip", strip, "PNG: for each picture a row of states and a row of predicted clean images")
      ->group(group);
  c.add_option("--frames", frames, "folder: predicted clean images as frame-000.png, frame-001.png, ...")->group(group);
  c.add_option("--gif", gif, "GIF: the same frames, animated")->group(group);
  c.add_option("--every", every, "at every so many steps (default: ten in all)")
      ->check(CLI::Range(1, 1000000))
      ->group(group);
}

void FilmOptions::check_apart(const std::vector<OutputFile>& others) const {
  for (const OutputFile& other : others) {
    const fs::path file = other.path, folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
    const bool inside = !frames.empty() && fs::weakly_canonical(folder) == fs::weakly_canonical(without_slash(frames));
    if (inside && file.filename().string().starts_with("frame-") && file.extension() == ".png")
      fail_usage("{} {}: that name is for a picture of --frames {}", other.flag, other.path, frames);
  }
}

std::vector<OutputFile> FilmOptions::outputs() const {
  std::vector<OutputFile> outputs;
  if (!strip.empty()) outputs.push_back({"--strip", strip});
  if (!frames.empty()) outputs.push_back({"--frames", without_slash(frames)});
  if (!gif.empty()) outputs.push_back({"--gif", gif});
  return outputs;
}

void FilmOptions::check_outputs() const {
  if (every && !wanted()) fail_usage("--every {}: it goes with --strip, --frames or --gif", every);
  if (!strip.empty()) check_output(strip);
  const std::string extension = fs::path(gif).extension().string();
  check(gif.empty() || extension == ".gif" || extension == ".GIF", "--gif {}: a name that ends in .gif is expected",
        gif);
  if (!gif.empty()) check_output(gif);
  if (!frames.empty()) check_folder(without_slash(frames));
}

std::vector<std::string> FilmOptions::write(const Film& film, int64_t nrow) const {
  std::vector<std::string> files;
  const auto save = [&](const fs::path& file, const Image& image) {
    write_png(file, image);
    files.push_back(file.string());
  };
  if (!strip.empty()) save(strip, film.strip());
  if (!frames.empty()) fs::create_directory(without_slash(frames));
  for (size_t i = 0; !frames.empty() && i < film.size(); ++i)
    save(fs::path(frames) / fmt::format("frame-{:03}.png", i), film.frame(i, nrow));
  if (!gif.empty()) {
    write_gif(gif, all_frames(film, nrow));
    files.push_back(gif);
  }
  return files;
}

}  // namespace stipple
