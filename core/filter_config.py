"""The settings of the filters, which are tables of `[filters]`."""

from typing import Annotated, Literal

from pydantic import Field

from seedbed.core.section import Section


class WellformedConfig(Section):
    """Rows that are no rows."""

    min_instruction_words: Annotated[int, Field(ge=0)] = 4
    """Self-Instruct drops 3 words or fewer."""
    max_instruction_words: Annotated[int, Field(ge=1)] = 150
    """Self-Instruct drops more than 150."""
    max_field_characters: Annotated[int, Field(ge=1)] = 20_000
    """Of any field; longer is refused as `too_long`."""
    blocklist: tuple[str, ...] = (
        "image",
        "images",
        "graph",
        "graphs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "file",
        "files",
        "map",
        "maps",
        "draw",
        "plot",
        "go to",
        "video",
        "videos",
        "audio",
        "music",
        "flowchart",
        "diagram",
    )
    """Whole words in an instruction that ask for what a text model cannot see or do (Self-Instruct and Alpaca)."""
    blocklist_rule: Literal["asked_for", "anywhere"] = "asked_for"
    """`anywhere` refuses the words wherever they stand (Self-Instruct): "video game", "plot of the story" too."""
    ascii_start: bool = False
    """Refuse an instruction that does not start with an ASCII letter or digit (Self-Instruct; English only)."""
    scripts: tuple[str, ...] = ()
    """Unicode scripts the output may mostly be in, such as "Latin"; empty: any."""
    refusals_only_in: tuple[str, ...] = ("safety", "refusal", "unanswerable")
    """Categories in which an answer that refuses is expected."""
    missing_input_in: tuple[str, ...] = ("unanswerable",)
    """Categories in which an instruction may point at a text that is not there: the answer asks for it."""
    personal_data: bool = True
    """Refuse secrets, card numbers and the like in any field."""


class RougeConfig(Section):
    """Novelty of instructions."""

    enabled: bool = True
    """Off lets near-duplicate instructions in."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """ROUGE-L F-measure against the nearest seed or pool instruction (Self-Instruct)."""
    operator: Literal[">", ">="] = ">"
    """`>`: 0.7 itself stays, as in Self-Instruct."""
    tokenizer: Literal["words", "rouge"] = "words"
    """`rouge` equals rouge_score everywhere and so is blind beyond [a-z0-9]; `words` equals it on ASCII text only."""


class MinHashConfig(Section):
    """Near-duplicates among longer texts."""

    enabled: bool = True
    """Compares input + output joined (instruction too where both are short)."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Jaccard similarity of word shingles at which a row is refused."""
    shingle_words: Annotated[int, Field(ge=1)] = 5
    """Words in a shingle."""
    min_words: Annotated[int, Field(ge=1)] = 20
    """Shorter texts are skipped: every second label "Positive" would be a duplicate."""
    permutations: Annotated[int, Field(ge=16)] = 128
    """Length of a signature."""
    on_instructions: bool = False
    """Screen instructions too, by word unigrams. Word 5-grams would catch 8% of what ROUGE-L catches there."""


class ContaminationConfig(Section):
    """Overlap with benchmarks."""

    enabled: bool = True
    """Off lets benchmark items in."""
    digests: bool = True
    """Compare with the hashed benchmarks that come with Seedbed."""
    references: tuple[str, ...] = ("references",)
    """Your own: files or folders of text, JSONL, JSON, CSV, Parquet, relative to the workspace."""
    ngram: Annotated[int, Field(ge=2)] = 13
    """Any shared n-gram of so many words (GPT-3, lm-eval)."""
    coverage_ngram: Annotated[int, Field(ge=2)] = 8
    """n-grams whose share in a benchmark item is measured (Tülu 3)."""
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of an item's tokens in such n-grams that condemns (Tülu 3)."""
    min_item_words: Annotated[int, Field(ge=1)] = 6
    """Shorter items count only when they equal a whole field."""
    max_document_frequency: Annotated[int, Field(ge=1)] = 10
    """n-grams in more items than this are boilerplate and condemn nothing."""


class QualityConfig(Section):
    """What stages that need a model found out."""

    min_grade: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Refuse below this mark of the judge (1 to 5) in any aspect; 0: off. Needs generation.checks.grade_rows."""
    min_clarity: Annotated[float, Field(ge=0, le=5)] = 0.0
    """The same for how clear the instruction is."""
    min_fit: Annotated[float, Field(ge=0, le=5)] = 0.0
    """For how well the input fits."""
    min_correctness: Annotated[float, Field(ge=0, le=5)] = 0.0
    """For how right the output is."""

    @property
    def is_on(self) -> bool:
        """Whether any mark is looked at."""
        return max(self.min_grade, self.min_clarity, self.min_fit, self.min_correctness) > 0


class FiltersConfig(Section):
    """The cascade, cheap first; the first refusal decides."""

    wellformed: WellformedConfig = WellformedConfig()
    rouge: RougeConfig = RougeConfig()
    minhash: MinHashConfig = MinHashConfig()
    contamination: ContaminationConfig = ContaminationConfig()
    quality: QualityConfig = QualityConfig()
