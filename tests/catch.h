#pragma once
// Catch2 2.13 (Debian 12) and 3.x (Ubuntu 24.04) under one name.
#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
inline auto Contains(const std::string& text) { return Catch::Matchers::ContainsSubstring(text); }
#else
#include <catch2/catch.hpp>
inline auto Contains(const std::string& text) { return Catch::Matchers::Contains(text); }
#endif
