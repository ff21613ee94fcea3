#include "header.h"

#include "error.h"

namespace caloforge::inside {
namespace {

class Reader {
 public:
  Reader(const char* text, size_t size) : at_(text), end_(text + size), begin_(text) {}

  template <typename Member>
  void object(Member member) {
    list('{', '}', [&] {
      const std::string name = text();
      expect(':');
      member(name);
    });
  }

  template <typename Item>
  void list(char open, char close, Item item) {
    expect(open);
    if (next() == close) {
      ++at_;
      return;
    }
    for (;;) {
      item();
      const char found = next();
      ++at_;
      if (found == close) return;
      if (found != ',') refuse();
    }
  }

  std::string text() {
    expect('"');
    std::string found;
    for (;;) {
      if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20) refuse();
      const char c = *at_++;
      if (c == '"') return found;
      if (c == '\\')
        escape(found);
      else
        found += c;
    }
  }

  uint64_t number() {
    if (next() < '0' || *at_ > '9') refuse();
    uint64_t found = 0;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      if (found > (UINT64_MAX >> 1) / 10 - 1) refuse();
      found = 10 * found + static_cast<uint64_t>(*at_ - '0');
    }
    return found;
  }

  void finish() {
    space();
    if (at_ != end_) refuse();
  }

  [[noreturn]] void refuse() const {
    throw Error("the header is damaged at byte " + std::to_string(8 + (at_ - begin_)));
  }

 private:
  void space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }

  char next() {
    space();
    if (at_ == end_) refuse();
    return *at_;
  }

  void expect(char c) {
    if (next() != c) refuse();
    ++at_;
  }

  void escape(std::string& found) {
    if (at_ == end_) refuse();
    const char c = *at_++;
    const std::string plain = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
    const size_t which = plain.find(c);
    if (which != std::string::npos) {
      found += meant[which];
    } else if (c == 'u') {
      unsigned code = 0;
      for (int i = 0; i < 4; ++i) {
        const size_t digit = at_ == end_ ? std::string::npos : std::string("0123456789abcdef").find(*at_ | 0x20);
        if (digit == std::string::npos) refuse();
        code = 16 * code + static_cast<unsigned>(digit);
        ++at_;
      }
      utf8(code, found);
    } else {
      refuse();
    }
  }

  // Halves of a pair stay halves: texts are shown to people, and compared with nothing.
  static void utf8(unsigned code, std::string& found) {
    if (code < 0x80) {
      found += static_cast<char>(code);
    } else if (code < 0x800) {
      found += static_cast<char>(0xc0 | code >> 6);
      found += static_cast<char>(0x80 | (code & 0x3f));
    } else {
      found += static_cast<char>(0xe0 | code >> 12);
      found += static_cast<char>(0x80 | (code >> 6 & 0x3f));
      found += static_cast<char>(0x80 | (code & 0x3f));
    }
  }

  const char *at_, *end_, *begin_;
};

Entry read_entry(Reader& reader) {
  Entry entry;
  std::vector<uint64_t> place;
  reader.object([&](const std::string& name) {
    if (name == "dtype") {
      entry.type = reader.text();
    } else if (name == "shape") {
      reader.list('[', ']', [&] { entry.shape.push_back(reader.number()); });
    } else if (name == "data_offsets") {
      reader.list('[', ']', [&] { place.push_back(reader.number()); });
    } else {
      reader.refuse();
    }
  });
  if (place.size() != 2) reader.refuse();
  entry.begin = place[0];
  entry.end = place[1];
  return entry;
}

}  // namespace

Header read_header(const char* text, size_t size) {
  Reader reader(text, size);
  Header header;
  reader.object([&](const std::string& name) {
    if (name == "__metadata__")
      reader.object([&](const std::string& key) { header.texts[key] = reader.text(); });
    else
      header.tensors[name] = read_entry(reader);
  });
  reader.finish();
  return header;
}

}  // namespace caloforge::inside
