#include "diffusion/data/block.h"

#include <algorithm>
#include <cstdlib>

#include "diffusion/data/sha256.h"
#include "diffusion/image/resize.h"
#include "kernels/cpu/parallel.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

using Errors = std::vector<std::optional<std::string>>;
constexpr int64_t kSlab = 512;  // pictures between two calls of progress

std::optional<std::string> failure_of(const std::function<void()>& work) {
  try {
    work();
    return std::nullopt;
  } catch (const std::exception& error) { return error.what(); }
}

int64_t bytes_of(const Plan& plan, int64_t i) {
  return plan.pictures[i].height * plan.pictures[i].width * plan.channels;
}

Image drawn(const Plan& plan, const std::function<Image(int64_t)>& draw, int64_t i) {
  Image image = draw(i);
  const auto& [offset, height, width] = plan.pictures[i];
  check(image.height == height && image.width == width && image.channels == plan.channels,
        "picture {} was planned as {} x {} x {}, but is {} x {} x {}", i, width, height, plan.channels, image.width,
        image.height, image.channels);
  return image;
}

// Hands every picture's bytes to `keep`, in order.
template <typename Keep>
Errors draw_all(const Plan& plan, const std::function<Image(int64_t)>& draw, const DatasetOptions& o, Keep&& keep) {
  const int64_t total = static_cast<int64_t>(plan.pictures.size());
  Errors errors(total);
  for (int64_t begin = 0; begin < total; begin += kSlab) {
    const int64_t end = std::min(begin + kSlab, total);
    std::vector<Image> slab(end - begin);
    cpu::parallel_for(end - begin, [&](int64_t k) {
      errors[begin + k] = failure_of([&] { slab[k] = drawn(plan, draw, begin + k); });
    });
    for (int64_t i = begin; i < end; ++i) {
      slab[i - begin].pixels.resize(bytes_of(plan, i));  // a picture that failed leaves zeros
      keep(plan.pictures[i].offset, slab[i - begin].pixels);
    }
    if (o.progress) o.progress(end, total);
  }
  return errors;
}

Block in_memory(const Plan& plan, const std::function<Image(int64_t)>& draw, const DatasetOptions& o) {
  const std::shared_ptr<uint8_t> pixels(new uint8_t[plan.bytes], std::default_delete<uint8_t[]>());
  Errors errors = draw_all(plan, draw, o, [&](int64_t offset, const std::vector<uint8_t>& bytes) {
    std::copy(bytes.begin(), bytes.end(), pixels.get() + offset);
  });
  return {pixels, std::move(errors)};
}

std::filesystem::path cache_folder(const DatasetOptions& o) {
  if (!o.cache_dir.empty()) return o.cache_dir;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return std::filesystem::path(cache) / "stipple";
  const char* home = std::getenv("HOME");
  check(home && *home,
        "the data set is larger than the memory limit and there is no $HOME to keep it in: give --cache-dir");
  return std::filesystem::path(home) / ".cache" / "stipple";
}

// A cache file is the block, then one byte a picture: 1 where it could not be decoded.
Block mapped(const std::filesystem::path& path, const Plan& plan) {
  const auto file = std::make_shared<MappedFile>(path.string());
  const size_t expected = plan.bytes + plan.pictures.size();
  check(file->size() == expected, "{}: {} bytes expected, the file has {}: delete it", path.string(), expected,
        file->size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(file->bytes().data());
  Block block{{file, bytes}, Errors(plan.pictures.size())};
  for (size_t i = 0; i < block.errors.size(); ++i)
    if (bytes[plan.bytes + i] != 0) block.errors[i] = "could not be decoded when the cache was made";
  return block;
}

bool any(const Errors& errors) {
  return std::any_of(errors.begin(), errors.end(), [](const auto& e) { return e.has_value(); });
}

// Everything the pixels depend on.
std::string cache_name(const Plan& plan, const DatasetOptions& o, const std::string& sources) {
  std::string key =
      fmt::format("{} {} {} {}\n{}", o.resolution, static_cast<int>(o.fit), plan.channels, o.skip_bad, sources);
  for (const auto& picture : plan.pictures) key += fmt::format("{} {}\n", picture.height, picture.width);
  return sha256(key) + ".pixels";
}

Block in_cache(const Plan& plan, const std::function<Image(int64_t)>& draw, const DatasetOptions& o,
               const std::string& sources) {
  const auto folder = cache_folder(o), path = folder / cache_name(plan, o, sources);
  if (std::filesystem::exists(path)) return mapped(path, plan);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  check(!error, "{}: cannot be created: {}", folder.string(), error.message());
  AtomicFile file(path.string());
  Errors errors = draw_all(
      plan, draw, o, [&](int64_t, const std::vector<uint8_t>& bytes) { file.write(std::as_bytes(std::span(bytes))); });
  if (any(errors) && !o.skip_bad) return {nullptr, std::move(errors)};
  for (const auto& e : errors) file.write(std::string_view(e ? "\1" : "\0", 1));
  file.commit();
  return {mapped(path, plan).pixels, std::move(errors)};
}

}  // namespace

void Plan::add(int64_t picture_height, int64_t picture_width) {
  pictures.push_back({bytes, picture_height, picture_width});
  bytes += picture_height * picture_width * channels;
}

Size fitted_size(Size from, const DatasetOptions& o) {
  const int64_t side = o.resolution;
  if (side == 0) return from;
  if (o.fit != Fit::random_crop) return {side, side};
  return from.height <= from.width ? Size{side, side * from.width / from.height}
                                   : Size{side * from.height / from.width, side};
}

Image fitted(Image from, const DatasetOptions& o) {
  const int64_t side = o.resolution;
  if (side == 0 || (from.height == side && from.width == side)) return from;
  if (o.fit == Fit::stretch) return resize(from, side, side);
  Image small = resize_short_side(from, side);
  return o.fit == Fit::random_crop ? small : center_crop(small, side, side);
}

Plan uniform_plan(int64_t n, Size size, int64_t channels, const DatasetOptions& o) {
  const Size kept = fitted_size(size, o);
  const int64_t side = o.resolution;
  Plan plan{side ? side : kept.height, side ? side : kept.width, o.channels ? o.channels : channels, {}};
  for (int64_t i = 0; i < n; ++i) plan.add(kept.height, kept.width);
  return plan;
}

Block make_block(const Plan& plan, const std::function<Image(int64_t)>& draw, const DatasetOptions& o,
                 const std::string& sources) {
  const int64_t limit = o.memory_limit ? o.memory_limit : usable_memory() / 4;
  return plan.bytes <= limit ? in_memory(plan, draw, o) : in_cache(plan, draw, o, sources);
}

std::string listed(const std::filesystem::path& path) {
  return fmt::format("{} {} {}\n", std::filesystem::absolute(path).string(), std::filesystem::file_size(path),
                     std::filesystem::last_write_time(path).time_since_epoch().count());
}

Dataset assemble(const Plan& plan, const std::function<Image(int64_t)>& draw, const DatasetOptions& o,
                 const std::string& sources) {
  Block block = make_block(plan, draw, o, sources);
  for (const auto& error : block.errors) check(!error, "{}", error.value_or(""));
  return {.height = plan.height,
          .width = plan.width,
          .channels = plan.channels,
          .pictures = plan.pictures,
          .block = std::move(block.pixels)};
}

}  // namespace stipple
