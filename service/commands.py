"""The list of commands, in the order of the help page."""

from collections.abc import Callable

import typer

from seedbed.service import file_commands, ledger_commands, look_commands, work_commands

SINGLE: tuple[tuple[str, Callable[..., None]], ...] = (
    ("init", work_commands.init),
    ("doctor", look_commands.doctor),
    ("plan", look_commands.plan),
    ("run", work_commands.run),
    ("serve", work_commands.serve),
    ("generate", work_commands.generate),
    ("status", look_commands.status),
    ("page", look_commands.page),
    ("report", look_commands.report),
    ("why", look_commands.why),
    ("snapshot", work_commands.snapshot),
    ("train", work_commands.train),
    ("evaluate", work_commands.evaluate),
    ("promote", work_commands.promote),
    ("rollback", work_commands.rollback),
    ("filter", file_commands.filter_rows),
    ("refilter", ledger_commands.refilter),
    ("import", ledger_commands.import_rows),
    ("export", file_commands.export_rows),
    ("convert", file_commands.convert),
    ("warm", file_commands.warm),
)

GROUPED: dict[str, tuple[str, tuple[tuple[str, Callable[..., None]], ...]]] = {
    "seeds": ("Look at seed tasks.", (("check", file_commands.seeds_check),)),
    "judge": ("Look at the judge.", (("agreement", ledger_commands.judge_agreement),)),
    "contamination": ("Look at benchmark overlap.", (("selftest", file_commands.contamination_selftest),)),
    "references": (
        "Keep benchmarks out, also of what is already in.",
        (("add", ledger_commands.references_add), ("rescan", ledger_commands.references_rescan)),
    ),
    "pool": (
        "Look after the pool.",
        (
            ("check", file_commands.pool_check),
            ("backup", file_commands.pool_backup),
            ("restore", file_commands.pool_restore),
            ("prune", ledger_commands.pool_prune),
        ),
    ),
}


def add_commands(app: typer.Typer) -> None:
    """Put every command on the command line."""
    for name, command in SINGLE:
        app.command(name)(command)
    for group, (help_text, commands) in GROUPED.items():
        inner = typer.Typer(help=help_text, no_args_is_help=True)
        for name, command in commands:
            inner.command(name)(command)
        app.add_typer(inner, name=group)
