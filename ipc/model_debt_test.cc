#include "ipc/model_debt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kNow = 1'795'000'000, kDay = 86'400;

class ModelDebt : public ::testing::Test {
 protected:
  // A version that owes nothing.
  Model* Add(const std::string& name, int64_t age_days = 10) {
    Model* model = catalog_.add_models();
    model->set_name(name);
    model->set_version("3");
    model->add_inputs()->add_dims(20);
    Provenance* provenance = model->mutable_provenance();
    provenance->set_owner("Risk");
    provenance->set_signed_by("key");
    provenance->set_fields(20);
    provenance->set_tagged_fields(20);
    ModelWeights* weights = catalog_.add_weights();
    weights->set_model(name);
    weights->set_version("3");
    weights->set_made_s(kNow - age_days * kDay);
    weights->set_pinned(true);
    return model;
  }
  ModelWeights* WeightsOf(int i) { return catalog_.mutable_weights(i); }
  std::vector<std::string> Owed() {
    std::vector<std::string> owed;
    for (const DebtItem& item : DebtOf(catalog_, limits_, behind_, kNow)) {
      owed.push_back(item.model + " " + std::string(DebtKindName(item.kind)) + ": " +
                     item.sentence);
      EXPECT_EQ(item.version, "3");
    }
    return owed;
  }

  Catalog catalog_;
  DebtLimits limits_;
  Behind behind_ = {2, 0};
};

TEST_F(ModelDebt, NothingIsOwed) {
  Add("a");
  Add("b", 180);
  EXPECT_THAT(Owed(), IsEmpty());
}

TEST_F(ModelDebt, WeightsOverTheLimitAreReadOnly) {
  Model* const old = Add("old", 181);
  WeightsOf(0)->set_made_s(WeightsOf(0)->made_s() + 1);
  EXPECT_EQ(WeightsAgeDays(catalog_, *old, kNow), 180);
  EXPECT_FALSE(IsReadOnly(catalog_, *old, limits_, kNow));
  EXPECT_TRUE(IsReadOnly(catalog_, *old, limits_, kNow + 1));
  WeightsOf(0)->set_made_s(kNow - 200 * kDay);
  EXPECT_THAT(Owed(), ElementsAre("old old_weights: its weights are 200 days old, more than 180: "
                                  "it is read-only"));
  WeightsOf(0)->set_of_file(true);
  EXPECT_THAT(Owed(), ElementsAre("old old_weights: its weights are 200 days old by the time of "
                                  "their file, more than 180: it is read-only"));
  limits_.max_age_days = 0;
  EXPECT_THAT(Owed(), IsEmpty());
}

// An ensemble has no weights; a clock that was wrong makes nothing old.
TEST_F(ModelDebt, WhatHasNoAgeIsNotOld) {
  Model* const ensemble = Add("e");
  WeightsOf(0)->set_made_s(0);
  EXPECT_EQ(WeightsAgeDays(catalog_, *ensemble, kNow), -1);
  Add("future", -30);
  EXPECT_THAT(Owed(), IsEmpty());
  catalog_.clear_weights();  // an older registry's catalog
  EXPECT_THAT(Owed(), IsEmpty());
}

TEST_F(ModelDebt, InputsWithoutTags) {
  Model* const model = Add("m");
  model->mutable_provenance()->set_tagged_fields(17);  // 3 of 20: 15 %
  EXPECT_THAT(Owed(), IsEmpty());
  model->mutable_provenance()->set_tagged_fields(16);
  EXPECT_THAT(Owed(), ElementsAre("m untagged: 4 of 20 inputs have no data-protection tag, more "
                                  "than 15 %"));
  limits_.max_untagged_percent = 100;
  model->mutable_provenance()->set_tagged_fields(0);
  EXPECT_THAT(Owed(), IsEmpty());
}

TEST_F(ModelDebt, NobodysSignatureAndNoPin) {
  Add("m")->mutable_provenance()->clear_signed_by();
  WeightsOf(0)->set_pinned(false);
  EXPECT_THAT(Owed(),
              ElementsAre("m unsigned: its manifest is not signed by a key that is trusted",
                          "m unpinned: its version_policy names no version: the next one takes "
                          "its place"));
  catalog_.mutable_models(0)->clear_provenance();
  EXPECT_THAT(Owed(), ElementsAre("m untagged: 20 of 20 inputs have no data-protection tag, more "
                                  "than 15 %",
                                  "m unsigned: it has no manifest",
                                  "m unpinned: no manifest says what its files' hashes are"));
}

TEST_F(ModelDebt, OneWorkerOrOneDevice) {
  Add("m");
  behind_ = {1, 1};
  EXPECT_THAT(Owed(), ElementsAre("m one_worker: one execution worker is behind it",
                                  "m one_device: one device is behind it"));
  behind_ = {2, 2};
  EXPECT_THAT(Owed(), IsEmpty());
}

// Since it was made, or since it became too old; of workers nobody knows.
TEST_F(ModelDebt, SaysSinceWhen) {
  Model* const model = Add("m", 200);
  model->mutable_provenance()->clear_signed_by();
  model->mutable_provenance()->set_tagged_fields(0);
  WeightsOf(0)->set_pinned(false);
  behind_ = {1, 1};
  std::map<DebtKind, int64_t> days;
  for (const DebtItem& item : DebtOf(catalog_, limits_, behind_, kNow)) {
    days[item.kind] = item.since_s == 0 ? -1 : (kNow - item.since_s) / kDay;
  }
  const std::map<DebtKind, int64_t> expected = {
      {DebtKind::kOldWeights, 19}, {DebtKind::kUntagged, 200}, {DebtKind::kUnsigned, 200},
      {DebtKind::kUnpinned, 200},  {DebtKind::kOneWorker, -1}, {DebtKind::kOneDevice, -1}};
  EXPECT_EQ(days, expected);
  catalog_.clear_weights();
  for (const DebtItem& item : DebtOf(catalog_, limits_, behind_, kNow)) {
    EXPECT_EQ(item.since_s, 0) << DebtKindName(item.kind);
  }
}

}  // namespace
}  // namespace millrace
