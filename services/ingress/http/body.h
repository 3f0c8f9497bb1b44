// A request's body as HTTP's parser fills it: a string with room after its end.
//
// Purpose: the JSON reader looks up to kBodyPadding bytes past the text; a body that already has
//   them is not copied. Who may call: the connection's thread. Fails never: the parser's body limit
//   comes before.
// Invariants: 1. when the body is complete, capacity() >= size() + kBodyPadding.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/optional.hpp>
#include <string>

namespace millrace::http {

inline constexpr size_t kBodyPadding = 64;

struct PaddedBody {
  using value_type = std::string;

  class reader {
   public:
    template <bool kRequest, class Fields>
    reader(boost::beast::http::header<kRequest, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<uint64_t>& length, boost::beast::error_code& error) {
      error = {};
      body_.clear();
      // The parser has held the length against its limit.
      if (length) body_.reserve(*length + kBodyPadding);
    }

    template <class Buffers>
    size_t put(const Buffers& buffers, boost::beast::error_code& error) {
      error = {};
      size_t taken = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer part = *it;
        body_.append(static_cast<const char*>(part.data()), part.size());
        taken += part.size();
      }
      return taken;
    }

    void finish(boost::beast::error_code& error) {
      error = {};
      body_.reserve(body_.size() + kBodyPadding);
    }

   private:
    value_type& body_;
  };
};

}  // namespace millrace::http
