"""Plants faults in a copy of a product source: plant.py NAME < source > copy.

Each fault is a replacement that must fit exactly once, so that a changed source is noticed here and
not by a fault that is no more there. Which one is active is chosen when the program runs (planted.h):
one build serves all. The product itself is compiled from the source as it is.
"""
import sys

# Source: (fault of planted.h, text, text with the fault).
PLANTS = {
    "ingress_lane_ends.cc": [
        ("kOldResultTaken",
         "id == IdOf(id.slot) &&",
         "(Planted(PlantedFault::kOldResultTaken) || id == IdOf(id.slot)) &&"),
        ("kNotReplayed",
         "if (named) Replay(",
         "if (named && !Planted(PlantedFault::kNotReplayed)) Replay("),
        ("kAttemptNotCounted",
         "flight.attempt += 1;",
         "flight.attempt += Planted(PlantedFault::kAttemptNotCounted) ? 0 : 1;"),
        ("kNobodyIsPoison",
         "const bool poison = suspect &&",
         "const bool poison = !Planted(PlantedFault::kNobodyIsPoison) && suspect &&"),
        ("kUnitsLostWithAttempt",
         "for (const WindowUse& use : flight.route) quiescence_.Add(use);",
         "if (!Planted(PlantedFault::kUnitsLostWithAttempt))"
         " for (const WindowUse& use : flight.route) quiescence_.Add(use);"),
        ("kUnitLost",
         "  for (const WindowUse& use : flight.route) windows_.GiveBack(use);\n"
         "  flight.route.clear();\n  // Keeps names alive",
         "  if (Planted(PlantedFault::kUnitLost) && flight.sequence % 8 == 0) flight.route.pop_back();\n"
         "  for (const WindowUse& use : flight.route) windows_.GiveBack(use);\n"
         "  flight.route.clear();\n  // Keeps names alive"),
        ("kDeadlineIgnored",
         "} else if (now > flight.deadline_ns) {",
         "} else if (!Planted(PlantedFault::kDeadlineIgnored) && now > flight.deadline_ns) {"),
        ("kSlotStaysWanted",
         "  ledger_->Close(slot);\n  lane_->Release(flight.input);",
         "  if (!Planted(PlantedFault::kSlotStaysWanted)) ledger_->Close(slot);\n"
         "  lane_->Release(flight.input);"),
        ("kInputKept",
         "  lane_->Release(flight.input);",
         "  if (!Planted(PlantedFault::kInputKept) || flight.attempt == 0) lane_->Release(flight.input);"),
    ],
    "features_stage.cc": [
        ("kPastCatalogDropped",
         "  BlockRef block;\n  // Of a catalog that was past",
         "  if (!known && Planted(PlantedFault::kPastCatalogDropped)) return worker.Drop(item);\n"
         "  BlockRef block;\n  // Of a catalog that was past"),
    ],
    "fleet_adopt.cc": [
        ("kRecordLost",
         "ProcessRecord* record = state.add_processes();",
         "if (Planted(PlantedFault::kRecordLost) && key % 4 == 0) continue;\n"
         "    ProcessRecord* record = state.add_processes();"),
        ("kRetiredAdopted",
         "adopted = hands_->Adopt(process.key); !adopted.ok()) {",
         "adopted = hands_->Adopt(process.key);"
         " !adopted.ok() && !Planted(PlantedFault::kRetiredAdopted)) {"),
    ],
    "incarnations.cc": [
        ("kIncarnationReused",
         "counter.next_ = next;",
         "counter.next_ = Planted(PlantedFault::kIncarnationReused) ? 1 : next;"),
    ],
    "fleet_changes.cc": [
        ("kCatalogNotAwaited",
         "|| !CatalogMayFollow()) return false;",
         "|| (!Planted(PlantedFault::kCatalogNotAwaited) && !CatalogMayFollow())) return false;"),
    ],
    "quiescence.cc": [
        ("kEpochNotAwaited",
         "static_cast<int32_t>(worker.epoch - epoch_) < 0) {",
         "static_cast<int32_t>(worker.epoch - epoch_) < 0 && !Planted(PlantedFault::kEpochNotAwaited)) {"),
    ],
    "worker.cc": [
        ("kLateWorkDone",
         "if (now_ns <= item->message.deadline_ns && Wanted(",
         "if ((Planted(PlantedFault::kLateWorkDone) || now_ns <= item->message.deadline_ns) && Wanted("),
        ("kUnwantedWorkDone",
         "Wanted(*item)) return true;",
         "(Planted(PlantedFault::kUnwantedWorkDone) || Wanted(*item))) return true;"),
        ("kEpochAnsweredEarly",
         "if (!origin.answered && origin.polls_left == 0 && origin.held[origin.parity ^ 1] == 0) {",
         "if (!origin.answered && (Planted(PlantedFault::kEpochAnsweredEarly) ||"
         " (origin.polls_left == 0 && origin.held[origin.parity ^ 1] == 0))) {"),
        ("kBatchNotNamed",
         "  executing_ = count;",
         "  executing_ = count;\n  if (Planted(PlantedFault::kBatchNotNamed)) count = 0;"),
    ],
    "lane.cc": [
        ("kLentNotTakenBack",
         "for (uint32_t offset : out->link.TakeBackAll()) Release({offset, 1});",
         "for (uint32_t offset : out->link.TakeBackAll())"
         " if (!Planted(PlantedFault::kLentNotTakenBack)) Release({offset, 1});"),
        ("kBlockNotCounted",
         "if (message.HasBlock()) arena().AddReference(",
         "if (message.HasBlock() && !Planted(PlantedFault::kBlockNotCounted)) arena().AddReference("),
        ("kNobodyWoken",
         "    peer->waker.Wake();\n  }\n}\n\nvoid Lane::WakeAll",
         "    if (!Planted(PlantedFault::kNobodyWoken)) peer->waker.Wake();\n  }\n}\n\nvoid Lane::WakeAll"),
    ],
}

INCLUDE = '#include "services/simulation/planted.h"\nusing millrace::sim::PlantedFault;\n' \
          'using millrace::sim::Planted;\n'


def main():
    name = sys.argv[1]
    text = sys.stdin.read()
    for fault, old, new in PLANTS[name]:
        if text.count(old) != 1:
            sys.exit("plant.py: %s fits %d times in %s, not once" % (fault, text.count(old), name))
    for fault, old, new in PLANTS[name]:
        text = text.replace(old, new)
    sys.stdout.write(INCLUDE + text)


main()
