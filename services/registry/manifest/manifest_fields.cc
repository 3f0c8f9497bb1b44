#include "services/registry/manifest/manifest_fields.h"

namespace millrace {
namespace {

using F = ManifestField;

constexpr bool kRequired = true, kOptional = false;

constexpr char kFree[] = R"(^[^\x00-\x1f\x7f]+$)";
constexpr char kPlain[] = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$";
constexpr char kTensor[] =
    R"(^[^\x00-\x20\x22\x27\x5c\x7f]([^\x00-\x1f\x22\x27\x5c\x7f]*[^\x00-\x20\x22\x27\x5c\x7f])?$)";
constexpr char kHex64[] = "^[0-9a-f]{64}$";
constexpr char kHex128[] = "^[0-9a-f]{128}$";
constexpr char kHash[] = "^(sha256:[0-9a-f]{64}|git:[0-9a-f]{40})$";
constexpr char kType[] =
    "^(BOOL|UINT8|UINT16|UINT32|UINT64|INT8|INT16|INT32|INT64|FP16|FP32|FP64|BYTES|BF16)$";
constexpr char kOutput[] = "^(prediction|margin|class|label|top_k|scores)$";
constexpr char kBasis[] =
    "^(none|consent|contract|legal_obligation|vital_interests|public_task|legitimate_interests)$";
constexpr char kUtc[] =
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$";

constexpr F Text(std::string_view name, bool required, int64_t max, std::string_view pattern,
                 std::string_view sentence) {
  return {name, FieldKind::kText, required, 1, max, pattern, sentence, {}};
}
constexpr F Integer(std::string_view name, bool required, int64_t min, int64_t max,
                    std::string_view sentence) {
  return {name, FieldKind::kInteger, required, min, max, {}, sentence, {}};
}
constexpr F One(FieldKind kind, std::string_view name, bool required, std::string_view sentence) {
  return {name, kind, required, 0, 0, {}, sentence, {}};
}
constexpr F List(std::string_view name, bool required, int64_t min, int64_t max,
                 absl::Span<const F> element, std::string_view sentence) {
  return {name, FieldKind::kList, required, min, max, {}, sentence, element};
}
constexpr F Map(std::string_view name, bool required, absl::Span<const F> fields,
                std::string_view sentence) {
  return {name, FieldKind::kMap, required, 0, 0, {}, sentence, fields};
}

constexpr int64_t kMostTensors = 16, kMostColumns = 1 << 16, kMostVersions = 999'999'999;

constexpr F kDimension[] = {Integer("", kRequired, -1, INT32_MAX, "A dimension.")};
constexpr F kARange[] = {One(FieldKind::kRange, "", kRequired, "Of one column.")};
constexpr F kSha256 = Text("sha256", kRequired, 64, kHex64, "Of the file's bytes.");
constexpr F kTensorName = Text("name", kRequired, 128, kTensor, "The tensor's.");
constexpr F kDatatype = Text("datatype", kRequired, 8, kType, "As the protocol names it.");
constexpr F kShape = List("shape", kRequired, 2, 2, kDimension,
                          "[-1, columns]: any number of rows. Of a golden tensor: [1, columns].");
constexpr F kRange = One(FieldKind::kRange, "range", kOptional,
                         "What every column's values lie within; null: open.");
constexpr F kRanges =
    List("ranges", kOptional, 1, kMostColumns, kARange, "In its place: one for each column.");

constexpr F kInputFields[] = {kTensorName, kDatatype, kShape, kRange, kRanges};
constexpr F kOutputFields[] = {
    kTensorName, kDatatype,
    kShape,      Text("kind", kRequired, 10, kOutput, "What it is made of (config.pbtxt)."),
    kRange,      kRanges};
constexpr F kInput[] = {Map("", kRequired, kInputFields, "A tensor that the model takes.")};
constexpr F kOutputs[] = {Map("", kRequired, kOutputFields, "A tensor that it makes.")};
constexpr F kSignatureFields[] = {
    List("inputs", kRequired, 1, kMostTensors, kInput, "All that it takes."),
    List("outputs", kRequired, 1, kMostTensors, kOutputs, "All that it makes, in order.")};

constexpr F kFileFields[] = {Text("name", kRequired, 128, kPlain, "A plain name in that folder."),
                             kSha256,
                             Integer("bytes", kOptional, 0, int64_t{1} << 40, "Its size.")};
constexpr F kFile[] = {Map("", kRequired, kFileFields, "A file.")};

constexpr F kElement[] = {One(FieldKind::kElement, "", kRequired, "An element.")};
constexpr F kGoldenTensorFields[] = {
    kTensorName, kDatatype, kShape,
    List("data", kRequired, 1, kMostColumns, kElement, "Its elements; null is a missing number.")};
constexpr F kGoldenTensor[] = {Map("", kRequired, kGoldenTensorFields, "A tensor of one row.")};
constexpr F kGoldenFields[] = {
    List("inputs", kRequired, 1, kMostColumns, kGoldenTensor,
         "The model's tensor, or the raw columns of its view."),
    List("outputs", kRequired, 1, kMostTensors, kGoldenTensor,
         "What must come back; not necessarily all outputs."),
    One(FieldKind::kNumber, "tolerance", kOptional,
        "Of floats, relative, from 0 and below 1; 0, as where it is left out: bit by bit.")};
constexpr F kGolden[] = {Map("", kRequired, kGoldenFields, "One row and its answer.")};

constexpr F kLineageFields[] = {
    Text("data", kRequired, 80, kHash, "Of the training data: sha256:HEX or git:HEX."),
    Text("code", kRequired, 80, kHash, "Of the training code: git:HEX or sha256:HEX."),
    Integer("parent", kOptional, 1, kMostVersions,
            "The version that this one was made from; left out: none.")};

constexpr F kTagFields[] = {
    Text("field", kRequired, 200, kTensor, "A raw column, or TENSOR[i]."),
    Text("purpose", kRequired, 200, kFree, "What it is processed for."),
    Text("legal_basis", kRequired, 24, kBasis, "none: it is no personal data."),
    Integer("retention_days", kRequired, 0, 36'500, "How long it may be kept; 0: not at all.")};
constexpr F kTag[] = {Map("", kRequired, kTagFields, "Of one field.")};

constexpr F kViewFields[] = {Text("name", kRequired, 128, kPlain, "As features.yaml says it."),
                             Text("sha256", kRequired, 64, kHex64, "Of features.yaml.")};

constexpr F kNumber[] = {One(FieldKind::kNumber, "", kRequired, "A number.")};
constexpr F kValue[] = {Text("", kRequired, 200, kFree, "A text that occurs.")};
constexpr F kBinsFields[] = {
    Text("field", kRequired, 200, kTensor, "A raw column, or TENSOR[i]."),
    List("edges", kOptional, 0, 255, kNumber,
         "Of a number, ascending: a bin holds what is at or above its edge and below the next."),
    List("values", kOptional, 1, 255, kValue, "Of a text: each is a bin, anything else the last."),
    List("shares", kRequired, 1, 256, kNumber,
         "Of the training data in each bin, one more than edges or values; together 1."),
    One(FieldKind::kNumber, "missing", kOptional, "Share of missing values, beside these.")};
constexpr F kBins[] = {Map("", kRequired, kBinsFields, "Of one field.")};

constexpr F kSignedFields[] = {
    Text("key", kRequired, 64, kHex64, "The public key."),
    Text("at", kRequired, 20, kUtc, "When it was signed."),
    Text("until", kOptional, 20, kUtc, "Past it the version is refused; left out: for ever."),
    Text("ed25519", kRequired, 128, kHex128,
         "Over \"millrace manifest signature 1\\n\" and every byte of the file before its last "
         "line, which is this one.")};

constexpr F kTop[] = {
    Integer("manifest", kRequired, 1, 1, "The number of this form."),
    Text("model", kRequired, 128, kPlain, "The model's folder."),
    Integer("version", kRequired, 1, kMostVersions, "The version's folder."),
    Text("owner", kRequired, 200, kFree, "Who answers for it."),
    Text("trained_at", kRequired, 20, kUtc, "YYYY-MM-DDThh:mm:ssZ."),
    Map("signature", kRequired, kSignatureFields, "Held against what the model's file says."),
    List("files", kRequired, 0, 64, kFile, "Of the version's folder; each that is read is here."),
    List("shared", kOptional, 0, 64, kFile,
         "Of the model's folder: labels; of an ensemble config.pbtxt, too."),
    List("golden", kOptional, 1, 64, kGolden,
         "Run on the compiled model before it may be loaded, and asked as long as it is served."),
    Map("lineage", kOptional, kLineageFields, "Where it comes from. Strict mode asks for it."),
    Text("policy", kOptional, 128, kFree,
         "Id of the compliance policy that it was released under. Strict mode asks for it."),
    List("data_protection", kOptional, 0, kMostColumns, kTag, "Of personal and other data."),
    Map("view", kOptional, kViewFields, "The feature view that it was trained with."),
    List("reference", kOptional, 0, kMostColumns, kBins,
         "How each input was distributed in training, to tell drift by."),
    Map("signed", kOptional, kSignedFields, "The last of the file (`millrace model sign`).")};

constexpr F kRoot =
    Map("", kRequired, kTop, "What one version of a model is: manifest.yaml beside its file.");

}  // namespace

const ManifestField& ManifestTable() { return kRoot; }

}  // namespace millrace
