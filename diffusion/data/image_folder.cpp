#include "diffusion/data/image_folder.h"

#include <algorithm>

#include "diffusion/data/block.h"
#include "diffusion/data/picture_files.h"
#include "diffusion/image/decode.h"
#include "diffusion/image/resize.h"
#include "kernels/cpu/parallel.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

struct Header {
  Size size{0, 0};  // upright
  int64_t channels = 0;
  std::string error;  // empty: the header is good
};

Size upright_size(const ImageHeader& h) {
  return h.orientation >= 5 ? Size{h.width, h.height} : Size{h.height, h.width};
}

// Resizing its short side must not make a picture huge.
void check_not_oblong(const fs::path& path, Size size, int64_t resolution) {
  const int64_t longest = resolution * std::max(size.height, size.width) / std::min(size.height, size.width);
  check(resolution == 0 || longest <= kMaxPixels / resolution,
        "{}: {} x {} pixels are too oblong for a resolution of {}", path.string(), size.width, size.height, resolution);
}

Header read_upright_header(const fs::path& path, int64_t resolution) try {
  const MappedFile file(path.string());
  const ImageHeader h = read_header(file.bytes(), path.string());
  check_not_oblong(path, upright_size(h), resolution);
  return {upright_size(h), h.channels, ""};
} catch (const std::exception& error) { return {.error = error.what()}; }

std::vector<Header> read_headers(const std::vector<fs::path>& files, int64_t resolution) {
  std::vector<Header> headers(files.size());
  cpu::parallel_for(static_cast<int64_t>(files.size()),
                    [&](int64_t i) { headers[i] = read_upright_header(files[i], resolution); });
  return headers;
}

int64_t common_channels(const std::vector<Header>& headers) {
  int64_t most = 1;
  for (const Header& h : headers) most = std::max(most, h.channels);
  return most;
}

// Without a resolution all pictures must have one size.
Size common_size(const std::vector<fs::path>& files, const std::vector<Header>& headers) {
  const auto good = [](const Header& h) { return h.error.empty(); };
  const auto first = std::find_if(headers.begin(), headers.end(), good);
  if (first == headers.end()) return {0, 0};
  for (size_t i = 0; i < headers.size(); ++i) {
    const auto [height, width] = headers[i].size;
    check(!good(headers[i]) || (height == first->size.height && width == first->size.width),
          "the pictures differ in size ({} is {} x {}, {} is {} x {}): give a resolution",
          files[first - headers.begin()].string(), first->size.width, first->size.height, files[i].string(), width,
          height);
  }
  return first->size;
}

Plan plan_of(const std::vector<fs::path>& files, const std::vector<Header>& headers, const DatasetOptions& o) {
  const Size size = o.resolution ? Size{o.resolution, o.resolution} : common_size(files, headers);
  Plan plan{size.height, size.width, o.channels ? o.channels : common_channels(headers), {}};
  for (const Header& h : headers) {
    const Size kept = h.error.empty() ? fitted_size(h.size, o) : Size{0, 0};
    plan.add(kept.height, kept.width);
  }
  return plan;
}

// All of them: whoever has to mend them needs every name.
std::string list_of(const std::vector<std::string>& errors) {
  std::string list;
  for (const std::string& error : errors) list += (list.empty() ? " " : "; ") + error;
  return list;
}

// What could be decoded, as a set; what could not, as an error or a notice.
Dataset keep_good(const fs::path& folder, const Plan& plan, Block block, const Labels& labels, bool skip_bad) {
  Dataset set{.height = plan.height,
              .width = plan.width,
              .channels = plan.channels,
              .class_names = labels.names,
              .block = std::move(block.pixels)};
  std::vector<std::string> bad;
  for (size_t i = 0; i < plan.pictures.size(); ++i) {
    if (block.errors[i]) {
      bad.push_back(*block.errors[i]);
      continue;
    }
    set.pictures.push_back(plan.pictures[i]);
    if (!labels.of.empty()) set.labels.push_back(labels.of[i]);
  }
  check(!set.pictures.empty(), "{}: none of its {} pictures can be read:{}", folder.string(), bad.size(), list_of(bad));
  check(bad.empty() || skip_bad, "{}: {} of {} pictures cannot be read:{}", folder.string(), bad.size(),
        plan.pictures.size(), list_of(bad));
  if (!bad.empty())
    set.notices.push_back(fmt::format("{}: {} left out:{}", folder.string(),
                                      bad.size() == 1 ? "1 picture is" : fmt::format("{} pictures are", bad.size()),
                                      list_of(bad)));
  return set;
}

}  // namespace

Dataset open_image_folder(const fs::path& path, const DatasetOptions& o) {
  const PictureFiles found = find_pictures(path, o.split);
  const std::vector<Header> headers = read_headers(found.files, o.resolution);
  const Plan plan = plan_of(found.files, headers, o);
  const auto draw = [&](int64_t i) {
    check(headers[i].error.empty(), "{}", headers[i].error);
    return with_channels(fitted(load_image(found.files[i]), o), plan.channels);
  };
  std::string sources;
  for (const fs::path& file : found.files) sources += listed(file);
  Dataset set = keep_good(found.root, plan, make_block(plan, draw, o, sources), found.labels, o.skip_bad);
  set.name = fs::canonical(path).filename().string();
  set.notices.insert(set.notices.begin(), found.notices.begin(), found.notices.end());
  return set;
}

}  // namespace stipple
