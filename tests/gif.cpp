#include "diffusion/image/gif.h"

#include <gif_lib.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "diffusion/image/palette.h"
#include "tensor/error.h"
#include "tests/catch.h"

// Animated pictures, read back by giflib.

using namespace stipple;

namespace {

struct DecodedGif {
  std::vector<Image> frames;
  std::vector<int> hundredths;
};

int take(GifFileType* gif, GifByteType* to, int count) {
  auto& rest = *static_cast<std::string_view*>(gif->UserData);
  const size_t n = std::min(static_cast<size_t>(count), rest.size());
  std::memcpy(to, rest.data(), n);
  rest.remove_prefix(n);
  return static_cast<int>(n);
}

DecodedGif decoded(std::string_view file) {
  int error = 0;
  const auto close = [](GifFileType* gif) { DGifCloseFile(gif, nullptr); };
  const std::unique_ptr<GifFileType, decltype(close)> gif(DGifOpen(&file, take, &error), close);
  REQUIRE(gif);
  REQUIRE(DGifSlurp(gif.get()) == GIF_OK);
  DecodedGif found;
  for (int i = 0; i < gif->ImageCount; ++i) {
    const SavedImage& frame = gif->SavedImages[i];
    Image image(frame.ImageDesc.Height, frame.ImageDesc.Width, 3);
    for (size_t p = 0; p < image.pixels.size() / 3; ++p) {
      const GifColorType& color = frame.ImageDesc.ColorMap->Colors[frame.RasterBits[p]];
      image.pixels[3 * p] = color.Red, image.pixels[3 * p + 1] = color.Green, image.pixels[3 * p + 2] = color.Blue;
    }
    found.frames.push_back(std::move(image));
    GraphicsControlBlock control;
    DGifSavedExtensionToGCB(gif.get(), i, &control);
    found.hundredths.push_back(control.DelayTime);
  }
  return found;
}

Image stripes(uint8_t shift) {
  Image image(5, 7, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(7 * i + shift);
  return image;
}

// Every colour another: red along x, green along y, blue with both.
Image gradient() {
  Image image(64, 64, 3);
  for (int64_t y = 0; y < 64; ++y)
    for (int64_t x = 0; x < 64; ++x) {
      uint8_t* at = image.at(y, x);
      at[0] = static_cast<uint8_t>(4 * x), at[1] = static_cast<uint8_t>(4 * y),
      at[2] = static_cast<uint8_t>(2 * (x + y));
    }
  return image;
}

}  // namespace

TEST_CASE("a GIF of few colours gives back its frames, and shows the last one longer", "[gif]") {
  const std::vector<Image> frames{stripes(0), stripes(100), stripes(3)};
  const DecodedGif back = decoded(encode_gif(frames, {.frame = 12, .last = 150}));
  CHECK(back.frames == frames);
  CHECK(back.hundredths == std::vector<int>{12, 12, 150});
}

TEST_CASE("a GIF of grey pictures, and of one colour, is exact", "[gif]") {
  Image grey(16, 16, 1);
  for (size_t i = 0; i < 256; ++i) grey.pixels[i] = static_cast<uint8_t>(i);
  const Image white(16, 16, 1, 255);
  const std::vector<Image> frames{grey, white};
  const DecodedGif back = decoded(encode_gif(frames));
  for (size_t i = 0; i < 256; ++i) REQUIRE(back.frames[0].pixels[3 * i + 1] == grey.pixels[i]);
  CHECK(back.frames[1] == Image(16, 16, 3, 255));
}

TEST_CASE("a picture of more than 256 colours keeps near to them", "[gif]") {
  const Image image = gradient();
  const IndexedImage few = indexed(image);
  CHECK(few.colors.size() == 256);
  double squares = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i)
    squares += std::pow(image.pixels[i] - few.colors[few.pixels[i / 3]][i % 3], 2);
  CHECK(std::sqrt(squares / static_cast<double>(image.pixels.size())) < 5);
  CHECK(decoded(encode_gif(std::vector<Image>{image})).frames[0].height == 64);
}

TEST_CASE("a GIF runs for ever", "[gif]") {
  const std::string file = encode_gif(std::vector<Image>{stripes(0)});
  CHECK(file.starts_with("GIF89a"));
  CHECK(file.find(std::string("NETSCAPE2.0\x03\x01\x00\x00\x00", 16)) != std::string::npos);
}

TEST_CASE("a GIF refuses frames that do not fit", "[gif]") {
  CHECK_THROWS_WITH(encode_gif({}), Contains("no frames"));
  CHECK_THROWS_WITH(encode_gif(std::vector<Image>{stripes(0), Image(4, 4, 3)}), Contains("frames of 7 x 5 and 4 x 4"));
  CHECK_THROWS_WITH(encode_gif(std::vector<Image>{Image(1, 65536, 1)}), Contains("65536 x 1"));
}
