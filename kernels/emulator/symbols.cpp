#include "kernels/emulator/symbols.h"

#include <link.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>

namespace emulator {
namespace {

struct Symbol {
  std::string function, line;
};

// Where the program was loaded: addresses in its file begin at 0.
uintptr_t load_address() {
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* to) { return *static_cast<uintptr_t*>(to) = info->dlpi_addr, 1; }, &address);
  return address;
}

std::string read_line(FILE* from) {
  std::string line;
  for (int c = std::fgetc(from); c != EOF && c != '\n'; c = std::fgetc(from)) line += static_cast<char>(c);
  return line;
}

Symbol look_up(uintptr_t address) {
  std::array<char, 4096> program{};
  if (readlink("/proc/self/exe", program.data(), program.size() - 1) < 0) return {};
  char where[32];
  std::snprintf(where, sizeof where, "0x%zx", static_cast<size_t>(address - load_address()));
  const std::string command = std::string("addr2line -f -C -e '") + program.data() + "' " + where + " 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> output(popen(command.c_str(), "r"), pclose);
  if (!output) return {};
  Symbol found{read_line(output.get()), read_line(output.get())};
  found.line = found.line.substr(0, found.line.find(' '));  // without "(discriminator 2)"
  if (found.line.starts_with("./")) found.line.erase(0, 2);
  return found;
}

const Symbol& symbol_at(uintptr_t address) {
  static std::map<uintptr_t, Symbol> known;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  auto [entry, fresh] = known.try_emplace(address);
  if (fresh) entry->second = look_up(address);
  return entry->second;
}

// "void stipple::cuda::(anonymous namespace)::fill<float>(float*, long)" -> "fill<float>"
std::string short_name(std::string name) {
  int depth = 0;
  for (size_t i = name.size(); i-- > 0;) {  // the parameter list is the last pair of parentheses
    depth += name[i] == ')' ? 1 : name[i] == '(' ? -1 : 0;
    if (name[i] == '(' && depth == 0) {
      name.resize(i);
      break;
    }
  }
  size_t begin = 0;
  depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' || name[i] == '(' ? 1 : name[i] == '>' || name[i] == ')' ? -1 : 0;
    if (depth == 0 && (name[i] == ':' || name[i] == ' ')) begin = i + 1;
  }
  return name.substr(begin);
}

}  // namespace

std::string name_of_kernel(const void* kernel) {
  const std::string name = short_name(symbol_at(reinterpret_cast<uintptr_t>(kernel)).function);
  return name.empty() || name[0] == '?' ? "kernel without a symbol" : name;
}

std::string line_of(const void* return_address) {
  const std::string& line = symbol_at(reinterpret_cast<uintptr_t>(return_address) - 1).line;
  if (!line.empty() && line[0] != '?') return line;
  char address[32];
  std::snprintf(address, sizeof address, "%p", return_address);
  return address;
}

}  // namespace emulator
