#include "autograd/random_stream.h"

#include <utility>

namespace stipple {
namespace {

thread_local std::optional<RandomPosition> current;

}  // namespace

RandomStream::RandomStream(std::optional<RandomPosition> from) : before_(std::exchange(current, from)) {}
RandomStream::~RandomStream() { current = before_; }

std::optional<RandomPosition> RandomStream::position() { return current; }

std::optional<RandomPosition> RandomStream::take(uint64_t blocks) {
  const std::optional<RandomPosition> from = current;
  if (current) current->offset += blocks;
  return from;
}

}  // namespace stipple
