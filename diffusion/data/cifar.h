#pragma once
#include "diffusion/data/dataset.h"

// The binary version of CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html): data_batch_1.bin ... data_batch_5.bin
// and test_batch.bin, each 10,000 records of one label byte and 3072 bytes of a 32 x 32 picture, channels first;
// batches.meta.txt names the classes.

namespace stipple {

bool is_cifar_folder(
    const std::filesystem::path&);  // holds such a batch, or has a folder cifar-10-batches-bin that does
Dataset open_cifar(const std::filesystem::path& folder, const DatasetOptions&);

}  // namespace stipple
