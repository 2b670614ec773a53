#include "diffusion/conditioning.h"

#include "tensor/error.h"
#include "tests/catch.h"

using namespace stipple;

namespace {

ConditioningConfig read(const std::string& text) {
  std::vector<std::string> notices;
  return ConditioningConfig::from_json(text, "config.json", notices);
}

}  // namespace

TEST_CASE("a conditioning is read as it was written", "[conditioning]") {
  ConditioningConfig written;
  written.kind = ClassConditioning::channels;
  written.classes = 3;
  written.planes = 2;
  written.label_dropout = true;
  written.class_names = {"arc", "bow", "cup"};
  const ConditioningConfig found = read(written.to_json());
  CHECK(found.kind == written.kind);
  CHECK(found.rows() == 4);
  CHECK(found.planes == 2);
  CHECK(found.class_names == written.class_names);
}

TEST_CASE("a conditioning that makes no sense is an error of one line that names file and field", "[conditioning]") {
  CHECK_THROWS_WITH(read(R"({"class_conditioning": "a\nb"})"),
                    R"(config.json: class conditioning "a\nb" is unknown; there are none, embedding, channels)");
  CHECK_THROWS_WITH(read(R"({"class_conditioning": "embedding"})"), Contains("config.json: field 'classes'"));
  CHECK_THROWS_WITH(read(R"({"class_conditioning": "embedding", "classes": 9223372036854775807})"),
                    Contains("field 'classes' must be from 1 to 1048576"));
  CHECK_THROWS_WITH(read(R"({"planes": 0})"), Contains("field 'planes'"));
}
