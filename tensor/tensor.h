#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/shape.h"

namespace stipple {

// The bytes behind one or more tensors. The version counts writes, so that packed or transformed copies of a weight
// know when they are out of date.
struct Storage {
  Storage(size_t bytes, Device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data = nullptr;
  size_t bytes = 0;
  Device device;
  uint64_t version = 0;
  CachingAllocator* allocator;  // where the bytes come from and go back to
};

// A cheap handle on a dense, row-major array: copies share their elements, as in PyTorch. No strides: the views there
// are (reshape, slice of the leading dimension) are dense themselves. Images are NHWC, in shape and in storage.
class Tensor {
 public:
  Tensor() = default;                                                       // undefined: no elements, no dtype
  explicit Tensor(const Shape&, Dtype = Dtype::f32, Device = Device::cpu);  // elements are not initialised

  static Tensor zeros(const Shape&, Dtype = Dtype::f32, Device = Device::cpu);
  static Tensor full(const Shape&, double value, Dtype = Dtype::f32, Device = Device::cpu);
  template <typename T>
  static Tensor of(const Shape&, std::span<const T> values);
  template <typename T>
  static Tensor of(const Shape& shape, const std::vector<T>& values) {
    return of(shape, std::span<const T>(values));
  }

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }  // negative counts from the end
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return numel_; }
  size_t nbytes() const { return numel_ * size_of(dtype_); }
  Dtype dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device : Device::cpu; }

  // The elements, for reading and for writing. Writing bumps the storage's version. T must be the dtype's type.
  template <typename T>
  const T* data() const {
    return static_cast<const T*>(elements(dtype_of<T>));
  }
  template <typename T>
  T* mutable_data() const {
    return static_cast<T*>(mutable_elements(dtype_of<T>));
  }
  const std::byte* bytes() const { return storage_ ? storage_->data + offset_ : nullptr; }
  std::byte* mutable_bytes() const;
  uint64_t version() const { return storage_ ? storage_->version : 0; }
  bool shares_storage_with(const Tensor& other) const { return storage_ && storage_ == other.storage_; }
  template <typename T>
  T item() const;  // the only element
  template <typename T>
  std::vector<T> to_vector() const;

  Tensor reshape(const Shape&) const;              // shares elements; the count must agree
  Tensor slice(int64_t begin, int64_t end) const;  // rows [begin, end) of the leading dimension; shares elements
  Tensor view(int64_t element_offset, const Shape&) const;  // `shape` elements from that offset on; shares elements
  Tensor operator[](int64_t row) const;                     // one row, without its leading dimension
  Tensor clone() const;
  Tensor to(Dtype) const;   // this tensor where it has that dtype already
  Tensor to(Device) const;  // this tensor where it lives there already

  void copy_from(const Tensor& source) const;  // same shape and dtype, on any device
  void fill(double value) const;

 private:
  const void* elements(Dtype expected) const;
  void* mutable_elements(Dtype expected) const;

  std::shared_ptr<Storage> storage_;
  size_t offset_ = 0;  // bytes
  Shape shape_;
  int64_t numel_ = 0;
  Dtype dtype_ = Dtype::f32;
};

Tensor empty_like(const Tensor&);
std::string describe(const Tensor&);  // "f32[8,32,32,3]", for messages

// Where a backward kernel puts a gradient: undefined = not wanted; add = on top of what is there.
struct Grad {
  Tensor to;
  bool add = false;
  bool wanted() const { return to.defined(); }
};

// Calls f with a null pointer of the element type, e.g. dispatch(x.dtype(), [&](auto* t) { using T = ...; }).
// f32 and f64 only: what the CPU computes in.
template <typename F>
decltype(auto) for_real(const char* operation, Dtype dtype, F&& f) {
  if (dtype == Dtype::f32) return f(float{});
  if (dtype == Dtype::f64) return f(double{});
  fail("{}: computes in f32 and f64, got {}", operation, name_of(dtype));
}

template <typename T>
Tensor Tensor::of(const Shape& shape, std::span<const T> values) {
  check(shape.numel() == static_cast<int64_t>(values.size()), "{} needs {} values, got {}", to_string(shape),
        shape.numel(), values.size());
  Tensor made(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), made.mutable_data<T>());
  return made;
}

template <typename T>
T Tensor::item() const {
  check(numel_ == 1, "item: one element expected, the tensor is {}", describe(*this));
  return to(Device::cpu).data<T>()[0];
}

template <typename T>
std::vector<T> Tensor::to_vector() const {
  const Tensor here = to(Device::cpu);
  return {here.data<T>(), here.data<T>() + numel_};
}

}  // namespace stipple
