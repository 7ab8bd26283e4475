"""Traces of prompts, templates and chat formats that have no place in a row, and placeholders nobody filled in."""

import re

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.filters.finding import Finding, excerpt

_NO_TEXT = re.compile(r"<\s*no\s?_?-?(?:input|output|instruction)\s*>", re.IGNORECASE)
_CHAT_TOKEN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|eom_id|begin_of_text|end_of_text|start_header_id|end_header_id|"
    r"user|assistant|system|end|fim_\w+)\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</s>\s*$|^\s*<s>\s|"
    r"<bos>|<eos>|^\s*<think>|</think>"
)
_SECTION = re.compile(
    r"^\s*#{1,4}\s*(?:Instruction|Input|Response|Output|Task(?: \d+)?|Example \d+)\s*:?\s*$", re.MULTILINE
)
_LABEL_START = re.compile(r"\s*(?:\d{1,3}\.\s*)?(?:Instruction|Input|Output|Response)(?: ?#?\d{1,3})?\s*:\s")
_LABEL_LINE = re.compile(r"^\s*(?:\d{1,3}\.\s*)?Instruction(?: ?#?\d{1,3})?:\s", re.MULTILINE)
_TASK_NUMBER = re.compile(r"\s*(?:Task|Instruction|Example)\s+#?\d{1,3}\s*[:.)-]", re.IGNORECASE)
_PREAMBLE = re.compile(
    r"\s*(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|no problem|got it)\s*[!,.:]+\s*"
    r"(?:here(?:['’]s|\s+is|\s+are|\s+you)\b|below\b|the following\b|"
    r"i(?:['’]d be|['’]m|\s+would be) (?:happy|glad) to\b|i can help\b|i(?:['’]ll| will) (?:help|provide|give)\b)|"
    r"\s*here(?:['’]s| is| are) (?:\w+ ){1,5}?(?:instructions?|tasks?|triples?)(?: \w+){0,6}\s*:",
    re.IGNORECASE,
)
_INSERT = re.compile(
    r"[\[<](?:please )?(?:insert|add|enter|fill in|specify|replace with)\b(?: [\w'’/-]+){1,8}[\]>]",
    re.IGNORECASE,
)
_ONLY_PLACEHOLDER = re.compile(
    r"[\[<{(]\s*(?:input|output|answer|response|text|instruction|your \w+|placeholder|blank)(?: here)?\s*[\]>})]|"
    r"your (?:answer|input|text|output|response) here|placeholder|to be (?:determined|added|filled(?: in)?)|tbd|todo|"
    r"(?:\.|…|_){2,}|…",
    re.IGNORECASE,
)
_NO_INPUT = frozenset(("none", "n/a", "null", "no input", "(none)", "[none]", "<none>", "(empty)", "[empty]"))
_ABOUT_FORMS = re.compile(r"\b(?:template|placeholders?|fill[- ]in|form letter|boilerplate|blanks?)\b", re.IGNORECASE)


def template_leak(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse text of our own templates or of a chat format: "<noinput>", "### Instruction", "<|im_end|>"."""
    for text in (row.instruction, row.input, row.output):
        for pattern, sign in ((_NO_TEXT, "<"), (_CHAT_TOKEN, "<"), (_CHAT_TOKEN, "INST]"), (_SECTION, "#")):
            if sign in text and (found := pattern.search(text)):
                return Finding("template_leak", excerpt(found.group()))
    found = _TASK_NUMBER.match(row.instruction)
    found = (
        found or _LABEL_START.match(row.instruction) or _LABEL_START.match(row.output) or _LABEL_START.match(row.input)
    )
    if found is None and "nstruction" in row.output:
        found = _LABEL_LINE.search(row.output)
    return Finding("template_leak", excerpt(found.group())) if found else None


def assistant_preamble(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse small talk around the row ("Sure! Here is …"): a student would learn to say it everywhere."""
    found = _PREAMBLE.match(row.output) or _PREAMBLE.match(row.instruction)
    return Finding("assistant_preamble", excerpt(found.group())) if found else None


def placeholder(row: Candidate, _: WellformedConfig) -> Finding | None:
    """Refuse "[Insert name here]" and texts that are nothing but a placeholder, unless the task is about such forms."""
    if row.input.strip().lower() in _NO_INPUT:
        return Finding("placeholder", excerpt(row.input))
    for text in (row.instruction, row.input, row.output):
        if len(text) < 40 and _ONLY_PLACEHOLDER.fullmatch(text.strip()):
            return Finding("placeholder", excerpt(text))
        found = _INSERT.search(text) if "[" in text or "<" in text else None
        if found and not _ABOUT_FORMS.search(row.instruction):
            return Finding("placeholder", excerpt(found.group()))
    return None
