#include "diffusion/data/cifar.h"

#include <algorithm>
#include <fstream>

#include "diffusion/data/block.h"
#include "diffusion/image/resize.h"
#include "tensor/bytes.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kRecord = 1 + 3 * kPlane;  // bytes
constexpr int64_t kClasses = 10;

fs::path folder_of_batches(const fs::path& folder) {
  const fs::path inner = folder / "cifar-10-batches-bin";
  return fs::is_directory(inner) ? inner : folder;
}

std::vector<fs::path> batches(const fs::path& folder, const std::string& split) {
  std::vector<fs::path> found;
  if (split == "test") found.push_back(folder / "test_batch.bin");
  for (int i = 1; i <= 5 && split == "train"; ++i) found.push_back(folder / fmt::format("data_batch_{}.bin", i));
  std::erase_if(found, [](const fs::path& path) { return !fs::is_regular_file(path); });
  return found;
}

// The records of all batches in a row.
std::string read_records(const std::vector<fs::path>& paths) {
  std::string records;
  for (const fs::path& path : paths) {
    const std::string batch = read_file(path.string());
    check(!batch.empty() && batch.size() % kRecord == 0, "{}: {} bytes are no whole number of records of {}",
          path.string(), batch.size(), kRecord);
    records += batch;
  }
  return records;
}

Image picture(const std::string& records, int64_t i) {
  Image image(kSide, kSide, 3);
  const char* planes = records.data() + i * kRecord + 1;
  for (int64_t p = 0; p < kPlane; ++p)
    for (int64_t c = 0; c < 3; ++c) image.pixels[p * 3 + c] = static_cast<uint8_t>(planes[c * kPlane + p]);
  return image;
}

std::vector<int64_t> read_labels(const std::string& records, const fs::path& folder) {
  std::vector<int64_t> labels;
  for (size_t at = 0; at < records.size(); at += kRecord) {
    labels.push_back(static_cast<uint8_t>(records[at]));
    check(labels.back() < kClasses, "{}: record {} is labelled {}; 0 to {} expected", folder.string(),
          labels.size() - 1, labels.back(), kClasses - 1);
  }
  return labels;
}

}  // namespace

bool is_cifar_folder(const fs::path& path) {
  const fs::path folder = folder_of_batches(path);
  return !batches(folder, "train").empty() || !batches(folder, "test").empty();
}

Dataset open_cifar(const fs::path& path, const DatasetOptions& o) {
  const fs::path folder = folder_of_batches(path);
  const bool fall_back = o.split == "train" && batches(folder, "train").empty();
  const auto files = batches(folder, fall_back ? "test" : o.split);
  check(!files.empty(), "{}: has no {} split", folder.string(), o.split);
  const std::string records = read_records(files);
  const int64_t count = static_cast<int64_t>(records.size()) / kRecord;
  const Plan plan = uniform_plan(count, {kSide, kSide}, 3, o);
  const auto draw = [&](int64_t i) { return with_channels(fitted(picture(records, i), o), plan.channels); };
  std::string sources;
  for (const fs::path& file : files) sources += listed(file);
  Dataset set = assemble(plan, draw, o, sources);
  set.name = "cifar10";
  set.labels = read_labels(records, folder);
  set.class_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  if (fall_back) set.notices.push_back(fmt::format("{}: has no train split, the test split is taken", folder.string()));
  return set;
}

}  // namespace stipple
