#include <filesystem>
#include <memory>

#include "apps/command.h"
#include "diffusion/pipeline.h"
#include "tensor/file.h"

namespace stipple {
namespace {

namespace fs = std::filesystem;

struct ConvertCommand {
  ModelOptions model;
  std::string out, save_dtype = "f32";
};

// The folder appears whole, at the end.
void save_whole(const Pipeline& pipeline, const std::string& out, Dtype dtype) {
  const fs::path temporary = temporary_beside(out);
  try {
    pipeline.save(temporary.string(), pipeline.parameters.values(), dtype);
    replace_folder(temporary.string(), out);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

void check_new_folder(const std::string& out, const std::string& model) {
  check(!fs::exists(out), "cannot write {}: it is there already", out);
  const fs::path target = fs::absolute(out),
                 parent = (target.has_filename() ? target : target.parent_path()).parent_path();
  check(fs::is_directory(parent), "cannot write {}: there is no folder {}", out, parent.string());
  check(!fs::is_directory(model) || !lies_in(out, model), "--out {}: lies in the folder of the model, {}", out, model);
}

void run(const ConvertCommand& o) {
  const Dtype dtype = save_dtype(o.save_dtype);
  check_new_folder(o.out, o.model.folder);
  save_whole(*o.model.load(), o.out, dtype);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto o = std::make_shared<ConvertCommand>();
  CLI::App* command = app.add_subcommand("convert", "write a pipeline anew: as safetensors, in another type");
  o->model.add_to(*command);
  command->add_option("--out", o->out, "folder to write; it must not be there")->required();
  add_save_dtype(*command, o->save_dtype);
  command->callback([o] { run(*o); });
}

}  // namespace stipple
