#include "tensor/in_quotes.h"

#include <nlohmann/json.hpp>

namespace stipple {

std::string in_quotes(std::string_view text) {
  constexpr size_t kMost = 200;
  const std::string shown = text.size() <= kMost ? std::string(text) : std::string(text.substr(0, kMost)) + "...";
  return nlohmann::json(shown).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace stipple
