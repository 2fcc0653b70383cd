#!/usr/bin/env python3
"""Makes the data of `tests/it/text*.rs`: tokenizers with expected token ids, texts, and two small classifiers of texts.

All sentences are our own: short reviews from hand-written patterns. The token ids are what Hugging Face `tokenizers` answers
(the version is written into `expected.json`). Needs torch, transformers, tokenizers, sentencepiece, protobuf and onnx;
deterministic on one machine, and checked in because training is not the same on all. With names behind the folder, those
tokenizers are made and nothing else is touched: training them is not the same each time.

    python3 crates/attack/tests/make_text.py crates/attack/tests/it/data/text [TOKENIZER ...]
"""

import csv
import io
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

import sentencepiece
import tokenizers
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GOOD = "good great lovely superb pleasant charming wonderful brilliant delightful excellent fine warm".split()
BAD = "bad awful dull dreadful tedious horrible boring terrible clumsy poor cold weak".split()
THINGS = "film meal room book song play hotel story show walk concert dinner".split()
PARTS = "acting sauce view ending voice light staff plot music price garden colour".split()
PATTERNS = [
    "the {t} was {a} and the {p} was {b}",
    "I found the {p} {a}, a {b} {t}",
    "what a {a} {t}! the {p} seemed {b} too",
    "we thought the {t} {a}; its {p} is {b}",
    "a {a} {p} and a {b} {t} in all",
    "my friends called this {t} {a} because of the {b} {p}",
]
NASTY = [
    "",
    " ",
    "The film wasn't bad, it's GREAT!",
    "Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m r\u00e9sum\u00e9 e\u0301",
    "two  spaces\tand a tab\nnew line\r\n and   more ",
    "\u4f60\u597d film \u65e5\u672c\u8a9e\u3067\u3059",
    "zero\u200bwidth j\u200doin soft\u00adhyphen bom\ufeff",
    "emoji \U0001f600\U0001f468\u200d\U0001f469 flag \U0001f1e9\U0001f1ea",
    "numbers 12345 3.14 \u00bd \u0663\u0664 \u2460 \u2168",
    "punct\u2014dash \u201cquoted\u201d \u2026 \u00bfqu\u00e9? $5 a+b=c ~`^|",
    "[CLS] the film [SEP] was [MASK] good [UNK]",
    "unassigned \u0378 private \ue000 control \x01\x7f replacement \ufffd null \x00 end",
    "x" * 120 + " word",
    "I'll you've they're we'd I'm 'quoted' '' 'sx",
    "\u0421\u0443\u0440\u0435r homoglyphs \uff46\uff55\uff4c\uff4c",
    "\u1e9b\u0323 \ufb01ne \u2126 \u0130stanbul STRASSE stra\u00dfe \u03a3\u03a3",
    "\u24b6circled \u0300combining first",
    "tail space   ",
    "no\u00a0break\u2003em\u3000ideographic\u0085next",
    "under_score camelCase snake_case2 \u203f tie",
]


def corpus(count, seed):
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        label = index % 2
        words = rng.sample(GOOD if label else BAD, 2)
        text = rng.choice(PATTERNS).format(t=rng.choice(THINGS), p=rng.choice(PARTS), a=words[0], b=words[1])
        rows.append((text, label))
    return rows


def wordpiece(texts):
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=330, special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.decoder = decoders.WordPiece()
    return made


def bytelevel(texts):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def metaspace(texts):
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("film", "movie")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(0x80, 0xA0)]
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=160, special_tokens=special, show_progress=False))
    return made


def wordlevel(texts):
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)])
    made.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[UNK]", "[PAD]"], show_progress=False))
    return made


# What SentencePiece compiles into the character map: full-width letters, ligatures, composed letters, numbers, blanks; what vanishes.
RULES = [(chr(0xFF41 + place), chr(ord("a") + place)) for place in range(26)] + [
    ("\ufb01", "fi"), ("e\u0301", "\u00e9"), ("\u00bd", "1/2"), ("\u2168", "IX"), ("\u2460", "1"), ("\u2126", "\u03c9"),
    ("\t", " "), ("\n", " "), ("\r", ""), ("\u00a0", " "), ("\u3000", " "), ("\u2003", " "), ("\u200b", ""), ("\ufeff", ""),
    ("\u2026", "..."), ("\u0130", "i"), ("\u00df", "ss"), ("\u65e5", "day"),
]


def unigram(texts):
    points = lambda text: " ".join(f"{ord(c):X}" for c in text)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.writelines(f"{points(there)}\t{points(then)}\n" for there, then in RULES)
        rules.flush()
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=written, vocab_size=100, normalization_rule_tsv=rules.name, minloglevel=2,
        )
    trained = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    pieces = [(piece.piece, piece.score) for piece in trained.pieces] + [(f"<0x{byte:02X}>", 0.0) for byte in range(0x80, 0xA0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    spaced = normalizers.Replace(Regex(" {2,}"), " ")
    made.normalizer = normalizers.Sequence([normalizers.Precompiled(trained.normalizer_spec.precompiled_charsmap), spaced])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.add_special_tokens(["<s>", "</s>", "<mask>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return made


class Bag(torch.nn.Module):
    """The mean of embeddings, and one layer."""

    def __init__(self, vocabulary, width=16):
        super().__init__()
        self.table = torch.nn.Embedding(vocabulary, width)
        self.head = torch.nn.Linear(width, 2)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        return self.head((self.table(input_ids) * mask).sum(1) / mask.sum(1))


class Encoder(torch.nn.Module):
    """A BERT of one layer, its logits alone."""

    def __init__(self, vocabulary):
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=vocabulary, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2,
            attn_implementation="eager",
        )
        self.inner = transformers.BertForSequenceClassification(config)

    def forward(self, input_ids, attention_mask, token_type_ids):
        found = self.inner(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return found.logits


def encoded(made, texts):
    rows = [made.encode(text) for text in texts]
    longest = max(len(row.ids) for row in rows)
    pad = lambda numbers: numbers + [0] * (longest - len(numbers))
    ids = torch.tensor([pad(row.ids) for row in rows])
    return ids, torch.tensor([pad([1] * len(row.ids)) for row in rows]), torch.zeros_like(ids)


def train(model, inputs, labels, steps, rate):
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(*inputs), labels).backward()
        optimiser.step()
    model.eval()
    return model


def export(model, inputs, names, path):
    axes = {name: {0: "batch", 1: "sequence"} for name in names} | {"logits": {0: "batch"}}
    warnings.simplefilter("ignore")
    torch.onnx.export(
        model, tuple(part[:2] for part in inputs), str(path), input_names=names, output_names=["logits"],
        dynamic_axes=axes, opset_version=17, dynamo=False,
    )


def main():
    out = Path(sys.argv[1])
    torch.manual_seed(0)
    rows, held = corpus(240, 1), corpus(40, 2)
    texts = [text for text, _ in rows]
    makers = {"wordpiece": wordpiece, "bytelevel": bytelevel, "metaspace": metaspace, "wordlevel": wordlevel, "unigram": unigram}
    wanted = sys.argv[2:]
    made = {name: make(texts) for name, make in makers.items() if name in (wanted or makers)}
    cases = NASTY + [text for text, _ in held[:6]]
    expected = {"source": f"Hugging Face tokenizers {tokenizers.__version__}", "texts": cases, "ids": {}}
    if wanted:
        expected["ids"] = json.loads((out / "expected.json").read_text())["ids"]
    for name, one in made.items():
        one.save(str(out / f"{name}.json"), pretty=False)
        expected["ids"][name] = [one.encode(text).ids for text in cases]
    (out / "expected.json").write_text(json.dumps(expected, ensure_ascii=True))
    if wanted:
        return
    with open(out / "texts.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(held)
    inputs, labels = encoded(made["wordpiece"], texts), torch.tensor([label for _, label in rows])
    vocabulary = made["wordpiece"].get_vocab_size()
    bag = train(Bag(vocabulary), inputs[:2], labels, 150, 0.02)
    export(bag, inputs[:2], ["input_ids", "attention_mask"], out / "bag.onnx")
    encoder = train(Encoder(vocabulary), inputs, labels, 120, 0.005)
    export(encoder, inputs, ["input_ids", "attention_mask", "token_type_ids"], out / "encoder.onnx")
    others = encoded(made["wordpiece"], [text for text, _ in held])
    truth = torch.tensor([label for _, label in held])
    scores = {"bag": bag(*others[:2]), "encoder": encoder(*others)}
    for name, found in scores.items():
        print(name, "accuracy", (found.argmax(1) == truth).float().mean().item())
    alone = [held[0][0], held[1][0], "the film was not bad"]
    answers = {}
    for name, model in {"bag": bag, "encoder": encoder}.items():
        count = 2 if name == "bag" else 3
        answers[name] = [model(*encoded(made["wordpiece"], [text])[:count])[0].tolist() for text in alone]
    (out / "scores.json").write_text(json.dumps({"texts": alone, "scores": answers}))


if __name__ == "__main__":
    main()
