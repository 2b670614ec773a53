// Data sets from IDX files, CIFAR-10 batches and folders of pictures, all made here.
#include "diffusion/data/dataset.h"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "diffusion/data/cifar.h"
#include "diffusion/data/idx.h"
#include "diffusion/data/image_folder.h"
#include "diffusion/image/encode.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tests/catch.h"
#include "tests/scratch_folder.h"

using namespace stipple;

namespace {

namespace fs = std::filesystem;

void write(const std::string& path, const std::string& bytes) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

void write_packed(const std::string& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  gzclose(file);
}

std::string idx(const std::vector<uint32_t>& extents, const std::string& elements) {
  std::string file{0, 0, 8, static_cast<char>(extents.size())};
  for (uint32_t e : extents)
    for (int shift = 24; shift >= 0; shift -= 8) file.push_back(static_cast<char>(e >> shift));
  return file + elements;
}

std::string counting(int64_t n) {
  std::string bytes;
  for (int64_t i = 0; i < n; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

void picture(const std::string& path, uint8_t value, int64_t height = 4, int64_t width = 4, int64_t channels = 1) {
  write(path, encode_png(Image(height, width, channels, value)));
}

std::vector<int> first_pixels(const Dataset& set) {
  std::vector<int> pixels;
  for (int64_t i = 0; i < set.size(); ++i) pixels.push_back(*set.image(i).pixels);
  return pixels;
}

template <typename F>
std::string failure(F&& f) {
  try {
    f();
  } catch (const Error& error) { return error.what(); }
  return "";
}

}  // namespace

TEST_CASE("IDX pictures and labels are read, plain and packed", "[dataset]") {
  const ScratchFolder folder;
  write(folder / "train-images-idx3-ubyte", idx({3, 2, 2}, counting(12)));
  write_packed(folder / "train-labels-idx1-ubyte.gz", idx({3}, {2, 0, 1}));
  write_packed(folder / "t10k-images-idx3-ubyte.gz", idx({1, 2, 2}, counting(4)));
  const Dataset set = open_dataset(folder.path());
  CHECK(set.size() == 3);
  CHECK(set.channels == 1);
  CHECK(first_pixels(set) == std::vector<int>{0, 4, 8});
  CHECK(set.labels == std::vector<int64_t>{2, 0, 1});
  CHECK(set.class_names == std::vector<std::string>{"0", "1", "2"});
  const Dataset test = open_dataset(folder.path(), {.split = "test"});
  CHECK(test.size() == 1);
  CHECK_FALSE(test.labelled());
  CHECK(test.notices.empty());
}

TEST_CASE("IDX pictures may have colours and another size", "[dataset]") {
  const ScratchFolder folder;
  write(folder / "train-images-idx4-ubyte", idx({2, 2, 2, 3}, std::string(24, '\x50')));
  const Dataset set = open_dataset(folder.path(), {.resolution = 8});
  CHECK(set.channels == 3);
  CHECK(set.height == 8);
  CHECK(first_pixels(set) == std::vector<int>{0x50, 0x50});
}

TEST_CASE("Without a train split the test split is taken, with a notice", "[dataset]") {
  const ScratchFolder folder;
  write(folder / "t10k-images-idx3-ubyte", idx({1, 2, 2}, counting(4)));
  const Dataset set = open_dataset(folder.path());
  REQUIRE(set.notices.size() == 1);
  CHECK(set.notices[0].find("test split") != std::string::npos);
  picture(folder / "pictures/test/a.png", 1);
  CHECK(open_dataset(folder / "pictures").notices.size() == 1);
}

TEST_CASE("IDX files that lie are errors that name the file", "[dataset]") {
  const ScratchFolder folder;
  const std::string images = folder / "train-images-idx3-ubyte";
  const auto refusal = [&](const std::string& bytes) {
    write(images, bytes);
    return failure([&] { open_dataset(folder.path()); });
  };
  CHECK_THAT(refusal(idx({3, 2, 2}, counting(11))), Contains(images) && Contains("says 12 bytes, the file holds 11"));
  CHECK_THAT(refusal(idx({3, 2, 2}, counting(13))), Contains("longer"));
  CHECK_THAT(refusal(idx({0, 2, 2}, "")), Contains("makes no sense"));
  CHECK_THAT(refusal(idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, "")), Contains("makes no sense"));
  CHECK_THAT(refusal(idx({4, 4}, counting(16))), Contains("rank 2"));
  CHECK_THAT(refusal(std::string("\0\0\x0D\3", 4)), Contains("0x0d"));
  CHECK_THAT(refusal("no IDX file"), Contains("is no IDX file"));
  CHECK_THAT(refusal(std::string("\0\0\x08", 3)), Contains("cut off"));
  CHECK(refusal(idx({3, 2, 2}, counting(12))).empty());
  write(folder / "train-labels-idx1-ubyte", idx({2}, counting(2)));
  CHECK_THAT(refusal(idx({3, 2, 2}, counting(12))), Contains("2 labels for 3 pictures"));
}

TEST_CASE("Packed IDX that is cut off is an error", "[dataset]") {
  const ScratchFolder folder;
  const std::string path = folder / "train-images-idx3-ubyte.gz";
  write_packed(path, idx({3, 20, 20}, counting(1200)));
  const std::string whole = read_file(path);
  for (size_t size : {size_t{12}, whole.size() / 2, whole.size() - 1}) {
    write(path, whole.substr(0, size));
    CHECK_THAT(failure([&] { open_dataset(folder.path()); }), Contains(path) && Contains("cut off"));
  }
}

TEST_CASE("CIFAR-10 records are turned from planes to pixels", "[dataset]") {
  const ScratchFolder folder;
  const auto record = [](int label) {
    return std::string(1, static_cast<char>(label)) + std::string(1024, '\1') + std::string(1024, '\2') +
           std::string(1024, '\3');
  };
  write(folder / "cifar-10-batches-bin/data_batch_1.bin", record(7) + record(0));
  write(folder / "cifar-10-batches-bin/data_batch_2.bin", record(9));
  const Dataset set = open_dataset(folder.path());
  CHECK(set.size() == 3);
  CHECK(set.labels == std::vector<int64_t>{7, 0, 9});
  CHECK(set.class_names[7] == "horse");
  CHECK(std::vector<int>(set.image(1).at(31, 31), set.image(1).at(31, 31) + 3) == std::vector<int>{1, 2, 3});
  write(folder / "cifar-10-batches-bin/data_batch_2.bin", record(9) + "x");
  CHECK_THAT(failure([&] { open_dataset(folder.path()); }), Contains("whole number of records"));
  write(folder / "cifar-10-batches-bin/data_batch_2.bin", record(10));
  CHECK_THAT(failure([&] { open_dataset(folder.path()); }), Contains("labelled 10"));
}

TEST_CASE("Class folders give labels, in the order of their names, below the split", "[dataset]") {
  const ScratchFolder folder;
  picture(folder / "wrapped/train/dog/b.png", 3);
  picture(folder / "wrapped/train/dog/a.png", 2);
  picture(folder / "wrapped/train/cat/deep/z.png", 1);
  picture(folder / "wrapped/test/cat/t.png", 9);
  picture(folder / "wrapped/.hidden/x.png", 9);
  write(folder / "wrapped/train/notes.txt", "ignored");
  const Dataset set = open_dataset(folder.path());
  CHECK(first_pixels(set) == std::vector<int>{1, 2, 3});
  CHECK(set.labels == std::vector<int64_t>{0, 1, 1});
  CHECK(set.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(first_pixels(open_dataset(folder.path(), {.split = "test"})) == std::vector<int>{9});
}

TEST_CASE("One picture a class folder is labelled, one a name is not", "[dataset]") {
  const ScratchFolder folder;
  for (const char* name : {"folders/train/a/x.png", "folders/train/b/x.png", "flat/a_1.png", "flat/b_1.png"})
    picture(folder / name, 1);
  CHECK(open_dataset(folder / "folders").labels == std::vector<int64_t>{0, 1});
  CHECK_FALSE(open_dataset(folder / "flat").labelled());
}

TEST_CASE("Links to folders are followed, except in circles", "[dataset]") {
  const ScratchFolder folder;
  picture(folder / "elsewhere/deep/x.png", 2);
  picture(folder / "set/cat/x.png", 1);
  fs::create_directory_symlink(folder / "elsewhere", folder / "set/dog");
  CHECK(open_dataset(folder / "set").class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(first_pixels(open_dataset(folder / "set")) == std::vector<int>{1, 2});
  fs::create_directory_symlink(folder / "set", folder / "elsewhere/deep/back");
  const Dataset set = open_dataset(folder / "set");
  CHECK(first_pixels(set) == std::vector<int>{1, 2});
  REQUIRE(set.notices.size() == 1);
  CHECK_THAT(set.notices[0], Contains("set/dog/deep/back: is a link to a folder above it"));
  fs::create_directory(folder / "circle");
  fs::create_directory_symlink(folder / "circle", folder / "circle/again");
  CHECK_THAT(failure([&] { open_dataset(folder / "circle"); }), Contains("holds no pictures"));
}

TEST_CASE("Names give labels in a flat folder", "[dataset]") {
  const ScratchFolder folder;
  for (const char* name : {"cat_1.png", "cat_2.png", "dog_1.PNG"}) picture(folder / name, 1);
  CHECK(open_dataset(folder.path()).class_names == std::vector<std::string>{"cat", "dog"});
  picture(folder / "nameless.png", 1);
  CHECK_FALSE(open_dataset(folder.path()).labelled());
}

TEST_CASE("A set is grey if all its pictures are, and as asked for", "[dataset]") {
  const ScratchFolder folder;
  picture(folder / "a.png", 10);
  CHECK(open_dataset(folder.path()).channels == 1);
  picture(folder / "b.png", 20, 4, 4, 3);
  CHECK(open_dataset(folder.path()).channels == 3);
  CHECK(open_dataset(folder.path(), {.channels = 1}).channels == 1);
  CHECK_THAT(failure([&] { open_dataset(folder.path(), {.channels = 2}); }), Contains("2 channels"));
}

TEST_CASE("Pictures are brought to the resolution, and larger ones kept for random crops", "[dataset]") {
  const ScratchFolder folder;
  picture(folder / "a.png", 1, 10, 20);
  picture(folder / "b.png", 2, 30, 10);
  const Dataset center = open_dataset(folder.path(), {.resolution = 5});
  CHECK(center.image(0).width == 5);
  const Dataset random = open_dataset(folder.path(), {.resolution = 5, .fit = Fit::random_crop});
  CHECK(random.width == 5);
  CHECK(random.image(0).width == 10);
  CHECK(random.image(1).height == 15);
  CHECK(open_dataset(folder.path(), {.resolution = 5, .fit = Fit::stretch}).image(1).height == 5);
  CHECK_THAT(failure([&] { open_dataset(folder.path()); }),
             Contains("a.png is 20 x 10") && Contains("give a resolution"));
}

TEST_CASE("All bad pictures are one error, or are left out with a notice", "[dataset]") {
  const ScratchFolder folder;
  picture(folder / "good_1.png", 1);
  picture(folder / "great_2.png", 2);
  picture(folder / "great_3.png", 3);
  const std::string whole = read_file(folder / "good_1.png");
  write(folder / "bad_header.png", whole.substr(0, 20));
  write(folder / "bad_end.png", whole.substr(0, whole.size() - 4));
  write(folder / "late.webp", "RIFF....WEBP");
  CHECK_THAT(failure([&] { open_dataset(folder.path()); }),
             Contains("3 of 6") && Contains("bad_header.png") && Contains("bad_end.png") && Contains("WebP"));
  const Dataset set = open_dataset(folder.path(), {.skip_bad = true});
  CHECK(first_pixels(set) == std::vector<int>{1, 2, 3});
  REQUIRE(set.notices.size() == 1);
  CHECK_THAT(set.notices[0], Contains("3 pictures are left out"));
  for (int i = 0; i < 30; ++i) write(folder / fmt::format("more{}.png", i), "");
  CHECK_THAT(failure([&] { open_dataset(folder.path()); }), Contains("more9.png: the file is empty"));
}

TEST_CASE("Folders without readable pictures are errors", "[dataset]") {
  const ScratchFolder folder;
  CHECK_THAT(failure([&] { open_dataset(folder.path()); }), Contains("holds no pictures"));
  write(folder / "a.png", "");
  CHECK_THAT(failure([&] { open_dataset(folder.path(), {.skip_bad = true}); }), Contains("none of its 1 pictures"));
  CHECK_THAT(failure([&] { open_dataset(folder / "missing"); }), Contains("there is no such folder"));
  CHECK_THAT(failure([&] { open_dataset(folder / "a.png"); }), Contains("is a file"));
  CHECK_THAT(failure([&] { open_dataset(folder.path(), {.split = "test"}); }), Contains("no folder `test`"));
}

TEST_CASE("A set larger than the memory limit goes through a cache file that is used again", "[dataset]") {
  const ScratchFolder folder;
  for (int i = 0; i < 5; ++i)
    picture(folder / fmt::format("pictures/class{}_{}.png", i % 2, i), static_cast<uint8_t>(i));
  write(folder / "pictures/class0_bad.png", "");
  int64_t decoded = 0;
  const DatasetOptions options{
      .skip_bad = true, .cache_dir = folder / "cache", .memory_limit = 10, .progress = [&](int64_t done, int64_t) {
        decoded = done;
      }};
  const Dataset made = open_dataset(folder / "pictures", options);
  CHECK(decoded == 6);
  CHECK(std::distance(fs::directory_iterator(folder / "cache"), {}) == 1);
  decoded = 0;
  const Dataset mapped = open_dataset(folder / "pictures", options);
  CHECK(decoded == 0);
  const Dataset direct = open_dataset(folder / "pictures", {.skip_bad = true});
  CHECK(first_pixels(made) == first_pixels(direct));
  CHECK(first_pixels(mapped) == first_pixels(direct));
  CHECK(mapped.labels == direct.labels);
  CHECK(mapped.notices.size() == 1);
  picture(folder / "pictures/class1_6.png", 77);
  CHECK(open_dataset(folder / "pictures", options).size() == 6);
}

TEST_CASE("A cache file is not kept when a picture is bad", "[dataset]") {
  const ScratchFolder folder;
  picture(folder / "pictures/a.png", 1);
  write(folder / "pictures/b.png", "");
  CHECK_THROWS_AS(open_dataset(folder / "pictures", {.cache_dir = folder / "cache", .memory_limit = 1}), Error);
  CHECK(std::distance(fs::directory_iterator(folder / "cache"), {}) == 0);
}

TEST_CASE("Names that are no folder are answered with what to do", "[dataset]") {
  CHECK(open_dataset("glyphs", {.resolution = 8}).size() == 20'000);
  CHECK_THAT(failure([] { open_dataset("mnist"); }), Contains("stipple data get mnist"));
  CHECK_THAT(failure([] { open_dataset("huggan/smithsonian_butterflies_subset"); }),
             Contains("hf download --repo-type dataset huggan/smithsonian_butterflies_subset"));
  CHECK_THAT(failure([] { open_dataset("./no/where"); }), Contains("there is no such folder"));
  CHECK_THAT(failure([] { open_dataset("glyphs", {.split = "validation"}); }), Contains("train or test"));
}
