// Written by tests/text/make_unicode_exceptions.py: where the published
// tokenizers class a code point otherwise than some Unicode version from 14 to
// 17, any of which utf8proc may have.
#pragma once

#include <cstdint>

#include "text/unicode.h"

namespace gf {

enum class Gpt2Class : uint8_t { kByCategory, kSymbol, kLetter, kNumber };
enum class BertClass : uint8_t { kByCategory, kPlain, kControl, kNonspacing, kPunctuation };

// GPT-2, both in Hugging Face tokenizers 0.23 and tiktoken 0.14: Unicode 16.
inline constexpr CodePointRange<Gpt2Class> kGpt2Exceptions[] = {
    {0x88F, 0x88F, Gpt2Class::kSymbol},     {0xC5C, 0xC5C, Gpt2Class::kSymbol},
    {0xCDC, 0xCDC, Gpt2Class::kSymbol},     {0x1C89, 0x1C8A, Gpt2Class::kLetter},
    {0xA7CB, 0xA7CD, Gpt2Class::kLetter},   {0xA7CE, 0xA7CF, Gpt2Class::kSymbol},
    {0xA7D2, 0xA7D2, Gpt2Class::kSymbol},   {0xA7D4, 0xA7D4, Gpt2Class::kSymbol},
    {0xA7DA, 0xA7DC, Gpt2Class::kLetter},   {0xA7F1, 0xA7F1, Gpt2Class::kSymbol},
    {0x105C0, 0x105F3, Gpt2Class::kLetter}, {0x10940, 0x10959, Gpt2Class::kSymbol},
    {0x10D40, 0x10D49, Gpt2Class::kNumber}, {0x10D4A, 0x10D65, Gpt2Class::kLetter},
    {0x10D6F, 0x10D85, Gpt2Class::kLetter}, {0x10EC2, 0x10EC4, Gpt2Class::kLetter},
    {0x10EC5, 0x10EC7, Gpt2Class::kSymbol}, {0x1123F, 0x11240, Gpt2Class::kLetter},
    {0x11380, 0x11389, Gpt2Class::kLetter}, {0x1138B, 0x1138B, Gpt2Class::kLetter},
    {0x1138E, 0x1138E, Gpt2Class::kLetter}, {0x11390, 0x113B5, Gpt2Class::kLetter},
    {0x113B7, 0x113B7, Gpt2Class::kLetter}, {0x113D1, 0x113D1, Gpt2Class::kLetter},
    {0x113D3, 0x113D3, Gpt2Class::kLetter}, {0x116D0, 0x116E3, Gpt2Class::kNumber},
    {0x11BC0, 0x11BE0, Gpt2Class::kLetter}, {0x11BF0, 0x11BF9, Gpt2Class::kNumber},
    {0x11DB0, 0x11DDB, Gpt2Class::kSymbol}, {0x11DE0, 0x11DE9, Gpt2Class::kSymbol},
    {0x11F02, 0x11F02, Gpt2Class::kLetter}, {0x11F04, 0x11F10, Gpt2Class::kLetter},
    {0x11F12, 0x11F33, Gpt2Class::kLetter}, {0x11F50, 0x11F59, Gpt2Class::kNumber},
    {0x1342F, 0x1342F, Gpt2Class::kLetter}, {0x13441, 0x13446, Gpt2Class::kLetter},
    {0x13460, 0x143FA, Gpt2Class::kLetter}, {0x16100, 0x1611D, Gpt2Class::kLetter},
    {0x16130, 0x16139, Gpt2Class::kNumber}, {0x16D40, 0x16D6C, Gpt2Class::kLetter},
    {0x16D70, 0x16D79, Gpt2Class::kNumber}, {0x16EA0, 0x16EB8, Gpt2Class::kSymbol},
    {0x16EBB, 0x16ED3, Gpt2Class::kSymbol}, {0x16FF2, 0x16FF6, Gpt2Class::kSymbol},
    {0x187F8, 0x187FF, Gpt2Class::kSymbol}, {0x18CFF, 0x18CFF, Gpt2Class::kLetter},
    {0x18D09, 0x18D1E, Gpt2Class::kSymbol}, {0x18D80, 0x18DF2, Gpt2Class::kSymbol},
    {0x1B132, 0x1B132, Gpt2Class::kLetter}, {0x1B155, 0x1B155, Gpt2Class::kLetter},
    {0x1CCF0, 0x1CCF9, Gpt2Class::kNumber}, {0x1D2C0, 0x1D2D3, Gpt2Class::kNumber},
    {0x1DF25, 0x1DF2A, Gpt2Class::kLetter}, {0x1E030, 0x1E06D, Gpt2Class::kLetter},
    {0x1E4D0, 0x1E4EB, Gpt2Class::kLetter}, {0x1E4F0, 0x1E4F9, Gpt2Class::kNumber},
    {0x1E5D0, 0x1E5ED, Gpt2Class::kLetter}, {0x1E5F0, 0x1E5F0, Gpt2Class::kLetter},
    {0x1E5F1, 0x1E5FA, Gpt2Class::kNumber}, {0x1E6C0, 0x1E6DE, Gpt2Class::kSymbol},
    {0x1E6E0, 0x1E6E2, Gpt2Class::kSymbol}, {0x1E6E4, 0x1E6E5, Gpt2Class::kSymbol},
    {0x1E6E7, 0x1E6ED, Gpt2Class::kSymbol}, {0x1E6F0, 0x1E6F4, Gpt2Class::kSymbol},
    {0x1E6FE, 0x1E6FF, Gpt2Class::kSymbol}, {0x2B739, 0x2B739, Gpt2Class::kLetter},
    {0x2B73A, 0x2B73F, Gpt2Class::kSymbol}, {0x2CEA2, 0x2CEAD, Gpt2Class::kSymbol},
    {0x2EBF0, 0x2EE5D, Gpt2Class::kLetter}, {0x31350, 0x323AF, Gpt2Class::kLetter},
    {0x323B0, 0x33479, Gpt2Class::kSymbol},
};

// BERT, Hugging Face tokenizers 0.23: categories of Unicode 8.
inline constexpr CodePointRange<BertClass> kBertExceptions[] = {
    {0x61D, 0x61D, BertClass::kPlain},         {0x7FD, 0x7FD, BertClass::kPlain},
    {0x890, 0x891, BertClass::kPlain},         {0x897, 0x89F, BertClass::kPlain},
    {0x8CA, 0x8E2, BertClass::kPlain},         {0x9FD, 0x9FE, BertClass::kPlain},
    {0xA76, 0xA76, BertClass::kPlain},         {0xAFA, 0xAFF, BertClass::kPlain},
    {0xB55, 0xB55, BertClass::kPlain},         {0xC04, 0xC04, BertClass::kPlain},
    {0xC3C, 0xC3C, BertClass::kPlain},         {0xC77, 0xC77, BertClass::kPlain},
    {0xC84, 0xC84, BertClass::kPlain},         {0xD00, 0xD00, BertClass::kPlain},
    {0xD3B, 0xD3C, BertClass::kPlain},         {0xD81, 0xD81, BertClass::kPlain},
    {0xEBA, 0xEBA, BertClass::kPlain},         {0xECE, 0xECE, BertClass::kPlain},
    {0x166D, 0x166D, BertClass::kPunctuation}, {0x1734, 0x1734, BertClass::kNonspacing},
    {0x180F, 0x180F, BertClass::kPlain},       {0x1885, 0x1886, BertClass::kPlain},
    {0x1ABF, 0x1ADD, BertClass::kPlain},       {0x1AE0, 0x1AEB, BertClass::kPlain},
    {0x1B4E, 0x1B4F, BertClass::kPlain},       {0x1B7D, 0x1B7F, BertClass::kPlain},
    {0x1DF6, 0x1DFB, BertClass::kPlain},       {0x2E43, 0x2E4F, BertClass::kPlain},
    {0x2E52, 0x2E5D, BertClass::kPlain},       {0xA82C, 0xA82C, BertClass::kPlain},
    {0xA8C5, 0xA8C5, BertClass::kPlain},       {0xA8FF, 0xA8FF, BertClass::kPlain},
    {0xA9BD, 0xA9BD, BertClass::kPlain},       {0x10D24, 0x10D27, BertClass::kPlain},
    {0x10D69, 0x10D6E, BertClass::kPlain},     {0x10EAB, 0x10EAD, BertClass::kPlain},
    {0x10ED0, 0x10ED0, BertClass::kPlain},     {0x10EFA, 0x10EFF, BertClass::kPlain},
    {0x10F46, 0x10F50, BertClass::kPlain},     {0x10F55, 0x10F59, BertClass::kPlain},
    {0x10F82, 0x10F89, BertClass::kPlain},     {0x11070, 0x11070, BertClass::kPlain},
    {0x11073, 0x11074, BertClass::kPlain},     {0x110C2, 0x110C2, BertClass::kPlain},
    {0x110CD, 0x110CD, BertClass::kPlain},     {0x111C9, 0x111C9, BertClass::kPunctuation},
    {0x111CF, 0x111CF, BertClass::kPlain},     {0x1123E, 0x1123E, BertClass::kPlain},
    {0x11241, 0x11241, BertClass::kPlain},     {0x1133B, 0x1133B, BertClass::kPlain},
    {0x113BB, 0x113C0, BertClass::kPlain},     {0x113CE, 0x113CE, BertClass::kPlain},
    {0x113D0, 0x113D0, BertClass::kPlain},     {0x113D2, 0x113D2, BertClass::kPlain},
    {0x113D4, 0x113D5, BertClass::kPlain},     {0x113D7, 0x113D8, BertClass::kPlain},
    {0x113E1, 0x113E2, BertClass::kPlain},     {0x11438, 0x1143F, BertClass::kPlain},
    {0x11442, 0x11444, BertClass::kPlain},     {0x11446, 0x11446, BertClass::kPlain},
    {0x1144B, 0x1144F, BertClass::kPlain},     {0x1145A, 0x1145B, BertClass::kPlain},
    {0x1145D, 0x1145E, BertClass::kPlain},     {0x11660, 0x1166C, BertClass::kPlain},
    {0x116B9, 0x116B9, BertClass::kPlain},     {0x1171E, 0x1171E, BertClass::kNonspacing},
    {0x1182F, 0x11837, BertClass::kPlain},     {0x11839, 0x1183B, BertClass::kPlain},
    {0x1193B, 0x1193C, BertClass::kPlain},     {0x1193E, 0x1193E, BertClass::kPlain},
    {0x11943, 0x11946, BertClass::kPlain},     {0x119D4, 0x119D7, BertClass::kPlain},
    {0x119DA, 0x119DB, BertClass::kPlain},     {0x119E0, 0x119E0, BertClass::kPlain},
    {0x119E2, 0x119E2, BertClass::kPlain},     {0x11A01, 0x11A0A, BertClass::kPlain},
    {0x11A33, 0x11A38, BertClass::kPlain},     {0x11A3B, 0x11A47, BertClass::kPlain},
    {0x11A51, 0x11A56, BertClass::kPlain},     {0x11A59, 0x11A5B, BertClass::kPlain},
    {0x11A8A, 0x11A96, BertClass::kPlain},     {0x11A98, 0x11A9C, BertClass::kPlain},
    {0x11A9E, 0x11AA2, BertClass::kPlain},     {0x11B00, 0x11B09, BertClass::kPlain},
    {0x11B60, 0x11B60, BertClass::kPlain},     {0x11B62, 0x11B64, BertClass::kPlain},
    {0x11B66, 0x11B66, BertClass::kPlain},     {0x11BE1, 0x11BE1, BertClass::kPlain},
    {0x11C30, 0x11C36, BertClass::kPlain},     {0x11C38, 0x11C3D, BertClass::kPlain},
    {0x11C3F, 0x11C3F, BertClass::kPlain},     {0x11C41, 0x11C45, BertClass::kPlain},
    {0x11C70, 0x11C71, BertClass::kPlain},     {0x11C92, 0x11CA7, BertClass::kPlain},
    {0x11CAA, 0x11CB0, BertClass::kPlain},     {0x11CB2, 0x11CB3, BertClass::kPlain},
    {0x11CB5, 0x11CB6, BertClass::kPlain},     {0x11D31, 0x11D36, BertClass::kPlain},
    {0x11D3A, 0x11D3A, BertClass::kPlain},     {0x11D3C, 0x11D3D, BertClass::kPlain},
    {0x11D3F, 0x11D45, BertClass::kPlain},     {0x11D47, 0x11D47, BertClass::kPlain},
    {0x11D90, 0x11D91, BertClass::kPlain},     {0x11D95, 0x11D95, BertClass::kPlain},
    {0x11D97, 0x11D97, BertClass::kPlain},     {0x11EF3, 0x11EF4, BertClass::kPlain},
    {0x11EF7, 0x11EF8, BertClass::kPlain},     {0x11F00, 0x11F01, BertClass::kPlain},
    {0x11F36, 0x11F3A, BertClass::kPlain},     {0x11F40, 0x11F40, BertClass::kPlain},
    {0x11F42, 0x11F4F, BertClass::kPlain},     {0x11F5A, 0x11F5A, BertClass::kPlain},
    {0x11FFF, 0x11FFF, BertClass::kPlain},     {0x12FF1, 0x12FF2, BertClass::kPlain},
    {0x13430, 0x13440, BertClass::kPlain},     {0x13447, 0x13455, BertClass::kPlain},
    {0x1611E, 0x16129, BertClass::kPlain},     {0x1612D, 0x1612F, BertClass::kPlain},
    {0x16D6D, 0x16D6F, BertClass::kPlain},     {0x16E97, 0x16E9A, BertClass::kPlain},
    {0x16F4F, 0x16F4F, BertClass::kPlain},     {0x16FE2, 0x16FE2, BertClass::kPlain},
    {0x16FE4, 0x16FE4, BertClass::kPlain},     {0x1CF00, 0x1CF2D, BertClass::kPlain},
    {0x1CF30, 0x1CF46, BertClass::kPlain},     {0x1E000, 0x1E006, BertClass::kPlain},
    {0x1E008, 0x1E018, BertClass::kPlain},     {0x1E01B, 0x1E021, BertClass::kPlain},
    {0x1E023, 0x1E024, BertClass::kPlain},     {0x1E026, 0x1E02A, BertClass::kPlain},
    {0x1E08F, 0x1E08F, BertClass::kPlain},     {0x1E130, 0x1E136, BertClass::kPlain},
    {0x1E2AE, 0x1E2AE, BertClass::kPlain},     {0x1E2EC, 0x1E2EF, BertClass::kPlain},
    {0x1E4EC, 0x1E4EF, BertClass::kPlain},     {0x1E5EE, 0x1E5EF, BertClass::kPlain},
    {0x1E5FF, 0x1E5FF, BertClass::kPlain},     {0x1E6E3, 0x1E6E3, BertClass::kPlain},
    {0x1E6E6, 0x1E6E6, BertClass::kPlain},     {0x1E6EE, 0x1E6EF, BertClass::kPlain},
    {0x1E6F5, 0x1E6F5, BertClass::kPlain},     {0x1E944, 0x1E94A, BertClass::kPlain},
    {0x1E95E, 0x1E95F, BertClass::kPlain},
};

// BERT: combining class of the marks that are kept (Mc, and Mn newer than
// Unicode 8); all others that are kept have class 0. Unicode 9.
inline constexpr CodePointRange<uint8_t> kBertMarks[] = {
    {0x8D4, 0x8E1, 230},     {0x1B44, 0x1B44, 9},     {0x1BAA, 0x1BAA, 9},
    {0x1BF2, 0x1BF3, 9},     {0x1DFB, 0x1DFB, 230},   {0x302E, 0x302F, 224},
    {0xA953, 0xA953, 9},     {0xA9C0, 0xA9C0, 9},     {0x111C0, 0x111C0, 9},
    {0x11235, 0x11235, 9},   {0x1134D, 0x1134D, 9},   {0x11442, 0x11442, 9},
    {0x11446, 0x11446, 7},   {0x116B6, 0x116B6, 9},   {0x11C3F, 0x11C3F, 9},
    {0x1D165, 0x1D166, 216}, {0x1D16D, 0x1D16D, 226}, {0x1D16E, 0x1D172, 216},
    {0x1E000, 0x1E006, 230}, {0x1E008, 0x1E018, 230}, {0x1E01B, 0x1E021, 230},
    {0x1E023, 0x1E024, 230}, {0x1E026, 0x1E02A, 230}, {0x1E944, 0x1E949, 230},
    {0x1E94A, 0x1E94A, 7},
};

// BERT: characters that stay whole, their decompositions being newer than
// Unicode 9.
inline constexpr CodePointRange<bool> kBertWhole[] = {
    {0x105C9, 0x105C9, true}, {0x105E4, 0x105E4, true}, {0x11383, 0x11383, true},
    {0x11385, 0x11385, true}, {0x1138E, 0x1138E, true}, {0x11391, 0x11391, true},
    {0x113C5, 0x113C5, true}, {0x113C7, 0x113C8, true}, {0x11938, 0x11938, true},
    {0x16121, 0x16128, true}, {0x16D68, 0x16D6A, true},
};

// BERT: distance to the lower-case form, for letters that got one after Unicode
// 14 (17).
inline constexpr CodePointRange<int32_t> kBertLowerCase[] = {
    {0x1C89, 0x1C89, 1},    {0xA7CB, 0xA7CB, -42343}, {0xA7CC, 0xA7CC, 1}, {0xA7CE, 0xA7CE, 1},
    {0xA7D2, 0xA7D2, 1},    {0xA7D4, 0xA7D4, 1},      {0xA7DA, 0xA7DA, 1}, {0xA7DC, 0xA7DC, -42561},
    {0x10D50, 0x10D65, 32}, {0x16EA0, 0x16EB8, 27},
};

}  // namespace gf
