#include "megalith/checkpoint/pickle.hpp"

#include <bit>
#include <charconv>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "megalith/checkpoint/pickle_tensors.hpp"
#include "megalith/core/error.hpp"

namespace megalith {

using Kind = PickleValue::Kind;

namespace {

constexpr size_t kMaxNameBytes = 256;  // of a module and its name

uint64_t little_endian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes[i]);
  return value;
}

}  // namespace

/// The stack machine that pickles are written for, with every instruction that has an effect on
/// anything but the stack left out.
class PickleMachine {
 public:
  PickleMachine(const std::string& origin, std::span<const std::byte> bytes, Pickle& pickle)
      : origin_(origin), bytes_(bytes), pickle_(pickle) {}

  void run() {
    while (true) {
      opcode_at_ = place_;
      const auto opcode = static_cast<uint8_t>(take(1)[0]);
      if (opcode == '.') break;
      step(opcode);
    }
    if (stack_.size() != 1 || !marks_.empty()) fail("ends with more or less than one value");
    pickle_.root_ = stack_.back();
    pickle_.num_bytes_ = place_;
  }

 private:
  using Id = uint32_t;

  [[noreturn]] void fail(const std::string& what) const {
    throw UsageError("{}: its pickle cannot be read: at byte {}: {}", origin_, opcode_at_, what);
  }

  std::span<const std::byte> take(uint64_t size) {
    if (size > bytes_.size() - place_) fail("it ends there, in the middle of a value");
    if (place_ + size > kMaxPickleBytes) {
      fail(fmt::format("it is longer than {} bytes, more than names and numbers need",
                       kMaxPickleBytes));
    }
    const auto part = bytes_.subspan(place_, size);
    place_ += size;
    return part;
  }
  uint64_t number(size_t width) { return little_endian(take(width)); }
  std::string_view text(uint64_t size) {
    const auto part = take(size);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  std::string_view line() {
    const auto rest = bytes_.subspan(place_);
    const void* end = std::memchr(rest.data(), '\n', std::min(rest.size(), size_t{1} << 16));
    if (end == nullptr) fail("a line does not end");
    const auto length = static_cast<const std::byte*>(end) - rest.data();
    const auto part = text(static_cast<uint64_t>(length) + 1);
    return part.substr(0, part.size() - 1);
  }

  Id add(PickleValue value) {
    if (pickle_.values_.size() >= kMaxPickleValues) {
      fail(fmt::format("it holds more than {} values", kMaxPickleValues));
    }
    pickle_.values_.push_back(std::move(value));
    return static_cast<Id>(pickle_.values_.size() - 1);
  }
  void push_id(Id id) {
    if (stack_.size() >= kMaxPickleValues) fail("its stack is too high");
    stack_.push_back(id);
  }
  void push(PickleValue value) { push_id(add(std::move(value))); }
  void push_kind(Kind kind) { push({.kind = kind, .integer = 0, .text = {}, .items = {}}); }
  void push_integer(Kind kind, int64_t value) {
    push({.kind = kind, .integer = value, .text = {}, .items = {}});
  }
  void push_real(double value) {
    PickleValue result{.kind = Kind::kFloat, .integer = 0, .text = {}, .items = {}};
    result.real = value;
    push(std::move(result));
  }
  void push_text(std::string_view value) {
    push({.kind = Kind::kText, .integer = 0, .text = value, .items = {}});
  }
  void push_object(std::string_view name) {
    push({.kind = Kind::kObject, .integer = 0, .text = name, .items = {}});
  }
  void push_list(std::vector<Id> items) {
    push({.kind = Kind::kList, .integer = 0, .text = {}, .items = std::move(items)});
  }

  PickleValue& value(Id id) { return pickle_.values_[id]; }
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Id pop() {
    if (stack_.size() <= floor()) fail("it takes more from the stack than is there");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  PickleValue& top() {
    if (stack_.size() <= floor()) fail("it takes more from the stack than is there");
    return value(stack_.back());
  }
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) fail("a mark is missing");
    const auto first = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
    std::vector<Id> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<Id> pop_some(size_t count) {
    std::vector<Id> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  void remember(uint64_t index) {
    top();
    if (memo_.size() >= kMaxPickleValues) fail("it remembers too many values");
    memo_[index] = stack_.back();
  }
  void recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail(fmt::format("refers to value {}, which is not there", index));
    push_id(found->second);
  }

  void append(const std::vector<Id>& items) {
    auto& list = top();
    if (list.kind == Kind::kObject) return;  // a class of list: only its name is kept
    if (list.kind != Kind::kList) fail("appends to what is no list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<Id>& items) {
    auto& dict = top();
    if (items.size() % 2 != 0) fail("a key has no value");
    if (dict.kind == Kind::kObject) return;
    if (dict.kind != Kind::kDict) fail("sets a key of what is no dictionary");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }
  void build() {
    const Id state = pop();
    auto& object = top();
    // The state of a dictionary or tensor is only bookkeeping (an OrderedDict's _metadata).
    if (object.kind == Kind::kObject) object.items = {state};
  }

  void push_global(std::string_view module, std::string_view name) {
    if (module.size() + name.size() > kMaxNameBytes) fail("the name of a class is too long");
    std::string joined(module);
    joined += '.';
    joined += name;
    auto known = names_.find(joined);
    if (known == names_.end()) {
      pickle_.names_.push_back(std::move(joined));
      known = names_.insert(pickle_.names_.back()).first;
    }
    push({.kind = Kind::kGlobal, .integer = 0, .text = *known, .items = {}});
  }
  void stack_global() {
    const Id name = pop(), module = pop();
    if (value(name).kind != Kind::kText || value(module).kind != Kind::kText) {
      fail("the name of a class is no text");
    }
    push_global(value(module).text, value(name).text);
  }

  const PickleValue* argument(const PickleValue& arguments, size_t index) {
    return index < arguments.items.size() ? &value(arguments.items[index]) : nullptr;
  }

  void push_tensor(PickleTensor tensor) {
    if (pickle_.tensors_.size() >= kMaxPickleTensors) fail("it holds too many tensors");
    pickle_.tensors_.push_back(std::move(tensor));
    push_integer(Kind::kTensor, static_cast<int64_t>(pickle_.tensors_.size() - 1));
  }

  /// What a call of `name` would have given; never called, only recognised.
  void reduce() {
    const Id arguments_id = pop(), callable_id = pop();
    const PickleValue& callable = value(callable_id);
    const PickleValue& arguments = value(arguments_id);
    if (callable.kind != Kind::kGlobal || arguments.kind != Kind::kList) {
      return push_object("(a call of what is no function)");
    }
    apply(callable.text, arguments);
  }

  void apply(std::string_view name, const PickleValue& arguments) {
    if (name == "collections.OrderedDict") return push_ordered_dict(arguments);
    if (name == "torch.Size" && arguments.items.size() == 1) {
      push_id(arguments.items[0]);
      return;
    }
    if (name == "torch._utils._rebuild_parameter" ||
        name == "torch._utils._rebuild_parameter_with_state") {
      const auto* tensor = argument(arguments, 0);
      if (tensor != nullptr && tensor->kind == Kind::kTensor) {
        push_id(arguments.items[0]);
        return;
      }
    }
    if (name == "torch._tensor._rebuild_from_type_v2") return push_of_type(arguments);
    if (is_tensor_function(name)) {
      return push_tensor(tensor_from(
          name, gather(arguments), pickle_.storages_,
          [this](const PickleValue& list) { return gather(list); },
          [this](const std::string& what) { fail(what); }));
    }
    if (name == "copy_reg._reconstructor" || name == "copyreg._reconstructor") {
      const auto* type = argument(arguments, 0);
      return push_object(type != nullptr && type->kind == Kind::kGlobal ? type->text : name);
    }
    push_object(name);
  }

  /// A tensor with attributes: the function that makes the tensor, its type, the arguments, and the
  /// attributes, which nobody here wants.
  void push_of_type(const PickleValue& arguments) {
    const auto* function = argument(arguments, 0);
    const auto* inner = argument(arguments, 2);
    if (function == nullptr || inner == nullptr || function->kind != Kind::kGlobal ||
        inner->kind != Kind::kList || !is_tensor_function(function->text)) {
      return push_object("torch._tensor._rebuild_from_type_v2");
    }
    apply(function->text, *inner);
  }

  void push_ordered_dict(const PickleValue& arguments) {
    PickleValue dict{.kind = Kind::kDict, .integer = 0, .text = {}, .items = {}};
    const auto* pairs = argument(arguments, 0);
    if (pairs != nullptr && pairs->kind == Kind::kList) {  // as Python 2 wrote it
      for (const Id id : pairs->items) {
        const auto& pair = value(id);
        if (pair.kind != Kind::kList || pair.items.size() != 2) fail("a key has no value");
        dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
      }
    }
    push(std::move(dict));
  }

  std::vector<const PickleValue*> gather(const PickleValue& list) {
    std::vector<const PickleValue*> values;
    for (const Id id : list.items) {
      if (values.size() > kMaxTensorDims) break;
      values.push_back(&value(id));
    }
    return values;
  }

  void persistent() {
    const auto& id = value(pop());
    if (id.kind != Kind::kList) fail("a storage has no description");
    const auto parts = gather(id);
    const bool is_storage =
        !parts.empty() && parts[0]->kind == Kind::kText && parts[0]->text == "storage";
    if (!is_storage) return push_object("(kept outside the pickle)");  // 'module': a class's source
    if (pickle_.storages_.size() >= kMaxPickleTensors) fail("it names too many storages");
    pickle_.storages_.push_back(storage_from(
        parts, [this](const PickleValue& list) { return gather(list); },
        [this](const std::string& what) { fail(what); }));
    push_integer(Kind::kStorage, static_cast<int64_t>(pickle_.storages_.size() - 1));
  }

  /// A long integer of `size` bytes; one that does not fit 64 bits is an object.
  void push_long(uint64_t size) {
    const auto digits = take(size);
    if (size == 0) return push_integer(Kind::kInt, 0);
    if (size > 8) return push_object("(a long integer)");
    const auto shift = static_cast<int>(64 - 8 * size);
    push_integer(Kind::kInt, static_cast<int64_t>(little_endian(digits) << shift) >> shift);
  }
  void push_decimal(std::string_view digits) {
    if (digits == "00" || digits == "01") return push_integer(Kind::kBool, digits == "01");
    if (digits.ends_with('L')) digits.remove_suffix(1);
    int64_t parsed = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
    if (error == std::errc::result_out_of_range) return push_object("(a long integer)");
    if (error != std::errc() || end != digits.data() + digits.size()) fail("a number is no number");
    push_integer(Kind::kInt, parsed);
  }
  void push_real_line(std::string_view digits) {
    double parsed = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("a number is no number");
    push_real(parsed);
  }
  uint64_t index_line() {
    const auto digits = line();
    uint64_t parsed = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("a number is no number");
    return parsed;
  }

  void step(uint8_t opcode);
  bool push_scalar(uint8_t opcode);
  bool push_string(uint8_t opcode);
  bool use_memo(uint8_t opcode);
  bool use_container(uint8_t opcode);
  bool use_object(uint8_t opcode);

  const std::string& origin_;
  std::span<const std::byte> bytes_;
  Pickle& pickle_;
  size_t place_ = 0, opcode_at_ = 0;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Id> memo_;
  std::unordered_set<std::string_view> names_;  // of pickle_.names_
};

bool PickleMachine::push_scalar(uint8_t opcode) {
  switch (opcode) {
    case 'N':
      return push_kind(Kind::kNone), true;
    case 0x88:
    case 0x89:
      return push_integer(Kind::kBool, opcode == 0x88), true;
    case 'K':
      return push_integer(Kind::kInt, static_cast<int64_t>(number(1))), true;
    case 'M':
      return push_integer(Kind::kInt, static_cast<int64_t>(number(2))), true;
    case 'J':
      return push_integer(Kind::kInt, static_cast<int32_t>(number(4))), true;
    case 0x8a:
      return push_long(number(1)), true;
    case 0x8b:
      return push_long(number(4)), true;
    case 'I':
    case 'L':
      return push_decimal(line()), true;
    case 'F':
      return push_real_line(line()), true;
    case 'G':  // the one number of the format whose bytes run the other way
      return push_real(std::bit_cast<double>(__builtin_bswap64(number(8)))), true;
    default:
      return false;
  }
}

bool PickleMachine::push_string(uint8_t opcode) {
  switch (opcode) {
    case 'U':
    case 0x8c:
      return push_text(text(number(1))), true;
    case 'T':
    case 'X':
      return push_text(text(number(4))), true;
    case 0x8d:
      return push_text(text(number(8))), true;
    case 'V':
      return push_text(line()), true;
    case 'C':
      return take(number(1)), push_object("bytes"), true;
    case 'B':
      return take(number(4)), push_object("bytes"), true;
    case 0x8e:
    case 0x96:
      return take(number(8)), push_object("bytes"), true;
    default:
      return false;
  }
}

bool PickleMachine::use_memo(uint8_t opcode) {
  switch (opcode) {
    case 'q':
      return remember(number(1)), true;
    case 'r':
      return remember(number(4)), true;
    case 'p':
      return remember(index_line()), true;
    case 0x94:
      return remember(memo_.size()), true;
    case 'h':
      return recall(number(1)), true;
    case 'j':
      return recall(number(4)), true;
    case 'g':
      return recall(index_line()), true;
    default:
      return false;
  }
}

bool PickleMachine::use_container(uint8_t opcode) {
  switch (opcode) {
    case '(':
      if (marks_.size() >= kMaxPickleValues) fail("it holds too many marks");
      return marks_.push_back(stack_.size()), true;
    case ']':
    case ')':
      return push_list({}), true;
    case 'l':
    case 't':
      return push_list(pop_to_mark()), true;
    case 0x85:
    case 0x86:
    case 0x87:
      return push_list(pop_some(size_t{1} + opcode - 0x85)), true;
    case '}':
      return push_kind(Kind::kDict), true;
    case 'd': {
      const auto items = pop_to_mark();
      push_kind(Kind::kDict);
      return set_items(items), true;
    }
    case 'a':
      return append(pop_some(1)), true;
    case 'e':
      return append(pop_to_mark()), true;
    case 's':
      return set_items(pop_some(2)), true;
    case 'u':
      return set_items(pop_to_mark()), true;
    case 0x8f:
      return push_object("set"), true;
    case 0x90:
      return pop_to_mark(), top(), true;
    case 0x91:
      return pop_to_mark(), push_object("frozenset"), true;
    case '0':
      return pop(), true;
    case '1':
      return pop_to_mark(), true;
    case '2':
      return top(), push_id(stack_.back()), true;
    default:
      return false;
  }
}

bool PickleMachine::use_object(uint8_t opcode) {
  switch (opcode) {
    case 'c': {
      const auto module = line();
      return push_global(module, line()), true;
    }
    case 0x93:
      return stack_global(), true;
    case 'R':
      return reduce(), true;
    case 0x81:    // NEWOBJ: a class and its arguments
    case 0x92: {  // NEWOBJ_EX: and its named ones
      if (opcode == 0x92) pop();
      pop();
      const auto& type = value(pop());
      return push_object(type.kind == Kind::kGlobal ? type.text : "(no class)"), true;
    }
    case 'b':
      return build(), true;
    case 'Q':
      return persistent(), true;
    default:
      return false;
  }
}

void PickleMachine::step(uint8_t opcode) {
  if (opcode == 0x80) {  // PROTO
    const auto protocol = number(1);
    if (protocol > 5) fail(fmt::format("it is of protocol {}; 0 to 5 are read", protocol));
  } else if (opcode == 0x95) {  // FRAME: how much a reader may fetch ahead
    take(8);
  } else if (!push_scalar(opcode) && !push_string(opcode) && !use_memo(opcode) &&
             !use_container(opcode) && !use_object(opcode)) {
    fail(fmt::format("instruction 0x{:02x} is none that PyTorch writes", opcode));
  }
}

Pickle::Pickle(const std::string& origin, std::span<const std::byte> bytes) {
  PickleMachine(origin, bytes, *this).run();
}

const PickleValue* Pickle::find(const PickleValue& parent, std::string_view key) const {
  const PickleValue* dict = &parent;
  if (dict->kind == Kind::kObject && !dict->items.empty()) dict = &item(*dict, 0);
  if (dict->kind != Kind::kDict) return nullptr;
  // From the end: as in Python, the last value of a key is the one that holds.
  for (size_t i = dict->items.size(); i >= 2; i -= 2) {
    const auto& name = item(*dict, i - 2);
    if (name.kind == Kind::kText && name.text == key) return &item(*dict, i - 1);
  }
  return nullptr;
}

std::string shown(std::string_view text) {
  constexpr size_t kLongest = 100;
  std::string plain(text.substr(0, kLongest));
  for (char& letter : plain) {
    if (letter < ' ' || letter > '~') letter = '?';
  }
  return text.size() > kLongest ? plain + "..." : plain;
}

}  // namespace megalith
