#include "tensor/pickle.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "tensor/bytes.h"
#include "tensor/error.h"
#include "tensor/in_quotes.h"

namespace stipple {
namespace {

using Value = Pickle::Value;
using Kind = Pickle::Kind;

constexpr size_t kLongest = 16 << 20;  // a value takes about 60 bytes and may come from one
constexpr uint32_t kNewestProtocol = 5;

// Protocols 2 to 5; the names are those of Python's pickletools.
enum Opcode : uint32_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersistentId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2,
  kTuple3,
  kNewTrue,
  kNewFalse,
  kLong1,
  kShortBinUnicode = 0x8C,
  kStackGlobal = 0x93,
  kMemoize,
  kFrame
};

}  // namespace

// The stack machine that a pickle is a program for.
class PickleMachine {
 public:
  PickleMachine(Pickle& to, std::span<const std::byte> bytes, std::span<const std::string_view> allowed,
                const std::string& where)
      : to_(to), bytes_(bytes.first(std::min(bytes.size(), kLongest))), allowed_(allowed), where_(where) {}

  void run() {
    for (uint32_t opcode = byte(); opcode != kStop; opcode = byte())
      check(literal(opcode) || container(opcode) || memo(opcode) || object(opcode),
            "{}: the pickle has opcode 0x{:02x} at byte {}, which is not read", where_, opcode, at_ - 1);
    to_.root_ = pop();
    to_.size_ = at_;
  }

 private:
  bool literal(uint32_t opcode) {
    switch (opcode) {
      case kNone:
        return push({Kind::none});
      case kNewTrue:
        return push({Kind::boolean, 1});
      case kNewFalse:
        return push({Kind::boolean, 0});
      case kBinInt:
        return push({Kind::integer, static_cast<int32_t>(little32(take(4), 0))});
      case kBinInt1:
        return push({Kind::integer, byte()});
      case kBinInt2:
        return push({Kind::integer, little16(take(2), 0)});
      case kLong1:
        return push_long(text(byte()));
      case kBinFloat:
        return take(8), push({Kind::real});
      case kBinUnicode:
      case kBinString:
        return push({Kind::text, 0, text(little32(take(4), 0))});
      case kShortBinUnicode:
      case kShortBinString:
        return push({Kind::text, 0, text(byte())});
    }
    return false;
  }

  bool container(uint32_t opcode) {
    switch (opcode) {
      case kMark:
        return marks_.push_back(stack_.size()), true;
      case kPop:
        return pop(), true;
      case kPopMark:
        return pop_to_mark(), true;
      case kEmptyTuple:
        return push({Kind::tuple});
      case kEmptyList:
        return push({Kind::list});
      case kEmptyDict:
        return push({Kind::dictionary});
      case kTuple:
        return push({Kind::tuple, 0, {}, pop_to_mark()});
      case kTuple1:
        return push({Kind::tuple, 0, {}, pop(1)});
      case kTuple2:
        return push({Kind::tuple, 0, {}, pop(2)});
      case kTuple3:
        return push({Kind::tuple, 0, {}, pop(3)});
      case kAppend:
        return extend(Kind::list, pop(1));
      case kAppends:
        return extend(Kind::list, pop_to_mark());
      case kSetItem:
        return extend(Kind::dictionary, pop(2));
      case kSetItems:
        return extend(Kind::dictionary, pop_to_mark());
    }
    return false;
  }

  bool memo(uint32_t opcode) {
    switch (opcode) {
      case kBinPut:
        return memo_[byte()] = top(), true;
      case kLongBinPut:
        return memo_[little32(take(4), 0)] = top(), true;
      case kMemoize:
        return memo_.emplace(memo_.size(), top()), true;
      case kBinGet:
        return recall(byte());
      case kLongBinGet:
        return recall(little32(take(4), 0));
    }
    return false;
  }

  bool object(uint32_t opcode) {
    switch (opcode) {
      case kProto:
        return check_protocol(byte()), true;
      case kFrame:
        return take(8), true;
      case kGlobal:
        return push_named_global();
      case kStackGlobal:
        return push_stack_global();
      case kReduce:
        return call();
      case kBinPersistentId:
        return push({Kind::persistent, 0, {}, pop(1)});
      case kBuild:
        return ignore_attributes();
    }
    return false;
  }

  std::span<const std::byte> take(size_t count) {
    check(bytes_.size() - at_ >= count, "{}: the pickle is cut off after {} bytes", where_, bytes_.size());
    return bytes_.subspan(std::exchange(at_, at_ + count), count);
  }
  uint32_t byte() { return byte_at(take(1), 0); }
  std::string_view text(size_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  std::string_view line() {
    const auto left = bytes_.subspan(at_);
    const auto end = std::find(left.begin(), left.end(), std::byte{'\n'});
    const std::string_view found = text(end - left.begin());
    return take(1), found;
  }

  bool push(Value value) {
    stack_.push_back(&to_.values_.emplace_back(std::move(value)));
    return true;
  }
  // Two's complement, lowest byte first.
  bool push_long(std::string_view digits) {
    if (digits.size() > sizeof(int64_t)) return push({Kind::long_integer, 0, digits});
    int64_t value = digits.empty() || digits.back() >= 0 ? 0 : -1;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(digits[i]);
    return push({Kind::integer, value});
  }
  // Below the last mark nothing may be taken.
  Value* top() const {
    check(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "{}: the pickle takes from an empty stack at byte {}",
          where_, at_);
    return stack_.back();
  }
  Value* pop() {
    Value* value = top();
    stack_.pop_back();
    return value;
  }
  std::vector<const Value*> pop(size_t count) {
    std::vector<const Value*> values(count);
    while (count > 0) values[--count] = pop();
    return values;
  }
  std::vector<const Value*> pop_to_mark() {
    check(!marks_.empty(), "{}: the pickle misses a mark at byte {}", where_, at_);
    std::vector<const Value*> values(stack_.begin() + marks_.back(), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }
  bool extend(Kind kind, const std::vector<const Value*>& values) {
    Value& to = *top();
    check(to.kind == kind && (kind == Kind::list || values.size() % 2 == 0), "{}: the pickle makes no sense at byte {}",
          where_, at_);
    to.items.insert(to.items.end(), values.begin(), values.end());
    return true;
  }
  bool recall(uint32_t number) {
    const auto found = memo_.find(number);
    check(found != memo_.end(), "{}: the pickle recalls value {}, which it never kept", where_, number);
    stack_.push_back(found->second);
    return true;
  }

  void check_protocol(uint32_t protocol) const {
    check(protocol <= kNewestProtocol, "{}: pickle protocol {}; 2 to {} are read", where_, protocol, kNewestProtocol);
  }
  bool push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{}.{}", module, name);
    const auto found = std::find(allowed_.begin(), allowed_.end(), full);
    check(found != allowed_.end(), "{}: its pickle asks for {}, which is refused: nothing but tensors is rebuilt",
          where_, in_quotes(full));
    return push({Kind::global, 0, *found});
  }
  bool push_named_global() {
    const std::string_view module = line(), name = line();
    return push_global(module, name);
  }
  bool push_stack_global() {
    const Value *name = pop(), *module = pop();
    check(name->kind == Kind::text && module->kind == Kind::text, "{}: the pickle makes no sense at byte {}", where_,
          at_);
    return push_global(module->text, name->text);
  }
  bool call() {
    auto call = pop(2);
    check(call[0]->kind == Kind::global && call[1]->kind == Kind::tuple,
          "{}: the pickle calls what cannot be called at byte {}", where_, at_);
    if (call[0]->text == Pickle::kOrderedDict && call[1]->items.empty()) return push({Kind::dictionary});
    return push({Kind::call, 0, {}, std::move(call)});
  }
  // The attributes of a dictionary, such as a state dict's _metadata, are not needed.
  bool ignore_attributes() {
    pop();
    check(top()->kind == Kind::dictionary, "{}: the pickle gives attributes to what can have none at byte {}", where_,
          at_);
    return true;
  }

  Pickle& to_;
  std::span<const std::byte> bytes_;
  std::span<const std::string_view> allowed_;
  const std::string& where_;
  size_t at_ = 0;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, Value*> memo_;
};

Pickle::Pickle(std::span<const std::byte> bytes, std::span<const std::string_view> allowed_globals, std::string where) {
  PickleMachine(*this, bytes, allowed_globals, where).run();
}

}  // namespace stipple
