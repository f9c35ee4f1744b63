#include "data/sample_corpus.h"

#include <array>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "math.h"

namespace gf {
namespace {

// Random choices, one after the other. C++ leaves open which operand or argument comes first, so an
// expression draws once; only braces keep their order.
class Draw {
 public:
  Draw(uint64_t seed, uint64_t corpus) : seed_(seed), corpus_(corpus) {}

  // Uniform in [0, n).
  size_t below(size_t n) {
    if (drawn_ % 4 == 0) bits_ = random_bits(seed_, corpus_, kStreamSample, drawn_ / 4);
    return static_cast<size_t>(uint64_t{bits_.v[drawn_++ % 4]} * n >> 32);
  }

 private:
  uint64_t seed_;
  uint64_t corpus_;
  uint64_t drawn_ = 0;
  Bits4 bits_;
};

enum Corpus : uint64_t { kText, kPairs };

// ---- Text ------------------------------------------------------------------------------------

struct Rule {
  std::string_view name;
  std::string_view alternatives;  // separated by |
};

// <rule> stands for one of the rule's alternatives. <@rule> is drawn once in a paragraph and the
// same wherever it returns. <rule:@choice> is the rule named "rule:" and that choice. <^rule>
// begins with a capital.
constexpr Rule kRules[] = {
    {"paragraph", "<opening> <story> <closing>"},
    {"opening",
     "<@hero> is a <trade:@topic> in <@place>, where <he:@gender> keeps a <@treasure>.|"
     "In <@place> lives a <trade:@topic> called <@hero>, who owns a <@treasure> and <@count> "
     "<@stock>s.|"
     "The <@treasure> in this story belongs to <@hero>, the <trade:@topic> of <@place>."},
    {"story", "<sentence> <sentence>|<sentence> <story>|<sentence> <story>"},
    {"closing",
     "So the <@treasure> stays in <@place>, and <@hero> keeps the <@count> <@stock>s.|"
     "At last <@hero> sells the <@count> <@stock>s, but never the <@treasure>.|"
     "That is why <@hero> of <@place> still talks about the <@treasure>."},

    {"sentence",
     "<^clause>.|<^clause>, and <clause>.|If <clause>, <clause>.|<^clause> because <clause>.|"
     "<^clause> (<aside>).|<^clause>, but <clause> (<aside>).|"
     "\"<^clause>,\" says <speaker>.|<^speaker> asks, \"Why do <many> <verb:@topic>?\"|"
     "\"<^clause>,\" says <@hero>, \"and <clause>.\"|"
     "<^he:@gender> <deed>.|<@hero> <deed>, and <speaker> <deed>.|"
     "<^he:@gender> buys <list:@count> for <his:@gender> <noun:@topic>.|"
     "Nobody in <@place> <deed> when <clause>.|"
     "Neither <one> nor <one> <verb:@topic>s <where>.|Both <one> and <one> <verb:@topic> <where>."},
    {"clause",
     "<one> <verb:@topic>s <where>|<many> <verb:@topic> <where>|"
     "<one> is <state>|<many> are <state>|<he:@gender> <deed>"},
    {"one",
     "the <noun:@topic>|the <adjective> <noun:@topic>|a <adjective> <noun:@topic>|"
     "an <open-adjective> <noun:@topic>|every <noun:@topic>|this <noun:@topic>|"
     "the <noun:@topic> beside the <noun:@topic>s|the <noun:@topic> that <speaker> likes"},
    {"many",
     "the <noun:@topic>s|the <adjective> <noun:@topic>s|these <noun:@topic>s|"
     "all <open-adjective> <noun:@topic>s|<number> <noun:@topic>s|the <@count> <@stock>s|"
     "the <noun:@topic>s behind the <noun:@topic>|the <noun:@topic>s that <speaker> likes"},
    {"aside",
     "so <speaker> says|<many> are <state>|<one> is <state>|as <@hero> knows|"
     "not the <@treasure>, of course"},
    {"deed",
     "looks for the <@treasure>|walks to <@place>|counts the <noun:@topic>s|"
     "carries <one> home|asks for <one>|dreams of <many>|"
     "hides the <@treasure> under <one>"},
    {"list:two", "two things, a <object> and a <object>,"},
    {"list:three", "three things, a <object>, a <object> and a <object>,"},
    {"list:four", "four things, a <object>, a <object>, a <object> and a <object>,"},
    {"list:five", "five things, a <object>, a <object>, a <object>, a <object> and a <object>,"},
    {"count", "two|three|four|five"},
    {"number", "two|three|six|seven|ten|twelve|twenty"},

    {"gender", "man|woman"},
    {"hero", "<name:@gender>"},
    {"name:man", "Albin|Benno|Conrad|Edric|Jonas|Lorenz|Martin|Oswin|Tobias|Ulrich"},
    {"name:woman", "Alma|Berta|Clara|Greta|Helga|Ilse|Nora|Petra|Selma|Ursula"},
    {"he:man", "he"},
    {"he:woman", "she"},
    {"his:man", "his"},
    {"his:woman", "her"},
    {"speaker", "the judge|the widow|the teacher|the old doctor|the <trade:@topic>'s friend"},
    {"place",
     "Arnfeld|Brookend|Dunmoor|Elmsted|Farholt|Gransby|Harwick|Kelwater|Lindow|Mirefield|Nordby|"
     "Oldminster|Penholm|Ravensey|Sarnow|Thornby"},
    {"treasure", "<colour> <object>"},
    {"stock", "<noun:@topic>"},
    {"object", "ring|kettle|coat|drum|lamp|clock|mirror|basket|flute|knife|blanket|candle"},
    {"colour", "red|blue|green|white|black|silver|golden|yellow|brown|purple"},
    {"adjective", "small|large|quiet|strange|heavy|bright|broken|young|clever|tired|lonely|tall"},
    {"open-adjective", "old|empty|ugly|early|angry|honest|easy|idle"},
    {"state", "late|ready|safe|lost|famous|very <adjective>|never <adjective>|almost forgotten"},
    {"where",
     "in <@place>|near the <noun:@topic>s|behind <one>|all day long|at night|before the rain|"
     "without a sound|as well as <many>"},

    {"topic", "sea|farm|forest|market|school"},
    {"trade:sea", "sailor|fisher|pilot|diver"},
    {"noun:sea", "boat|net|sail|anchor|harbour|gull|wave|captain|rope|island"},
    {"verb:sea", "drift|float|sink|roll|swim"},
    {"trade:farm", "farmer|shepherd|milkmaid|gardener"},
    {"noun:farm", "cow|barn|field|plough|hen|goat|fence|meadow|seed|cart"},
    {"verb:farm", "grow|graze|ripen|rest|feed"},
    {"trade:forest", "hunter|woodcutter|ranger|trapper"},
    {"noun:forest", "tree|owl|path|bear|root|cabin|stag|stream|fern|moth"},
    {"verb:forest", "hide|listen|wander|sleep|wait"},
    {"trade:market", "merchant|baker|tailor|cobbler"},
    {"noun:market", "stall|coin|tin|buyer|barrel|ledger|spice|cheese|crowd|price"},
    {"verb:market", "trade|gather|bargain|arrive|shout"},
    {"trade:school", "porter|scholar|librarian|clerk"},
    {"noun:school", "book|pupil|lesson|map|letter|desk|poem|riddle|pencil|song"},
    {"verb:school", "begin|end|explain|repeat|improve"},
};

// Expands the rules, left to right.
class Storyteller {
 public:
  explicit Storyteller(uint64_t seed) : draw_(seed, kText) {
    for (const Rule& rule : kRules) {
      std::vector<std::string_view>& alternatives = rules_[rule.name];
      for (std::string_view rest = rule.alternatives;;) {
        const size_t bar = rest.find('|');
        alternatives.push_back(rest.substr(0, bar));
        if (bar == std::string_view::npos) break;
        rest.remove_prefix(bar + 1);
      }
    }
  }

  std::string paragraph() {
    remembered_.clear();
    return expand("<paragraph>");
  }

 private:
  std::string expand(std::string_view pattern) {
    std::string text;
    for (;;) {
      const size_t open = pattern.find('<');
      text += pattern.substr(0, open);
      if (open == std::string_view::npos) return text;
      const size_t close = pattern.find('>', open);
      text += word(pattern.substr(open + 1, close - open - 1));
      pattern.remove_prefix(close + 1);
    }
  }

  // What stands between < and >.
  std::string word(std::string_view name) {
    if (name.starts_with('^')) {
      std::string text = word(name.substr(1));
      if (text[0] >= 'a' && text[0] <= 'z') text[0] += 'A' - 'a';
      return text;
    }
    if (name.starts_with('@')) return remembered(name.substr(1));
    const size_t at = name.find('@');
    if (at == std::string_view::npos) return chosen(name);
    return chosen(std::string(name.substr(0, at)) + remembered(name.substr(at + 1)));
  }

  std::string chosen(std::string_view rule) {
    const std::vector<std::string_view>& alternatives = rules_.at(rule);
    return expand(alternatives[draw_.below(alternatives.size())]);
  }

  const std::string& remembered(std::string_view rule) {
    const auto known = remembered_.find(rule);
    if (known != remembered_.end()) return known->second;
    return remembered_[rule] = chosen(rule);
  }

  Draw draw_;
  std::map<std::string_view, std::vector<std::string_view>> rules_;
  std::map<std::string_view, std::string> remembered_;  // of this paragraph
};

// ---- Pairs -----------------------------------------------------------------------------------

// What a sentence may tell of a scene. One value of four holds; the two of a kind have a name of
// their own, which a hypothesis may use instead.
struct Aspect {
  struct Kind {
    std::string_view name;
    std::string_view values[2];
  };
  Kind kinds[2];
  std::string_view untold;
};

constexpr size_t kAspects = 6;
constexpr Aspect kScene[kAspects] = {
    // in the order of a sentence
    {{{"An adult", {"A man", "A woman"}}, {"A child", {"A boy", "A girl"}}}, "Somebody"},
    {{{" in a dark coat", {" in a black coat", " in a brown coat"}},
      {" in a bright coat", {" in a yellow coat", " in a pink coat"}}},
     ""},
    {{{" is making music", {" is playing a flute", " is beating a drum"}},
      {" is reading", {" is reading a letter", " is reading a newspaper"}}},
     " is seen"},
    {{{" indoors", {" in a kitchen", " in a library"}},
      {" outdoors", {" in a meadow", " on a beach"}}},
     ""},
    {{{" at the weekend", {" on a Saturday", " on a Sunday"}},
      {" during the week", {" on a Monday", " on a Thursday"}}},
     ""},
    {{{" in spring", {" in April", " in May"}}, {" in autumn", {" in October", " in November"}}},
     ""},
};

struct Telling {
  bool told = false;
  bool by_kind = false;
  size_t value = 0;  // value % 2 of kind value / 2
};
using Tellings = std::array<Telling, kAspects>;

std::string sentence(const Tellings& tellings) {
  std::string text;
  for (size_t i = 0; i < kAspects; ++i) {
    const Telling& t = tellings[i];
    const Aspect::Kind& kind = kScene[i].kinds[t.value / 2];
    text += !t.told ? kScene[i].untold : t.by_kind ? kind.name : kind.values[t.value % 2];
  }
  return text + ".";
}

enum Label { kEntailment, kNeutral, kContradiction, kLabels };
constexpr const char* kLabelNames[kLabels] = {"entailment", "neutral", "contradiction"};

// A premise tells four aspects of a scene, its hypothesis two; all choices are uniform. Of those
// two, one follows from the premise, and so does the other where the label is entailment; else the
// premise is silent on it (neutral) or tells another value (contradiction). Each sentence's own
// distribution is thereby the same under all labels: no word and no length gives one away.
std::string pair_line(Draw& draw, Label label) {
  constexpr size_t kPremise = 4;
  std::array<size_t, kAspects> order;
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = kAspects - 1; i > 0; --i) std::swap(order[i], order[draw.below(i + 1)]);

  Tellings premise, hypothesis;
  for (size_t i = 0; i < kPremise; ++i) premise[order[i]] = {true, false, draw.below(4)};
  for (const size_t aspect : {order[0], order[1]}) {
    hypothesis[aspect] = {true, draw.below(2) == 1, premise[aspect].value};
  }
  if (label == kNeutral) {
    hypothesis[order[1]] = {};
    hypothesis[order[kPremise]] = {true, draw.below(2) == 1, draw.below(4)};
  } else if (label == kContradiction) {
    Telling& wrong = hypothesis[order[1]];
    wrong.value ^= wrong.by_kind ? 2 : 1 + draw.below(3);
  }
  return format("{\"gold_label\": \"%s\", \"sentence1\": \"%s\", \"sentence2\": \"%s\"}\n",
                kLabelNames[label], sentence(premise).c_str(), sentence(hypothesis).c_str());
}

}  // namespace

std::string sample_text(uint64_t seed, size_t bytes) {
  Storyteller storyteller(seed);
  std::string text;
  while (text.size() < bytes) text += storyteller.paragraph() + "\n\n";
  text.resize(bytes);
  return text;
}

std::string sample_pairs(uint64_t seed, int64_t pairs) {
  if (pairs < 0) {
    throw_error(GF_ERROR_INVALID_ARGUMENT, "%lld sample pairs: expected 0 or more",
                static_cast<long long>(pairs));
  }
  const uint64_t count = static_cast<uint64_t>(pairs);
  Draw draw(seed, kPairs);
  std::string lines;
  for (uint64_t i = 0; i < count; ++i) {
    lines += pair_line(draw, static_cast<Label>(permuted(seed, kPairs, i, count) % kLabels));
  }
  return lines;
}

}  // namespace gf
