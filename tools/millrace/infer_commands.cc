#include <algorithm>
#include <iostream>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/load/client.h"
#include "tools/load/element.h"
#include "tools/load/golden.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/comparison.h"
#include "tools/millrace/rows.h"

namespace millrace {
namespace {

constexpr char kDefaultGrpc[] = "127.0.0.1:8001";

struct InferOptions {
  std::string model, version, rows_file, expect_file;
  std::string grpc, http;
  std::vector<std::string> outputs;
  size_t rows_per_request = 256;
  size_t show = 0;
  double timeout_s = 10;
  Identity identity;

  int64_t timeout_ms() const { return static_cast<int64_t>(timeout_s * 1000); }
  std::string Where() const {
    if (!http.empty()) return "HTTP " + http;
    return "gRPC " + (grpc.empty() ? kDefaultGrpc : grpc);
  }
};

std::unique_ptr<Client> Connect(const InferOptions& options) {
  if (!options.http.empty()) {
    return MakeHttpClient(options.http, options.timeout_ms(), options.identity);
  }
  return MakeGrpcClient(options.grpc.empty() ? kDefaultGrpc : options.grpc, options.timeout_ms(),
                        options.identity);
}

// The requests for the file's rows, of the version and the outputs that are asked for.
absl::StatusOr<GoldenSet> MakeRequests(const InferOptions& options, const Csv* expect,
                                       Client* client) {
  const absl::StatusOr<Csv> rows = ReadRows(options.rows_file);
  if (!rows.ok()) return rows.status();
  const auto metadata = client->Metadata(options.model, options.version);
  if (!metadata.ok()) return metadata.status();
  absl::StatusOr<GoldenSet> set = MakeGolden(*metadata, *rows, expect, options.rows_per_request);
  if (!set.ok()) return set;
  for (GoldenRequest& golden : set->requests) {
    golden.request.set_model_version(options.version);
    for (const std::string& name : options.outputs) golden.request.add_outputs()->set_name(name);
  }
  return set;
}

// One output of one answer: the text of each element.
struct Column {
  std::string name;
  size_t width = 1;  // elements a row
  std::vector<std::string> elements;
};

absl::StatusOr<std::vector<Column>> ReadAnswer(const inference::ModelInferResponse& response) {
  std::vector<Column> columns;
  for (int o = 0; o < response.outputs_size(); ++o) {
    const auto& output = response.outputs(o);
    Column column;
    column.name = output.name();
    for (int d = 1; d < output.shape_size(); ++d) column.width *= output.shape(d);
    std::string_view raw = response.raw_output_contents(o);
    while (!raw.empty()) {
      absl::StatusOr<std::string> text = TakeElement(output.datatype(), &raw);
      if (!text.ok()) return text.status();
      column.elements.push_back(CsvCell(*text));
    }
    const bool fits = output.shape_size() > 0 &&
                      column.elements.size() == output.shape(0) * column.width &&
                      output.shape(0) == response.outputs(0).shape(0);
    if (!fits) return absl::InternalError("output " + column.name + " does not fit its shape");
    columns.push_back(std::move(column));
  }
  return columns;
}

void PrintHeader(const std::vector<Column>& columns) {
  std::vector<std::string> header;
  for (const Column& column : columns) {
    for (size_t i = 0; i < column.width; ++i) {
      header.push_back(
          CsvCell(column.width == 1 ? column.name : absl::StrCat(column.name, "[", i, "]")));
    }
  }
  std::cout << absl::StrJoin(header, ",") << "\n";
}

void PrintRows(const std::vector<Column>& columns, size_t rows) {
  for (size_t r = 0; r < rows; ++r) {
    std::vector<std::string> cells;
    for (const Column& column : columns) {
      const auto begin = column.elements.begin() + r * column.width;
      cells.insert(cells.end(), begin, begin + column.width);
    }
    std::cout << absl::StrJoin(cells, ",") << "\n";
  }
}

int Infer(const InferOptions& options) {
  if (const absl::Status status = CheckIdentity(options.identity); !status.ok()) {
    return Fail(status);
  }
  const std::unique_ptr<Client> client = Connect(options);
  const absl::StatusOr<GoldenSet> set = MakeRequests(options, nullptr, client.get());
  if (!set.ok()) return Fail(set.status());
  bool first = true;
  for (const GoldenRequest& golden : set->requests) {
    const auto response = client->Infer(golden.request);
    if (!response.ok()) return Fail(response.status());
    const absl::StatusOr<std::vector<Column>> columns = ReadAnswer(*response);
    if (!columns.ok()) return Fail(columns.status());
    if (first) PrintHeader(*columns);
    first = false;
    PrintRows(*columns, golden.request.inputs(0).shape(0));
  }
  return kExitGood;
}

void PrintShown(const Comparison& comparison) {
  if (comparison.shown().empty()) return;
  std::cout << absl::StreamFormat("  %-4s %-16s %-24s %s\n", "row", "output", "Millrace", "golden");
  for (const Comparison::Value& value : comparison.shown()) {
    std::cout << absl::StreamFormat("  %-4d %-16s %-24s %-24s %s\n", value.row + 1, value.column,
                                    value.answered, value.expected, value.equal ? "=" : "DIFFERS");
  }
}

int Verify(const InferOptions& options) {
  if (const absl::Status status = CheckIdentity(options.identity); !status.ok()) {
    return Fail(status);
  }
  const absl::StatusOr<Csv> expect = ReadCsv(options.expect_file);
  if (!expect.ok()) return Fail(expect.status());
  const std::unique_ptr<Client> client = Connect(options);
  const absl::StatusOr<GoldenSet> set = MakeRequests(options, &*expect, client.get());
  if (!set.ok()) return Fail(set.status());
  constexpr size_t kShownDifferences = 10;
  Comparison comparison(options.show, kShownDifferences);
  size_t row = 0;
  for (const GoldenRequest& golden : set->requests) {
    const auto response = client->Infer(golden.request);
    if (!response.ok()) return Fail(response.status());
    comparison.Add(*set, golden, *response, row);
    row += golden.request.inputs(0).shape(0);
  }
  PrintShown(comparison);
  std::cout << absl::StreamFormat("%s over %s: %d rows, %d of %d values bit-equal\n", options.model,
                                  options.Where(), row, comparison.equal(), comparison.values());
  for (const Comparison::Value& value : comparison.differences()) {
    std::cout << absl::StreamFormat("  row %d, column %s: %s, expected %s\n", value.row + 1,
                                    value.column, value.answered, value.expected);
  }
  const int64_t differ = comparison.values() - comparison.equal();
  const int64_t untold = differ - static_cast<int64_t>(comparison.differences().size());
  if (untold > 0) std::cout << absl::StreamFormat("  and %d more\n", untold);
  return differ == 0 && comparison.values() > 0 ? kExitGood : kExitNo;
}

CLI::App* AddRequestCommand(CLI::App* app, const char* name, const char* help,
                            InferOptions* options) {
  CLI::App* command = app->add_subcommand(name, help);
  command->add_option("model", options->model)->required();
  command
      ->add_option("--rows", options->rows_file,
                   "CSV, or JSON (.json): the columns of the model's tensor, or its named raw "
                   "columns; an empty cell is a missing value")
      ->required();
  auto* grpc = command->add_option("--grpc", options->grpc,
                                   "Server, host:port or unix:/path [127.0.0.1:8001]");
  command->add_option("--http", options->http, "Server's HTTP address, to ask in JSON")
      ->excludes(grpc);
  AddIdentityFlags(command, &options->identity);
  command->add_option("--version", options->version, "Of the model; else the latest");
  command->add_option("--rows-per-request", options->rows_per_request)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--timeout", options->timeout_s, "Seconds for each request")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  return command;
}

}  // namespace

void AddInfer(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<InferOptions>();
  CLI::App* infer = AddRequestCommand(
      app, "infer", "Ask a model about the rows of a file; prints CSV", options.get());
  infer->add_option("--output", options->outputs, "Only these outputs");
  infer->callback([=] { *exit_code = Infer(*options); });
}

void AddVerify(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<InferOptions>();
  CLI::App* verify = AddRequestCommand(
      app, "verify", "Compare a model's answers with expected ones, bit by bit", options.get());
  verify->add_option("--expect", options->expect_file, "CSV of the outputs, a row for each row")
      ->required();
  verify->add_option("--show", options->show, "Show the values of so many rows side by side");
  verify->callback([=] { *exit_code = Verify(*options); });
}

}  // namespace millrace
