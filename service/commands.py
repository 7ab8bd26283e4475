"""The list of commands, in the order of the help page."""

from collections.abc import Callable

import typer

from seedbed.service import file_commands, hand_commands, ledger_commands, look_commands, work_commands
from seedbed.service.cli import needs_no_workspace

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
    "control": (
        "Say what a service is to do; kept over restarts.",
        (
            ("show", hand_commands.control_show),
            ("start", hand_commands.control_start),
            ("pause", hand_commands.control_pause),
            ("drain", hand_commands.control_drain),
            ("stop", hand_commands.control_stop),
            ("target", hand_commands.control_target),
            ("concurrency", hand_commands.control_concurrency),
            ("budget", hand_commands.control_budget),
        ),
    ),
    "rows": (
        "Decide rows by hand.",
        (
            ("accept", hand_commands.rows_accept),
            ("refuse", hand_commands.rows_refuse),
            ("quarantine", hand_commands.rows_quarantine),
        ),
    ),
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
        inner = typer.Typer(no_args_is_help=True)
        inner.callback()(_at_home(group))
        for name, command in commands:
            inner.command(name)(command)
        app.add_typer(inner, name=group, help=help_text)


def _at_home(group: str) -> Callable[[typer.Context], None]:
    """Return the check that a command of a group that needs the workspace is not asked of a service elsewhere."""

    def check(context: typer.Context) -> None:
        needs_no_workspace(f"{group} {context.invoked_subcommand}")

    return check
