#include "diffusion/image/jpeg.h"

#include <csetjmp>
#include <cstdio>
// These two need what <cstdio> declares.
#include <jerror.h>
#include <jpeglib.h>

#include "diffusion/image/exif.h"
#include "tensor/bytes.h"
#include "tensor/error.h"

namespace stipple {
namespace {

// What refining every coefficient of a picture takes is some tens of scans; a small file may ask for thousands.
constexpr int kMostScans = 100;
// Coefficients of a progressive picture: two bytes for each of three channels, and what libjpeg needs besides.
constexpr long kMostBytes = 6 * kMaxPixels + (64 << 20);

struct Errors {
  jpeg_error_mgr manager;  // first, so that a pointer to it is one to this
  std::jmp_buf caller;
  char message[JMSG_LENGTH_MAX];
};

// libjpeg is C, through which no exception may pass.
[[noreturn]] void jump_back(j_common_ptr jpeg) {
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  errors->manager.format_message(jpeg, errors->message);
  std::longjmp(errors->caller, 1);
}

void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) jump_back(jpeg);  // a warning; what is not negative tells of progress
}

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMostScans) return;
  auto* errors = reinterpret_cast<Errors*>(jpeg->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMostScans);
  std::longjmp(errors->caller, 1);
}

struct Decompressor {
  jpeg_decompress_struct jpeg{};
  Errors errors{};
  jpeg_progress_mgr progress{};

  Decompressor() {
    jpeg.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jump_back;
    errors.manager.emit_message = on_message;
    progress.progress_monitor = on_progress;
  }
  ~Decompressor() { jpeg_destroy_decompress(&jpeg); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
};

// These two are left by a jump as well: nothing in them may need a destructor.
bool read_to_first_scan(Decompressor& d, std::span<const std::byte> file) {
  if (setjmp(d.errors.caller)) return false;
  jpeg_create_decompress(&d.jpeg);
  d.jpeg.progress = &d.progress;
  d.jpeg.mem->max_memory_to_use = kMostBytes;
  jpeg_save_markers(&d.jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_mem_src(&d.jpeg, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&d.jpeg, true);
  return true;
}

bool read_to_end(Decompressor& d, uint8_t* row, int64_t row_bytes) {
  if (setjmp(d.errors.caller)) return false;
  jpeg_start_decompress(&d.jpeg);
  while (d.jpeg.output_scanline < d.jpeg.output_height) {
    JSAMPROW to = row + d.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&d.jpeg, &to, 1);
  }
  jpeg_finish_decompress(&d.jpeg);
  return true;
}

[[noreturn]] void refuse(const Errors& errors, const std::string& name) {
  const jpeg_error_mgr& m = errors.manager;
  if (m.msg_code == JERR_SOF_UNSUPPORTED) fail("{}: is a lossless or hierarchical JPEG, which is not read", name);
  if (m.msg_code == JERR_BAD_PRECISION) fail("{}: is a {}-bit JPEG; 8 bits are read", name, m.msg_parm.i[0]);
  fail("{}: the JPEG cannot be decoded: {}", name, errors.message);
}

void read_header(Decompressor& d, std::span<const std::byte> file, const std::string& name) {
  if (!read_to_first_scan(d, file)) refuse(d.errors, name);
  const int channels = d.jpeg.num_components;
  check(!d.jpeg.arith_code, "{}: is an arithmetic-coded JPEG, which is not read", name);
  check(channels != 4, "{}: is a CMYK JPEG; grey and RGB are read", name);
  check(channels == 1 || channels == 3, "{}: the JPEG has {} components; 1 and 3 are read", name, channels);
}

int orientation(const jpeg_decompress_struct& jpeg) {
  constexpr std::string_view kExif{"Exif\0\0", 6};
  for (const auto* marker = jpeg.marker_list; marker; marker = marker->next) {
    const auto data = std::as_bytes(std::span(marker->data, marker->data_length));
    if (starts_with(data, kExif)) return exif_orientation(data.subspan(kExif.size()));
  }
  return 1;
}

}  // namespace

ImageHeader read_jpeg_header(std::span<const std::byte> file, const std::string& name) {
  Decompressor d;
  read_header(d, file, name);
  return {.format = Format::jpeg,
          .height = d.jpeg.image_height,
          .width = d.jpeg.image_width,
          .channels = d.jpeg.num_components,
          .orientation = orientation(d.jpeg)};
}

Image decode_jpeg(std::span<const std::byte> file, const std::string& name) {
  Decompressor d;
  read_header(d, file, name);
  Image image(d.jpeg.image_height, d.jpeg.image_width, d.jpeg.num_components);
  if (!read_to_end(d, image.pixels.data(), image.width * image.channels)) refuse(d.errors, name);
  return image;
}

}  // namespace stipple
