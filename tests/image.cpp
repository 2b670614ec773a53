// Pictures: decoding, orientation, refusals, resizing, encoding, grids. The fixtures come from
// tests/reference/images.py.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "diffusion/image/decode.h"
#include "diffusion/image/encode.h"
#include "diffusion/image/exif.h"
#include "diffusion/image/grid.h"
#include "diffusion/image/resize.h"
#include "tensor/error.h"
#include "tensor/file.h"
#include "tests/catch.h"

using namespace stipple;

namespace {

std::string fixture(const std::string& name) { return std::string(STIPPLE_FIXTURES) + "/images/" + name; }

Image decode_bytes(const std::string& bytes) { return decode(std::as_bytes(std::span(bytes)), "picture"); }

std::string failure(const std::string& bytes) {
  try {
    decode_bytes(bytes);
  } catch (const Error& error) { return error.what(); }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// The picture of all fixtures: red 30 x, green 40 y, blue 128.
Image ramp() {
  Image image(6, 8, 3);
  for (int64_t y = 0; y < 6; ++y)
    for (int64_t x = 0; x < 8; ++x) {
      const uint8_t pixel[] = {static_cast<uint8_t>(30 * x), static_cast<uint8_t>(40 * y), 128};
      std::copy_n(pixel, 3, image.at(y, x));
    }
  return image;
}

// As `noise` in tests/reference/images.py.
Image noise(int64_t height, int64_t width, int64_t channels) {
  Image image(height, width, channels);
  for (uint32_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 2654435761u >> 24);
  return image;
}

int largest_difference(const Image& a, const Image& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  REQUIRE(a.height == b.height);
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

std::string exif_segment(int orientation, bool little_endian) {
  const auto number = [&](uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> 8 * (little_endian ? i : bytes - 1 - i)));
    return text;
  };
  std::string tiff = (little_endian ? "II" : "MM") + number(42, 2) + number(8, 4) + number(1, 2);
  tiff += number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + number(0, 2) + number(0, 4);
  const std::string data = std::string("Exif\0\0", 6) + tiff;
  return std::string("\xFF\xE1\0", 3) + static_cast<char>(data.size() + 2) + data;
}

}  // namespace

TEST_CASE("PNG and BMP decode to the pixels that were stored", "[image]") {
  CHECK(load_image(fixture("rgb.bmp")) == ramp());
  CHECK(load_image(fixture("palette.png")) == ramp());
}

TEST_CASE("16-bit grey is rounded to 8 bits", "[image]") {
  const Image image = load_image(fixture("grey16.png"));
  REQUIRE(image.channels == 1);
  for (int64_t y = 0; y < 6; ++y)
    for (int64_t x = 0; x < 8; ++x) CHECK(*image.at(y, x) == std::lround((x * 8000 + y * 100) / 257.0));
}

TEST_CASE("Alpha is composited on white", "[image]") {
  const Image colour = load_image(fixture("rgba.png")), grey = load_image(fixture("grey_alpha.png"));
  REQUIRE(colour.channels == 3);
  REQUIRE(grey.channels == 1);
  for (int64_t y = 0; y < 6; ++y)
    for (int64_t x = 0; x < 8; ++x) {
      const double alpha = 50 * y / 255.0;
      CHECK(colour.at(y, x)[0] == std::lround(30 * x * alpha + 255 * (1 - alpha)));
      CHECK(colour.at(y, x)[2] == std::lround(128 * alpha + 255 * (1 - alpha)));
      CHECK(*grey.at(y, x) == std::lround(30 * x * alpha + 255 * (1 - alpha)));
    }
}

TEST_CASE("JPEG decodes in colour, in grey and progressively", "[image]") {
  CHECK(largest_difference(load_image(fixture("rgb.jpg")), ramp()) < 12);
  CHECK(load_image(fixture("grey.jpg")).channels == 1);
  CHECK(largest_difference(load_image(fixture("progressive.jpg")), resize(ramp(), 24, 32)) < 40);
}

TEST_CASE("JPEG decodes to Pillow's bits", "[image]") {
  const auto sum = [](const Image& image) {  // of every pixel times its place, from 1
    uint64_t total = 0;
    for (size_t i = 0; i < image.pixels.size(); ++i) total += (i + 1) * image.pixels[i];
    return total;
  };
  CHECK(sum(load_image(fixture("grey.jpg"))) == 151425);
  CHECK(sum(load_image(fixture("rgb.jpg"))) == 1316140);
  CHECK(sum(load_image(fixture("progressive.jpg"))) == 331753650);
}

TEST_CASE("A photograph taken upright comes out upright", "[image]") {
  CHECK(largest_difference(load_image(fixture("rotated.jpg")), ramp()) < 12);
}

TEST_CASE("All eight EXIF orientations are undone in both byte orders", "[image]") {
  const std::string plain = read_file(fixture("rgb.jpg"));
  const Image stored = decode_bytes(plain);
  for (const bool little_endian : {false, true})
    for (int orientation = 1; orientation <= 8; ++orientation) {
      const Image turned =
          decode_bytes(plain.substr(0, 2) + exif_segment(orientation, little_endian) + plain.substr(2));
      CAPTURE(orientation, little_endian);
      CHECK(turned == upright(stored, orientation));
      CHECK(turned.height == (orientation >= 5 ? 8 : 6));
    }
}

TEST_CASE("Each orientation moves the top left pixel where EXIF says", "[image]") {
  Image stored(2, 3, 1);
  stored.pixels = {1, 2, 3, 4, 5, 6};
  const std::vector<std::vector<uint8_t>> expected = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1},
                                                      {4, 5, 6, 1, 2, 3}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3},
                                                      {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (int orientation = 1; orientation <= 8; ++orientation)
    CHECK(upright(stored, orientation).pixels == expected[orientation - 1]);
}

TEST_CASE("EXIF that makes no sense is ignored, wherever it is cut off", "[image]") {
  const std::string segment = exif_segment(6, true).substr(10);
  for (size_t size = 0; size <= segment.size(); ++size) {
    const std::string cut = segment.substr(0, size);
    CHECK(exif_orientation(std::as_bytes(std::span(cut))) == (size >= 20 ? 6 : 1));
  }
  std::string wild = segment;
  wild[4] = wild[5] = wild[6] = wild[7] = '\xFF';  // a directory far outside
  CHECK(exif_orientation(std::as_bytes(std::span(wild))) == 1);
}

TEST_CASE("Formats that are not read are refused by name", "[image]") {
  CHECK(contains(failure(read_file(fixture("picture.webp"))), "WebP"));
  CHECK(contains(failure("GIF89a..."), "GIF"));
  CHECK(contains(failure(std::string("II*\0....", 8)), "TIFF"));
  CHECK(contains(failure(std::string("\0\0\0\x20"
                                     "ftypavif",
                                     12)),
                 "AVIF"));
  CHECK(contains(failure(std::string("\0\0\0\x20"
                                     "ftypheic",
                                     12)),
                 "HEIC"));
  CHECK(contains(failure("\xFF\x0A..."), "JPEG XL"));
  CHECK(contains(failure("<svg xmlns=''>"), "SVG"));
  CHECK(contains(failure("8BPS...."), "Photoshop"));
  CHECK(contains(failure("version https://git-lfs.github.com/spec/v1"), "git lfs pull"));
  CHECK(contains(failure("hello"), "no PNG, JPEG or BMP"));
  CHECK(contains(failure(""), "empty"));
}

TEST_CASE("A picture that was cut off is an error that names it, wherever it was cut", "[image]") {
  for (const char* name : {"palette.png", "grey16.png", "rgb.jpg", "progressive.jpg", "rgb.bmp"}) {
    const std::string whole = read_file(fixture(name));
    for (size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(name, size);
      CHECK(contains(failure(whole.substr(0, size)), "picture: "));
    }
  }
}

TEST_CASE("A JPEG without its end-of-image marker is cut off", "[image]") {
  const std::string whole = read_file(fixture("rgb.jpg"));
  CHECK_THAT(failure(whole.substr(0, whole.size() - 2)), Contains("Premature end of JPEG file"));
  CHECK_THAT(failure(whole.substr(0, whole.size() - 2) + std::string(64, 0)), Contains("Premature end of JPEG file"));
  CHECK(failure(whole + "trailing").empty());
}

TEST_CASE("A JPEG of a kind that is not read is refused by name", "[image]") {
  const std::string whole = read_file(fixture("rgb.jpg"));
  const size_t frame = whole.find("\xFF\xC0");
  const auto with = [&](size_t at, int value) {
    std::string changed = whole;
    changed[frame + at] = static_cast<char>(value);
    return changed;
  };
  CHECK_THAT(failure(read_file(fixture("cmyk.jpg"))), Contains("is a CMYK JPEG"));
  CHECK_THAT(failure(with(1, 0xC3)), Contains("is a lossless"));
  CHECK_THAT(failure(with(1, 0xC9)), Contains("is an arithmetic-coded JPEG"));
  CHECK_THAT(failure(with(4, 12)), Contains("is a 12-bit JPEG"));
  std::string two_components = with(9, 2).erase(frame + 16, 3);
  two_components[frame + 3] = 14;
  const size_t scan = two_components.find("\xFF\xDA");
  two_components.replace(scan + 3, 2, "\x0A\x02").erase(scan + 9, 2);
  CHECK_THAT(failure(two_components), Contains("has 2 components"));
}

TEST_CASE("A JPEG that libjpeg would repair with a warning is damaged", "[image]") {
  std::string damaged = read_file(fixture("rgb.jpg"));
  damaged.replace(damaged.find("\xFF\xDA") + 14, 6, std::string("\xFF\0\xFF\0\xFF\0", 6));  // no code is all ones
  CHECK(failure(damaged) == "picture: the JPEG cannot be decoded: Corrupt JPEG data: bad Huffman code");
}

TEST_CASE("A JPEG whose Huffman table has more symbols than bytes have values is damaged", "[image]") {
  std::string damaged = read_file(fixture("rgb.jpg"));
  const size_t table = damaged.find("\xFF\xC4");
  REQUIRE(table != damaged.npos);
  for (size_t i = 0; i < 16; ++i) damaged[table + 5 + i] = 20;
  CHECK_THAT(failure(damaged), Contains("Bogus Huffman table definition"));
}

TEST_CASE("A JPEG whose scan names a Huffman table that is not there is damaged", "[image]") {
  for (const char* name : {"rgb.jpg", "progressive.jpg"}) {
    std::string damaged = read_file(fixture(name));
    damaged[damaged.find("\xFF\xDA") + 6] = 0x33;
    CHECK_THAT(failure(damaged), Contains("Huffman table 0x03 was not defined"));
  }
}

// Found by a fuzzer; tables, frame and scan make no sense together.
TEST_CASE("A JPEG on which another decoder shifted by 33 bits is damaged", "[image]") {
  CHECK_THAT(failure(read_file(fixture("damaged.jpg"))), Contains("picture: the JPEG cannot be decoded: "));
}

TEST_CASE("A JPEG of many scans is refused", "[image]") {
  const auto of_scans =
      [](int scans) {  // progressive, a grey block; each scan gives the block's mean once more, in a bit
        const std::string quantization = std::string("\xFF\xDB\0\x43\0", 5) + std::string(64, 1);
        const std::string frame("\xFF\xC2\0\x0B\x08\0\x08\0\x08\x01\x01\x11\0", 13);
        const std::string code = std::string("\xFF\xC4\0\x14\0\x01", 6) + std::string(16, 0);
        std::string file = "\xFF\xD8" + quantization + frame + code;
        for (int i = 0; i < scans; ++i) file += std::string("\xFF\xDA\0\x08\x01\x01\0\0\0\0\x7F", 11);
        return file + "\xFF\xD9";
      };
  CHECK(decode_bytes(of_scans(100)) == Image(8, 8, 1, 128));
  CHECK_THAT(failure(of_scans(101)), Contains("more than 100 scans"));
}

TEST_CASE("A damaged PNG is an error", "[image]") {
  std::string damaged = read_file(fixture("palette.png"));
  damaged[damaged.size() - 20] ^= 1;
  CHECK(contains(failure(damaged), "checksum"));
}

TEST_CASE("A damaged PNG whose chunk has no printable name is an error of one line", "[image]") {
  std::string damaged = read_file(fixture("palette.png"));
  damaged.replace(damaged.find("IDAT"), 4, std::string("I\n\0T", 4));
  CHECK(contains(failure(damaged), R"(its "I\n\u0000T" chunk)"));
}

TEST_CASE("A header that promises an absurd size is refused", "[image]") {
  std::string bmp = read_file(fixture("rgb.bmp"));
  bmp[20] = 1;  // 65,544 pixels wide
  CHECK(contains(failure(bmp), "cannot hold"));
  bmp[21] = bmp[24] = 1;
  CHECK(contains(failure(bmp), "megapixels"));
  std::string jpeg = read_file(fixture("rgb.jpg"));
  const size_t sides = jpeg.find("\xFF\xC0") + 5;
  jpeg[sides] = jpeg[sides + 2] = 0x10;
  CHECK(contains(failure(jpeg), "cannot hold"));
  jpeg[sides] = jpeg[sides + 2] = 0x40;
  CHECK(contains(failure(jpeg), "megapixels"));
}

TEST_CASE("resize gives Pillow's bits", "[image]") {
  CHECK(resize(noise(7, 9, 3), 3, 4).pixels ==
        std::vector<uint8_t>{122, 113, 143, 119, 112, 135, 139, 134, 104, 157, 121, 122, 126, 136, 120, 139, 119, 115,
                             111, 141, 126, 117, 140, 124, 126, 131, 129, 156, 132, 116, 127, 97,  146, 121, 122, 137});
  CHECK(resize(noise(5, 4, 1), 9, 7).pixels ==
        std::vector<uint8_t>{0,  56,  147, 109, 71,  162, 218, 40,  66,  108, 107, 105, 147, 173, 107, 82,
                             43, 103, 163, 123, 98,  174, 139, 83,  99,  122, 131, 137, 241, 206, 150, 95,
                             57, 148, 204, 166, 131, 75,  91,  114, 124, 129, 119, 84,  28,  87,  147, 107,
                             82, 187, 152, 96,  83,  81,  123, 150, 227, 192, 136, 80,  42,  133, 190});
}

TEST_CASE("Grey is Pillow's mixture of the colours, and colours from grey are equal", "[image]") {
  CHECK(with_channels(noise(1, 4, 3), 1).pixels == std::vector<uint8_t>{100, 138, 130, 93});
  CHECK(with_channels(noise(1, 2, 1), 3).pixels == std::vector<uint8_t>{0, 0, 0, 158, 158, 158});
}

TEST_CASE("The short side is resized and the middle kept", "[image]") {
  const Image wide = resize_short_side(noise(10, 25, 1), 4);
  CHECK(wide.height == 4);
  CHECK(wide.width == 10);
  CHECK(resize_short_side(noise(25, 10, 1), 4).height == 10);
  CHECK(center_crop(noise(1, 5, 1), 1, 2).pixels == crop(noise(1, 5, 1), 0, 2, 1, 2).pixels);  // 1.5 rounds to even
  CHECK(center_crop(noise(1, 3, 1), 1, 2).pixels == crop(noise(1, 3, 1), 0, 0, 1, 2).pixels);  // so does 0.5
}

TEST_CASE("PNG files come back as they were written, with their text", "[image]") {
  for (const int64_t channels : {1, 3}) {
    const std::string png =
        encode_png(noise(13, 7, channels), std::vector<PngText>{{"parameters", "Steps: 50"}, {"title", "Grün"}});
    CHECK(decode_bytes(png) == noise(13, 7, channels));
    CHECK(png_text(std::as_bytes(std::span(png)), "png") ==
          std::vector<PngText>{{"parameters", "Steps: 50"}, {"title", "Grün"}});
  }
  CHECK_THROWS_WITH(encode_png(Image(1, 1, 1), std::vector<PngText>{{"", "x"}}), Contains("keyword"));
}

TEST_CASE("Four channels are written as RGBA", "[image]") {
  Image image = noise(13, 7, 4);
  const auto read = [&] { return decode_bytes(encode_png(image)); };
  for (size_t i = 3; i < image.pixels.size(); i += 4) image.pixels[i] = 255;
  const Image opaque = read();
  REQUIRE(opaque.channels == 3);
  for (int64_t i = 0; i < 13 * 7; ++i)
    for (int64_t c = 0; c < 3; ++c) CHECK(opaque.pixels[i * 3 + c] == image.pixels[i * 4 + c]);
  for (size_t i = 3; i < image.pixels.size(); i += 4) image.pixels[i] = 0;
  CHECK(read() == Image(13, 7, 3, 255));
  CHECK_THROWS_WITH(encode_png(Image(1, 1, 2)), Contains("1, 3 or 4 channels expected, got 2"));
}

TEST_CASE("A grid has torchvision's layout", "[image]") {
  const Tensor images = Tensor::full({3, 2, 2, 1}, 1);
  const Image grid = make_grid(images, {.nrow = 2, .padding = 1, .pad_value = 7});
  CHECK(grid.height == 7);
  CHECK(grid.width == 7);
  CHECK(grid.channels == 1);
  CHECK(*grid.at(0, 0) == 7);
  CHECK(*grid.at(0, 1) == 7);
  CHECK(*grid.at(1, 1) == 255);
  CHECK(*grid.at(2, 2) == 255);
  CHECK(*grid.at(3, 1) == 7);
  CHECK(*grid.at(4, 4) == 7);  // the fourth place is empty
  CHECK(make_grid(images.slice(0, 1)).height == 2);
}

TEST_CASE("Pixels are rounded to the nearest and clamped", "[image]") {
  const Tensor x = Tensor::of<float>({1, 5, 1}, std::vector<float>{-2, -1, 0.004f, 1, 3});
  CHECK(to_image(x).pixels == std::vector<uint8_t>{0, 0, 128, 255, 255});
  CHECK(to_image(to_tensor(noise(16, 16, 1))) == noise(16, 16, 1));
  CHECK_THROWS_WITH(to_image(Tensor({2, 2, 2})), Contains("C = 1, 3 or 4 expected"));
}
