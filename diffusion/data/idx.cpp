#include "diffusion/data/idx.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "diffusion/data/block.h"
#include "diffusion/data/gzip.h"
#include "diffusion/image/resize.h"
#include "tensor/bytes.h"
#include "tensor/error.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxElements = int64_t{1} << 36;

std::vector<std::byte> read_exactly(GzipReader& file, size_t size, const std::string& path) {
  std::vector<std::byte> bytes(size);
  check(file.read(bytes) == size, "{}: the IDX header is cut off", path);
  return bytes;
}

std::vector<int64_t> read_extents(GzipReader& file, const std::string& path) {
  const auto magic = read_exactly(file, 4, path);
  check(big16(magic, 0) == 0, "{}: is no IDX file", path);
  check(byte_at(magic, 2) == 8, "{}: IDX elements of type 0x{:02x}; unsigned bytes (0x08) are read", path,
        byte_at(magic, 2));
  const uint32_t rank = byte_at(magic, 3);
  check(rank >= 1 && rank <= 4, "{}: IDX rank {}; 1 to 4 are read", path, rank);
  const auto header = read_exactly(file, 4 * rank, path);
  std::vector<int64_t> extents;
  for (uint32_t i = 0; i < rank; ++i) extents.push_back(big32(header, 4 * i));
  return extents;
}

int64_t product(const std::vector<int64_t>& extents, const std::string& path) {
  int64_t count = 1;
  for (int64_t extent : extents) {
    check(extent > 0 && count <= kMaxElements / extent, "{}: an IDX extent of {} makes no sense", path, extent);
    count *= extent;
  }
  return count;
}

// Grows as bytes come in, so that a header that lies costs no memory.
std::vector<uint8_t> read_elements(GzipReader& file, int64_t count, const std::string& path) {
  constexpr size_t kPiece = 1 << 18;
  std::vector<uint8_t> elements;
  while (true) {
    const size_t held = elements.size();
    elements.resize(held + kPiece);
    const size_t got = file.read(std::as_writable_bytes(std::span(elements).subspan(held)));
    elements.resize(held + got);
    check(static_cast<int64_t>(elements.size()) <= count,
          "{}: the file is longer than the {} bytes its IDX header says", path, count);
    if (got < kPiece) break;
  }
  check(static_cast<int64_t>(elements.size()) == count, "{}: the IDX header says {} bytes, the file holds {}", path,
        count, elements.size());
  return elements;
}

std::optional<fs::path> find_idx(const fs::path& folder, const std::string& split, const std::string& content,
                                 int rank) {
  const std::string begin = (split == "train" ? "train-" : "t10k-") + content;
  for (const char* separator : {"-", "."})
    for (const char* packed : {"", ".gz"}) {
      const fs::path path = folder / fmt::format("{}{}idx{}-ubyte{}", begin, separator, rank, packed);
      if (fs::is_regular_file(path)) return path;
    }
  return std::nullopt;
}

std::optional<fs::path> find_images(const fs::path& folder, const std::string& split) {
  const auto grey = find_idx(folder, split, "images", 3);
  return grey ? grey : find_idx(folder, split, "images", 4);
}

std::vector<int64_t> read_labels(const fs::path& path, int64_t images) {
  const Idx labels = read_idx(path);
  check(labels.extents.size() == 1, "{}: labels of IDX rank {}; 1 expected", path.string(), labels.extents.size());
  check(labels.extents[0] == images, "{}: {} labels for {} pictures", path.string(), labels.extents[0], images);
  return {labels.elements.begin(), labels.elements.end()};
}

std::vector<std::string> class_names(const std::string& set, const std::vector<int64_t>& labels) {
  const int64_t count = *std::max_element(labels.begin(), labels.end()) + 1;
  if (set == "fashion-mnist" && count <= 10)
    return {"T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"};
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

Dataset pictures_of(const Idx& images, const fs::path& path, const DatasetOptions& o) {
  const auto& e = images.extents;
  check(e.size() == 3 || (e.size() == 4 && (e[3] == 1 || e[3] == 3)),
        "{}: pictures of IDX rank {}; [N,H,W] or [N,H,W,C] with C = 1 or 3 expected", path.string(), e.size());
  const int64_t channels = e.size() == 4 ? e[3] : 1, bytes = e[1] * e[2] * channels;
  const Plan plan = uniform_plan(e[0], {e[1], e[2]}, channels, o);
  const auto draw = [&](int64_t i) {
    Image image(e[1], e[2], channels);
    std::copy_n(images.elements.data() + i * bytes, bytes, image.pixels.data());
    return with_channels(fitted(std::move(image), o), plan.channels);
  };
  return assemble(plan, draw, o, listed(path));
}

}  // namespace

Idx read_idx(const fs::path& path) {
  GzipReader file(path.string());
  Idx idx{read_extents(file, path.string()), {}};
  idx.elements = read_elements(file, product(idx.extents, path.string()), path.string());
  return idx;
}

bool is_idx_folder(const fs::path& folder) { return find_images(folder, "train") || find_images(folder, "test"); }

Dataset open_idx(const fs::path& folder, const DatasetOptions& o) {
  std::string split = o.split;
  if (split == "train" && !find_images(folder, split)) split = "test";
  const auto path = find_images(folder, split);
  check(path.has_value(), "{}: has no {} split (t10k-images-idx3-ubyte[.gz])", folder.string(), split);
  Dataset set = pictures_of(read_idx(*path), *path, o);
  set.name = fs::canonical(folder).filename().string();
  if (split != o.split)
    set.notices.push_back(fmt::format("{}: has no train split, the test split is taken", folder.string()));
  if (const auto labels = find_idx(folder, split, "labels", 1)) {
    set.labels = read_labels(*labels, set.size());
    set.class_names = class_names(set.name, set.labels);
  }
  return set;
}

}  // namespace stipple
