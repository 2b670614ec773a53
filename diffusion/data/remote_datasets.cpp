#include <algorithm>

#include "diffusion/data/download.h"
#include "tensor/error.h"

namespace stipple {
namespace {

std::vector<std::string> at(const std::vector<std::string>& folders, const std::string& name) {
  std::vector<std::string> addresses;
  for (const std::string& folder : folders) addresses.push_back(folder + name);
  return addresses;
}

RemoteDataset mnist_like(const std::string& name, const std::vector<std::string>& folders,
                         std::vector<RemoteFile> files) {
  for (RemoteFile& file : files) file.addresses = at(folders, file.name);
  return {name, std::move(files), ""};
}

RemoteDataset mnist() {
  return mnist_like(
      "mnist",
      {"https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"},
      {{"train-images-idx3-ubyte.gz",
        9'912'422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        {}},
       {"train-labels-idx1-ubyte.gz", 28'881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", {}},
       {"t10k-images-idx3-ubyte.gz", 1'648'877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", {}},
       {"t10k-labels-idx1-ubyte.gz", 4'542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", {}}});
}

RemoteDataset fashion_mnist() {
  return mnist_like(
      "fashion-mnist", {"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"},
      {{"train-images-idx3-ubyte.gz",
        26'421'880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        {}},
       {"train-labels-idx1-ubyte.gz", 29'515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", {}},
       {"t10k-images-idx3-ubyte.gz", 4'422'102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", {}},
       {"t10k-labels-idx1-ubyte.gz", 5'148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", {}}});
}

RemoteDataset cifar10() {
  return {"cifar10",
          {{"cifar-10-binary.tar.gz",
            170'052'171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            {"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"}}},
          "cifar-10-batches-bin"};
}

}  // namespace

const std::vector<RemoteDataset>& remote_datasets() {
  static const std::vector<RemoteDataset> sets = {mnist(), fashion_mnist(), cifar10()};
  return sets;
}

const RemoteDataset& remote_dataset(const std::string& name) {
  const auto& sets = remote_datasets();
  const auto found = std::find_if(sets.begin(), sets.end(), [&](const RemoteDataset& set) { return set.name == name; });
  if (found != sets.end()) return *found;
  std::string known;
  for (const RemoteDataset& set : sets) known += (known.empty() ? "" : ", ") + set.name;
  fail("there is no data set `{}` to download; known are {}", name, known);
}

}  // namespace stipple
