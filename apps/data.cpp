#include "apps/command.h"
namespace stipple {
void add_data(CLI::App& app) { app.add_subcommand("data", "data sets"); }
}
