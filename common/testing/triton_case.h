// A case of services/registry/corpus_triton: a config.pbtxt whose first comments say what is around
// it and what must come of it. For tests only.
//
//   # One sentence.
//   # file: NAME = FOLDER/FILE   the version's file, of kernels/testdata
//   # text: NAME = a,b           a file of the model's folder, a line for each word
//   # serves: OUTPUT TYPE COLUMNS, or
//   # refuses: part of the sentence
//   # answers: how the output follows from the library's own predictions: prediction, argmax,
//              both (1 - p and p), above T (1 where it is greater, else 0)
//   # unused: part of the warning; as often as is needed
// Who may call: a test. What fails: a case without its lines ends the test.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"

namespace millrace {

struct TritonCase {
  std::string name;
  std::string text;                          // the whole file
  std::map<std::string, std::string> files;  // of the version: from which file of kernels/testdata
  std::map<std::string, std::string> texts;  // of the model's folder, whole
  std::string serves, refuses, answers;
  std::vector<std::string> unused;
};

inline std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  MR_CHECK(file.good(), "a file of the corpus can be read");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline TritonCase ReadTritonCase(const std::filesystem::path& path) {
  TritonCase result;
  result.name = path.stem().string();
  result.text = ReadWhole(path.string());
  std::istringstream lines(result.text);
  for (std::string line; std::getline(lines, line);) {
    const auto take = [&](const char* key) {
      const std::string start = std::string("# ") + key + ": ";
      return line.rfind(start, 0) == 0 ? line.substr(start.size()) : std::string();
    };
    if (const std::string value = take("serves"); !value.empty()) result.serves = value;
    if (const std::string value = take("refuses"); !value.empty()) result.refuses = value;
    if (const std::string value = take("answers"); !value.empty()) result.answers = value;
    if (const std::string value = take("unused"); !value.empty()) result.unused.push_back(value);
    for (const char* key : {"file", "text"}) {
      std::string value = take(key);
      const size_t at = value.find(" = ");
      if (at == std::string::npos) continue;
      std::string rest = value.substr(at + 3);
      if (*key == 't') std::replace(rest.begin(), rest.end(), ',', '\n');
      (*key == 't' ? result.texts : result.files)[value.substr(0, at)] = rest;
    }
  }
  MR_CHECK(result.serves.empty() != result.refuses.empty(), "a case is served or refused");
  return result;
}

// All of them, by name.
inline std::vector<TritonCase> TritonCorpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator("services/registry/corpus_triton")) {
    if (entry.path().extension() == ".pbtxt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<TritonCase> cases;
  for (const auto& path : paths) cases.push_back(ReadTritonCase(path));
  return cases;
}

}  // namespace millrace
