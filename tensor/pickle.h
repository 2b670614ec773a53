#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace stipple {

// A Python pickle (PEP 307, PEP 3154) read as data: nothing is imported, called or looked up. What a pickle would call
// stays a `call` to be understood by the reader, and a global that was not allowed is an error that names it. Errors
// begin with `where`.
class Pickle {
 public:
  enum class Kind {
    none,
    boolean,
    integer,
    long_integer,
    real,
    text,
    tuple,
    list,
    dictionary,
    global,
    call,
    persistent
  };

  struct Value {
    Kind kind;
    int64_t integer = 0;                   // boolean, integer
    std::string_view text = {};            // text; the bytes of a long_integer, lowest first; a global's "module.name"
    std::vector<const Value*> items = {};  // tuple, list; dictionary: key, value, key, value, ...; call: the global,
                                           // its arguments as a tuple; persistent: what identifies the object
  };

  static constexpr std::string_view kOrderedDict = "collections.OrderedDict";  // becomes a dictionary

  // Reads from the beginning of `bytes`, which must stay, to the first pickle's end.
  Pickle(std::span<const std::byte> bytes, std::span<const std::string_view> allowed_globals, std::string where);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const Value& root() const { return *root_; }
  const std::deque<Value>& values() const { return values_; }  // all there are
  size_t size() const { return size_; }                        // bytes read

 private:
  friend class PickleMachine;

  std::deque<Value> values_;  // flat, however deep they nest: nothing here recurses
  const Value* root_ = nullptr;
  size_t size_ = 0;
};

}  // namespace stipple
