// A checked pointer into shared memory, and what it points to.
//
// Purpose: stands where device code has a plain pointer, so that every access of shared memory is
//   seen.
// Who may call: kernels, through MR_SHARED, MR_DYNAMIC_SHARED, MR_SHARED_PTR, MR_SHARED_CAST and
//   MR_SHARED_SLICE.
// Invariants:
//   1. A pointer knows its array and may point anywhere; what it reads and writes lies inside.
//   2. An element is read and written as a whole. p[i] is a proxy that can only be used at once:
//      `T v = p[i];` compiles, `auto v = p[i]; v + 1` does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/simt/engine.h"

namespace millrace::simt {

template <class T>
class SharedPtr;

template <class T>
class SharedRef {
 public:
  using Value = std::remove_cv_t<T>;
  static_assert(std::is_trivially_copyable_v<Value>, "shared memory holds plain data");

  SharedRef(char* at, const SharedRange& range) : at_(at), range_(range) {}
  SharedRef(const SharedRef&) = delete;

  operator Value() const&& { return Load(); }
  Value operator=(const Value& value) && { return Store(value); }
  Value operator=(SharedRef&& other) && { return Store(other.Load()); }
  template <class U>
  Value operator=(SharedRef<U>&& other) && {
    return Store(static_cast<Value>(other.Load()));
  }
  SharedPtr<T> operator&() const&& { return SharedPtr<T>(at_, range_); }

#define MR_SIMT_COMPOUND(op)                  \
  template <class U>                          \
  Value operator op(const U& operand)&& {     \
    Value value = Load();                     \
    value op operand;                         \
    return Store(value);                      \
  }                                           \
  template <class U>                          \
  Value operator op(SharedRef<U>&& other)&& { \
    return std::move(*this) op other.Load();  \
  }
  MR_SIMT_COMPOUND(+=)
  MR_SIMT_COMPOUND(-=)
  MR_SIMT_COMPOUND(*=)
  MR_SIMT_COMPOUND(/=)
  MR_SIMT_COMPOUND(%=)
  MR_SIMT_COMPOUND(&=)
  MR_SIMT_COMPOUND(|=)
  MR_SIMT_COMPOUND(^=)
  MR_SIMT_COMPOUND(<<=)
  MR_SIMT_COMPOUND(>>=)
#undef MR_SIMT_COMPOUND

  Value operator++() && { return std::move(*this) += Value(1); }
  Value operator--() && { return std::move(*this) -= Value(1); }
  Value operator++(int) && {
    const Value before = Load();
    Value after = before;
    Store(++after);
    return before;
  }
  Value operator--(int) && {
    const Value before = Load();
    Value after = before;
    Store(--after);
    return before;
  }

  Value Load() const { return LoadAs(Access::kRead); }
  Value LoadAs(Access access) const {
    Value value;
    if (OnSharedAccess(at_, sizeof(Value), alignof(Value), range_, access)) {
      std::memcpy(static_cast<void*>(&value), at_, sizeof(Value));
    } else {
      std::memset(static_cast<void*>(&value), 0, sizeof(Value));
    }
    return value;
  }
  Value Store(const Value& value) const {
    static_assert(!std::is_const_v<T>, "shared memory that is const cannot be written");
    if (OnSharedAccess(at_, sizeof(Value), alignof(Value), range_, Access::kWrite)) {
      std::memcpy(at_, static_cast<const void*>(&value), sizeof(Value));
    }
    return value;
  }
  // One access that no other thread can divide: `change` gives the new value from the old.
  template <class F>
  Value Modify(F change) const {
    Value old;
    if (!OnSharedAccess(at_, sizeof(Value), alignof(Value), range_, Access::kAtomic)) {
      return Value{};
    }
    std::memcpy(static_cast<void*>(&old), at_, sizeof(Value));
    const Value value = change(old);
    std::memcpy(at_, static_cast<const void*>(&value), sizeof(Value));
    return old;
  }

 private:
  char* at_;
  SharedRange range_;
};

template <class T>
class SharedPtr {
 public:
  SharedPtr() = default;
  SharedPtr(std::nullptr_t) {}
  SharedPtr(char* at, const SharedRange& range) : at_(at), range_(range) {}
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>) SharedPtr(const SharedPtr<U>& other)
      : at_(other.at()), range_(other.range()) {}

  SharedRef<T> operator*() const { return SharedRef<T>(at_, range_); }
  SharedRef<T> operator[](std::ptrdiff_t index) const { return SharedRef<T>(Moved(index), range_); }

  SharedPtr operator+(std::ptrdiff_t count) const { return {Moved(count), range_}; }
  SharedPtr operator-(std::ptrdiff_t count) const { return {Moved(-count), range_}; }
  friend SharedPtr operator+(std::ptrdiff_t count, const SharedPtr& p) { return p + count; }
  std::ptrdiff_t operator-(const SharedPtr& other) const {
    return (at_ - other.at_) / static_cast<std::ptrdiff_t>(sizeof(T));
  }
  SharedPtr& operator+=(std::ptrdiff_t count) { return *this = *this + count; }
  SharedPtr& operator-=(std::ptrdiff_t count) { return *this = *this - count; }
  SharedPtr& operator++() { return *this += 1; }
  SharedPtr& operator--() { return *this -= 1; }
  SharedPtr operator++(int) {
    const SharedPtr before = *this;
    *this += 1;
    return before;
  }
  explicit operator bool() const { return at_ != nullptr; }
  bool operator==(const SharedPtr& other) const { return at_ == other.at_; }
  bool operator!=(const SharedPtr& other) const { return at_ != other.at_; }
  bool operator<(const SharedPtr& other) const { return at_ < other.at_; }
  bool operator<=(const SharedPtr& other) const { return at_ <= other.at_; }
  bool operator>(const SharedPtr& other) const { return at_ > other.at_; }
  bool operator>=(const SharedPtr& other) const { return at_ >= other.at_; }

  template <class U>
  SharedPtr<U> Cast() const {
    return SharedPtr<U>(at_, range_);
  }
  // Narrower bounds: never past those that the pointer has.
  template <class U>
  SharedPtr<U> Slice(std::size_t offset_bytes, std::size_t count) const {
    char* const begin = at_ + offset_bytes;
    SharedRange range{begin < range_.begin ? range_.begin : begin, begin + count * sizeof(U)};
    if (range.end > range_.end) range.end = range_.end;
    return SharedPtr<U>(begin, range);
  }

  char* at() const { return at_; }
  const SharedRange& range() const { return range_; }

 private:
  // Pointers far outside are compared and reported, never followed; so no overflow here.
  char* Moved(std::ptrdiff_t count) const {
    return reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(at_) +
                                   static_cast<std::uintptr_t>(count) * sizeof(T));
  }

  char* at_ = nullptr;
  SharedRange range_;
};

template <class T>
SharedPtr<T> DeclareShared(const SharedSite& site, std::size_t count) {
  const SharedRange range = DeclareSharedBytes(site, count * sizeof(T), alignof(T));
  return SharedPtr<T>(range.begin, range);
}

template <class T>
SharedPtr<T> DynamicShared(const char* name) {
  const SharedRange range = DynamicSharedBytes(name);
  return SharedPtr<T>(range.begin, range);
}

}  // namespace millrace::simt
