#include "diffusion/image/gif.h"

#include <gif_lib.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "diffusion/image/palette.h"
#include "tensor/error.h"
#include "tensor/file.h"

namespace stipple {
namespace {

int append(GifFileType* gif, const GifByteType* bytes, int count) {
  static_cast<std::string*>(gif->UserData)->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
  return count;
}

// giflib's encoder, which appends to a string.
class Encoder {
 public:
  explicit Encoder(std::string& to) : gif_(EGifOpen(&to, append, &error_)) {
    check(gif_ != nullptr, "encode_gif: giflib reports {}", reason(error_));
    EGifSetGifVersion(gif_, true);
  }
  ~Encoder() {
    if (gif_) EGifCloseFile(gif_, nullptr);
  }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void screen(int width, int height) { done(EGifPutScreenDesc(gif_, width, height, 8, 0, nullptr)); }

  // The application extension that browsers take for a number of rounds; 0 is for ever.
  void loop() {
    done(EGifPutExtensionLeader(gif_, APPLICATION_EXT_FUNC_CODE));
    done(EGifPutExtensionBlock(gif_, 11, "NETSCAPE2.0"));
    done(EGifPutExtensionBlock(gif_, 3, "\x01\x00\x00"));
    done(EGifPutExtensionTrailer(gif_));
  }

  void frame(IndexedImage image, int hundredths) {
    const GraphicsControlBlock control{DISPOSE_DO_NOT, false, hundredths, NO_TRANSPARENT_COLOR};
    GifByteType extension[4];
    done(EGifPutExtension(gif_, GRAPHICS_EXT_FUNC_CODE, static_cast<int>(EGifGCBToExtension(&control, extension)),
                          extension));
    const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
    done(EGifPutImageDesc(gif_, 0, 0, width, height, false, color_map(image).get()));
    for (int y = 0; y < height; ++y) done(EGifPutLine(gif_, image.pixels.data() + y * width, width));
  }

  void close() {
    const int status = EGifCloseFile(std::exchange(gif_, nullptr), &error_);
    check(status == GIF_OK, "encode_gif: giflib reports {}", reason(error_));
  }

 private:
  using ColorMap = std::unique_ptr<ColorMapObject, decltype(&GifFreeMapObject)>;

  // Of a power of two of colours, at least two.
  static ColorMap color_map(const IndexedImage& image) {
    const auto count = std::max<size_t>(2, std::bit_ceil(image.colors.size()));
    ColorMap map(GifMakeMapObject(static_cast<int>(count), nullptr), GifFreeMapObject);
    check(map != nullptr, "encode_gif: no memory for {} colours", count);
    for (size_t i = 0; i < image.colors.size(); ++i)
      map->Colors[i] = {image.colors[i][0], image.colors[i][1], image.colors[i][2]};
    return map;
  }

  static const char* reason(int error) {
    const char* text = GifErrorString(error);
    return text ? text : "an error";
  }
  void done(int status) const { check(status == GIF_OK, "encode_gif: giflib reports {}", reason(gif_->Error)); }

  int error_ = 0;
  GifFileType* gif_;
};

}  // namespace

std::string encode_gif(std::span<const Image> frames, const GifTiming& timing) {
  check(!frames.empty(), "encode_gif: there are no frames");
  const Image& first = frames.front();
  check(first.width > 0 && first.height > 0 && std::max(first.width, first.height) <= 65535,
        "encode_gif: the picture is {} x {} pixels, a GIF holds 1 to 65535", first.width, first.height);
  std::string file;
  Encoder gif(file);
  gif.screen(static_cast<int>(first.width), static_cast<int>(first.height));
  gif.loop();
  for (const Image& frame : frames) {
    check(frame.width == first.width && frame.height == first.height,
          "encode_gif: frames of {} x {} and {} x {} pixels", first.width, first.height, frame.width, frame.height);
    gif.frame(indexed(frame), &frame == &frames.back() ? timing.last : timing.frame);
  }
  gif.close();
  return file;
}

void write_gif(const std::filesystem::path& path, std::span<const Image> frames, const GifTiming& timing) {
  write_file_atomically(path.string(), encode_gif(frames, timing));
}

}  // namespace stipple
