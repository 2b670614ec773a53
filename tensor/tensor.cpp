#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>

#include "tensor/allocator.h"

namespace stipple {
namespace {

// Calls f with a value of the dtype's own type.
template <typename F>
void for_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f32:
      return f(float{});
    case Dtype::bf16:
      return f(bf16{});
    case Dtype::f16:
      return f(f16{});
    case Dtype::f64:
      return f(double{});
    case Dtype::i64:
      return f(int64_t{});
    case Dtype::i32:
      return f(int32_t{});
    case Dtype::u8:
      return f(uint8_t{});
  }
}

template <typename T>
constexpr bool is_half = std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

template <typename To, typename From>
To convert(From x) {
  if constexpr (is_half<To>)
    return To(static_cast<float>(x));
  else if constexpr (is_half<From>)
    return static_cast<To>(static_cast<float>(x));
  else
    return static_cast<To>(x);
}

}  // namespace

Storage::Storage(size_t size, Device where) : bytes(size), device(where), allocator(&allocator_of(where)) {
  data = static_cast<std::byte*>(allocator->allocate(size));
}

Storage::~Storage() { allocator->deallocate(data, bytes); }

Tensor::Tensor(const Shape& shape, Dtype dtype, Device device)
    : storage_(std::make_shared<Storage>(shape.numel() * size_of(dtype), device)),
      shape_(shape),
      numel_(shape.numel()),
      dtype_(dtype) {}

Tensor Tensor::zeros(const Shape& shape, Dtype dtype, Device device) {
  Tensor made(shape, dtype, device);
  if (device == Device::cpu)
    std::memset(made.mutable_bytes(), 0, made.nbytes());
  else
    made.fill(0);
  return made;
}

Tensor Tensor::full(const Shape& shape, double value, Dtype dtype, Device device) {
  Tensor made(shape, dtype, device);
  made.fill(value);
  return made;
}

std::byte* Tensor::mutable_bytes() const {
  if (!storage_) return nullptr;
  ++storage_->version;
  return storage_->data + offset_;
}

// Called in inner loops: nothing may be formatted unless it fails.
const void* Tensor::elements(Dtype expected) const {
  if (storage_ && dtype_ != expected) fail("a {} tensor was read as {}", describe(*this), name_of(expected));
  if (device() != Device::cpu) fail("a {} tensor on {} was read by the host", describe(*this), name_of(device()));
  return bytes();
}

void* Tensor::mutable_elements(Dtype expected) const {
  if (storage_ && dtype_ != expected) fail("a {} tensor was written as {}", describe(*this), name_of(expected));
  if (device() != Device::cpu) fail("a {} tensor on {} was written by the host", describe(*this), name_of(device()));
  return mutable_bytes();
}

Tensor Tensor::reshape(const Shape& shape) const {
  check(shape.numel() == numel_, "reshape: {} does not hold the elements of {}", to_string(shape), describe(*this));
  Tensor view = *this;
  view.shape_ = shape;
  return view;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  check(rank() >= 1 && 0 <= begin && begin <= end && end <= dim(0), "slice: rows {} to {} of {}", begin, end,
        describe(*this));
  Shape shape{end - begin};
  for (int i = 1; i < rank(); ++i) shape.push_back(dim(i));
  return view(dim(0) ? numel_ / dim(0) * begin : 0, shape);
}

Tensor Tensor::view(int64_t element_offset, const Shape& shape) const {
  check(element_offset >= 0 && element_offset + shape.numel() <= numel_, "view: {} at element {} of {}",
        to_string(shape), element_offset, describe(*this));
  Tensor part = *this;
  part.offset_ += element_offset * size_of(dtype_);
  part.shape_ = shape;
  part.numel_ = shape.numel();
  return part;
}

Tensor Tensor::operator[](int64_t row) const {
  const Tensor rows = slice(row, row + 1);
  return rows.reshape(Shape(rows.shape().begin() + 1, rows.shape().end()));
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor copy(shape_, dtype_, device());
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::to(Dtype dtype) const {
  if (dtype == dtype_ || !defined()) return *this;
  Tensor made(shape_, dtype, device());
  if (device() == Device::cuda) {
    cuda::convert(made, *this);
    return made;
  }
  for_dtype(dtype_, [&]<typename From>(From) {
    for_dtype(dtype, [&]<typename To>(To) {
      std::transform(data<From>(), data<From>() + numel_, made.mutable_data<To>(), convert<To, From>);
    });
  });
  return made;
}

Tensor Tensor::to(Device where) const {
  if (!defined() || where == device()) return *this;
  Tensor made(shape_, dtype_, where);
  made.copy_from(*this);
  return made;
}

void Tensor::copy_from(const Tensor& source) const {
  check(shape_ == source.shape_ && dtype_ == source.dtype_, "copy: {} into {}", describe(source), describe(*this));
  copy_bytes(mutable_bytes(), device(), source.bytes(), source.device(), nbytes());
}

void Tensor::fill(double value) const {
  if (device() == Device::cuda) return cuda::fill(*this, value);
  for_dtype(dtype_, [&]<typename T>(T) { std::fill_n(mutable_data<T>(), numel_, convert<T>(value)); });
}

Tensor empty_like(const Tensor& x) { return Tensor(x.shape(), x.dtype(), x.device()); }

std::string describe(const Tensor& x) {
  return x.defined() ? name_of(x.dtype()) + to_string(x.shape()) : std::string("undefined tensor");
}

}  // namespace stipple
