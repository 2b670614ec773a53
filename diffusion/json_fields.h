#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tensor/error.h"
#include "tensor/in_quotes.h"

namespace stipple {

// Reads the fields of a JSON object one by one, with errors that name file and field, and knows afterwards which keys
// nobody asked for.
class JsonFields {
 public:
  JsonFields(const std::string& text, std::string file) : file_(std::move(file)) {
    try {
      object_ = nlohmann::json::parse(text);
    } catch (const nlohmann::json::exception& error) { fail("{}: not valid JSON: {}", file_, in_quotes(error.what())); }
    check(object_.is_object(), "{}: a JSON object expected", file_);
  }

  // Leaves `value` as it is where the key is absent. A null is an error, except into an optional.
  template <typename T>
  void read(const char* key, T& value) {
    if (const nlohmann::json* found = find(key)) value = as<T>(key, *found);
  }
  template <typename T>
  void read(const char* key, std::optional<T>& value) {
    const nlohmann::json* found = find(key);
    if (found && found->is_null())
      value.reset();
    else if (found)
      value = as<T>(key, *found);
  }

  // The raw value, or null where the key is absent; counts as asked for.
  const nlohmann::json* find(const char* key) {
    known_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  template <typename T>
  T as(const char* key, const nlohmann::json& value) const {
    if (!fits<T>(value)) fail("{}: field '{}' cannot be {}", file_, key, value.dump());
    return value.get<T>();
  }

  // One line for every key that was not asked for; those with a leading underscore are comments of the writer.
  void report_unknown(std::vector<std::string>& notices) const {
    for (const auto& [key, value] : object_.items())
      if (key.front() != '_' && !known_.count(key))
        notices.push_back(fmt::format("{}: field '{}' is unknown and ignored", file_, key));
  }

  const std::string& file() const { return file_; }

 private:
  template <typename T>
  static bool fits(const nlohmann::json& value) {
    if constexpr (std::is_same_v<T, bool>)
      return value.is_boolean();
    else if constexpr (std::is_same_v<T, std::string>)
      return value.is_string();
    else if constexpr (std::is_integral_v<T>)
      return value.is_number_unsigned() ? std::in_range<T>(value.get<uint64_t>())
                                        : value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
    else if constexpr (std::is_floating_point_v<T>)
      return value.is_number();
    else {
      if (!value.is_array()) return false;
      for (const auto& element : value)
        if (!fits<typename T::value_type>(element)) return false;
      return true;
    }
  }

  std::string file_;
  nlohmann::json object_;
  std::set<std::string> known_;
};

}  // namespace stipple
