#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/progress.h"
#include "diffusion/data/download.h"
#include "tensor/error.h"

namespace stipple {
namespace {

struct GetCommand {
  std::string name, to;
  bool json = false;
};

std::string known_names() {
  std::string names;
  for (const RemoteDataset& set : remote_datasets()) names += (names.empty() ? "" : ", ") + set.name;
  return names;
}

void run(const GetCommand& o) {
  const RemoteDataset& set = remote_dataset(o.name);
  std::string current;
  std::unique_ptr<Progress> progress;
  DownloadOptions options;
  options.cancelled = interrupted;
  options.progress = [&](const std::string& file, int64_t done, int64_t total) {
    if (done == 0) return;  // nobody has answered yet
    if (file != std::exchange(current, file)) progress = std::make_unique<Progress>(file);
    constexpr int64_t kKibi = 1024;
    progress->update(done / kKibi, total / kKibi, "KiB");
  };
  std::filesystem::path folder;
  try {
    folder = download_dataset(set, o.to, options);
  } catch (const Error&) {
    if (interrupted()) throw Interrupted{};
    throw;
  }
  progress.reset();
  if (o.json)
    std::printf("%s\n", nlohmann::ordered_json{{"name", o.name}, {"folder", folder.string()}}.dump().c_str());
  else
    std::printf("%s is in %s\n", o.name.c_str(), folder.string().c_str());
}

}  // namespace

void add_data(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "data sets");
  data->require_subcommand(1);
  auto o = std::make_shared<GetCommand>();
  CLI::App* get = data->add_subcommand("get", "download a data set: " + known_names());
  get->add_option("name", o->name, known_names())->required();
  get->add_option("--to", o->to, "folder (default: ./data/NAME)");
  get->add_flag("--json", o->json, "answer as JSON on standard output");
  get->callback([o] { run(*o); });
}

}  // namespace stipple
