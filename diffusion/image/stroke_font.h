#pragma once
#include <string_view>

namespace stipple {

// Letters as lines on a grid. A point is two digits: x from the left, y down from the top of capitals; the base line is
// y = 6, small letters begin at y = 2, descenders end at y = 8. Points in a row are joined; a blank lifts the pen.
// ASCII; what is missing is a box.
inline constexpr int kBaseLine = 6;
std::string_view strokes_of(char);

}  // namespace stipple
