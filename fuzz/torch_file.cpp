#include "tensor/torch_file.h"

#include <zlib.h>

#include "fuzz/memory_file.h"
#include "tensor/bytes.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace {

using namespace stipple;

void write_little32(uint8_t* to, uint32_t value) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<uint8_t>(value >> 8 * i);
}

// Makes the checksum in one record of a zip directory right, if it describes a stored entry.
void repair(std::span<uint8_t> file, size_t record) {
  const auto bytes = std::as_bytes(file);
  const size_t local = little32(bytes, record + 42), size = little32(bytes, record + 20);
  if (local > file.size() || file.size() - local < 30) return;
  const size_t begin = local + 30 + little16(bytes, local + 26) + little16(bytes, local + 28);
  if (begin > file.size() || file.size() - begin < size) return;
  write_little32(&file[record + 16], static_cast<uint32_t>(crc32(0, file.data() + begin, static_cast<uInt>(size))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return refusing([&] {
    const MemoryFile file(data, size);
    const TorchFile tensors(file.path());
    for (const std::string& name : tensors.names()) tensors.load(name);
  });
}

// A changed pickle in a zip archive would be refused for its checksum and never be looked at.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned) {
  const std::span<uint8_t> file(data, LLVMFuzzerMutate(data, size, most));
  for (size_t at = 0; at + 46 <= file.size(); ++at)
    if (starts_with(std::as_bytes(file.subspan(at)), "PK\1\2")) repair(file, at);
  return file.size();
}
