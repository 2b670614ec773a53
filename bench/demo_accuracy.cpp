#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "bench/lenet.h"
#include "diffusion/generate.h"
#include "diffusion/image/encode.h"
#include "diffusion/image/grid.h"
#include "kernels/cpu/parallel.h"

// How many of a pipeline's samples show the class that was asked for, by the judgement of a classifier that was trained
// on the real pictures. Exit status: 0 enough, 1 too few or an error, 2 wrong usage.

namespace stipple {
namespace {

struct AccuracyOptions {
  std::string data = "mnist", model = "out/demo", classifier, grid;
  int64_t epochs = 3, count = 200;
  uint64_t seed = 0;  // of the first picture; the classifier's, too
  double at_least = 0.9;
  int threads = 0;
  GenerateOptions generate{.sampler = "ddpm", .steps = 100, .guidance_scale = 2};
};

struct Split {
  Dataset train, test;
};

Dataset part(const Dataset& set, int64_t begin, int64_t end) {
  Dataset chosen = set;
  chosen.pictures.assign(set.pictures.begin() + begin, set.pictures.begin() + end);
  chosen.labels.assign(set.labels.begin() + begin, set.labels.begin() + end);
  return chosen;
}

// The set's own test split; of the drawn digits, which have none, the last tenth.
Split open_split(const std::string& data) {
  Dataset train = open_dataset(data);
  check(train.labelled(), "--data {}: has no labels", data);
  if (data != "glyphs") return {std::move(train), open_dataset(data, {.split = "test"})};
  const int64_t size = train.size(), held_out = size / 10;
  return {part(train, 0, size - held_out), part(train, size - held_out, size)};
}

void train(Classifier& judge, const Dataset& set, const AccuracyOptions& o) {
  double mean = 0;
  judge.train(set, o.epochs, o.seed, [&](int64_t done, int64_t total, double loss) {
    constexpr int64_t kShown = 200;
    mean += loss / kShown;
    if (done % kShown) return;
    std::fprintf(stderr, "classifier: step %ld of %ld, loss %.3f\n", done, total, mean);
    mean = 0;
  });
}

void prepare(Classifier& judge, const Dataset& set, const AccuracyOptions& o) {
  if (!o.classifier.empty() && std::filesystem::exists(o.classifier)) return judge.load(o.classifier);
  train(judge, set, o);
  if (!o.classifier.empty()) judge.save(o.classifier);
}

// Every class has an equal share, one after the other; the seeds count on.
void ask_for_every_class(GenerateOptions& g, const AccuracyOptions& o, int64_t classes) {
  check(o.count >= classes && o.count % classes == 0, "--count {}: the {} classes do not share that evenly", o.count,
        classes);
  for (int64_t i = 0; i < o.count; ++i) {
    g.classes.push_back(i / (o.count / classes));
    g.seeds.push_back(o.seed + static_cast<uint64_t>(i));
  }
}

Tensor draw(const AccuracyOptions& o, const Dataset& set) {
  std::vector<std::string> notices;
  const auto pipeline = Pipeline::load(o.model, notices);
  check(pipeline->denoiser.conditioning.classes == set.classes(), "--model {}: knows {} classes, the data set {}",
        o.model, pipeline->denoiser.conditioning.classes, set.classes());
  GenerateOptions generate_options = o.generate;
  ask_for_every_class(generate_options, o, set.classes());
  Tensor images = generate(*pipeline, generate_options);
  const Shape expected{o.count, set.height, set.width, set.channels};
  check(images.shape() == expected, "--model {}: draws {}, the data set's pictures are {}", o.model,
        to_string(images.shape()), to_string(expected));
  return images;
}

// Prints a line a class; returns the share over all.
double report(const std::vector<int64_t>& found, const Dataset& set) {
  const int64_t each = static_cast<int64_t>(found.size()) / set.classes();
  int64_t total = 0;
  for (int64_t label = 0; label < set.classes(); ++label) {
    const auto first = found.begin() + label * each;
    const int64_t right = std::count(first, first + each, label);
    std::printf("class %-12s %3ld of %ld\n", set.class_names[label].c_str(), right, each);
    total += right;
  }
  const double share = static_cast<double>(total) / static_cast<double>(found.size());
  std::printf("samples recognised as what was asked for: %.1f %% (%ld of %zu)\n", 100 * share, total, found.size());
  return share;
}

int run(const AccuracyOptions& o) {
  cpu::set_threads(o.threads ? o.threads : cpu::available_threads());
  const Split set = open_split(o.data);
  Classifier judge(set.train);
  prepare(judge, set.train, o);
  std::printf("classifier on %ld pictures it has not seen: %.2f %%\n", set.test.size(), 100 * judge.accuracy(set.test));
  const Tensor images = draw(o, set.train);
  if (!o.grid.empty()) write_png(o.grid, make_grid(images, {.nrow = o.count / set.train.classes()}));
  const double share = report(judge.classify(images), set.train);
  if (share >= o.at_least) return 0;
  std::fprintf(stderr, "stipple_accuracy: below %.1f %%\n", 100 * o.at_least);
  return 1;
}

void add_options(CLI::App& app, AccuracyOptions& o) {
  GenerateOptions& g = o.generate;
  app.add_option("--data", o.data, "what the model was trained on: a path or a name")->capture_default_str();
  app.add_option("--model", o.model, "pipeline folder")->capture_default_str();
  app.add_option("--classifier", o.classifier, "safetensors: taken if it is there, else trained and saved");
  app.add_option("--epochs", o.epochs, "of the classifier's training")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--count", o.count, "pictures to draw, an equal share of each class")->capture_default_str();
  app.add_option("--seed", o.seed, "of the first picture, and of the classifier")->capture_default_str();
  app.add_option("--sampler", g.sampler)->capture_default_str();
  app.add_option("--steps", g.steps)->check(CLI::Range(1, 1000000))->capture_default_str();
  app.add_option("--guidance-scale", g.guidance_scale)->capture_default_str();
  app.add_option("--at-least", o.at_least, "share that must be recognised")
      ->check(CLI::Range(0., 1.))
      ->capture_default_str();
  app.add_option("--grid", o.grid, "PNG of the pictures, a row a class");
  app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024));
}

}  // namespace
}  // namespace stipple

int main(int argc, char** argv) {
  stipple::cpu::sleep_when_idle(argv);
  stipple::AccuracyOptions options;
  CLI::App app("How many of a pipeline's samples a classifier recognises", "stipple_accuracy");
  stipple::add_options(app, options);
  try {
    app.parse(argc, argv);
    return stipple::run(options);
  } catch (const CLI::ParseError& error) { return app.exit(error) ? 2 : 0; } catch (const std::exception& error) {
    std::fprintf(stderr, "stipple_accuracy: %s\n", error.what());
    return 1;
  }
}
