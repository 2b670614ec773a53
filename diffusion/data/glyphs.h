#pragma once
#include "diffusion/data/dataset.h"

namespace stipple {

// The data set that needs no files: digits 0 to 9 as if by hand, 28 x 28 grey, white on black like MNIST. A digit is a
// few strokes (polylines, arcs and Bezier curves, in one of the ways people write it) with jittered control points,
// pushed through a random slant, rotation, scale and a smooth warp, then drawn with a pen of random width by distance
// to the stroke. Picture i is a function of (seed, i) alone; its label is i mod 10.
Image draw_glyph(int64_t digit, uint64_t seed, int64_t index);
Dataset make_glyphs(int64_t count, uint64_t seed, const DatasetOptions&);

inline constexpr int64_t kGlyphs = 20'000, kGlyphSide = 28;

}  // namespace stipple
