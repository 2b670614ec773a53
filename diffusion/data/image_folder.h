#pragma once
#include "diffusion/data/dataset.h"

namespace stipple {

// A folder of PNG, JPEG and BMP pictures, searched recursively in the order of their names; links to folders are
// followed, unless in a circle. Labels come from
//   class folders    [split/]cat/.../x.png, [split/]dog/...: sorted by name
//   names            cat_001.png, dog_17.png: what stands before the first underscore, fewer of them than pictures
// where every picture has one and there is more than one class; a flat folder has none. `split` is a folder train or
// test (also val, valid, validation) if there is one.
// All pictures that cannot be read are one error (options.skip_bad: one notice).
Dataset open_image_folder(const std::filesystem::path&, const DatasetOptions&);

}  // namespace stipple
