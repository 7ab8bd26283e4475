"""Checking coding rows by running them: the Python of the answer, or what the given Python prints."""

import ast
import re

from seedbed.generator.sandbox import Limits, Ran, run_python

CODE = "check.code"

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_PRINTS = re.compile(r"\bwhat (?:does|will|is|would)\b.{0,60}\b(?:print|output|printed|displayed?)", re.IGNORECASE)
_SHOWS_ERROR = re.compile(r"\b(?:error|exception|traceback|bug|wrong|fix|fails?|raises?)\b", re.IGNORECASE)


async def runs_well(instruction: str, input: str, output: str, limits: Limits) -> bool | None:
    """Tell whether a coding row's program runs, or prints what the row says; None where that cannot be told.

    That a program runs does not say that it does what was asked: this finds wrong rows, it proves no right one.
    """
    if _PRINTS.search(instruction):
        program = _python_of(input) or _python_of(instruction)
        return await _prints(program, output, limits) if program else None
    program = _python_of(output)
    if not program or not _names_python(instruction, output):
        return None
    if _SHOWS_ERROR.search(instruction) and not _FENCE.search(output):
        return None
    ran = await run_python(program, limits)
    if ran.ended is Ran.FAILED and (given := _python_of(input)):
        ran = await run_python(f"{given}\n{program}", limits)  # such as tests of the function that is given
    if ran.ended is Ran.FAILED:
        return None if ran.error.startswith("NameError") else False  # a part of a program names what is not shown
    return True if ran.ended is Ran.WELL else None


async def _prints(program: str, said: str, limits: Limits) -> bool | None:
    ran = await run_python(program, limits)
    if ran.ended is not Ran.WELL or not ran.output.strip():
        return None
    fenced = _FENCE.search(said)
    answer = " ".join((fenced[1] if fenced else said).split())
    printed = " ".join(ran.output.split())
    return printed in answer if len(answer) < 4 * len(printed) + 80 else None


def _python_of(text: str) -> str:
    """Return the Python in a text: its fences joined, or the whole where it is nothing but Python; else nothing."""
    blocks = _FENCE.findall(text)
    if blocks:
        return "\n".join(blocks)
    return text if _is_program(text) else ""


def _is_program(text: str) -> bool:
    """Tell whether a text is a program and no sentence that happens to parse, such as one word."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in tree.body)


def _names_python(instruction: str, output: str) -> bool:
    return "python" in instruction.lower() or re.search(r"```(?:python|py)\b", output, re.IGNORECASE) is not None
