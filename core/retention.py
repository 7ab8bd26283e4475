"""How long what is not needed to go on is kept."""

from typing import Annotated

from pydantic import Field

from seedbed.core.section import Section

Days = Annotated[float, Field(ge=0)]


class RetentionConfig(Section):
    """What is kept for how long (docs/operation.md); accepted rows always are."""

    refused_text_days: Days = 90.0
    """Days that refused text is kept; its row, verdict, reason and hash stay. `refilter` needs it. 0: for ever."""
    completion_days: Days = 30.0
    """Days that raw completions are kept; what was read from them has rows of its own. 0: for ever."""
    prompt_days: Days = 90.0
    """Days that the messages of answered requests are kept: the largest part of the database. 0: for ever."""
    checkpoints: Annotated[int, Field(ge=0)] = 1
    """Finished trainings whose last checkpoint is kept, the newest. One that may go on keeps its own."""
    snapshots: Annotated[int, Field(ge=1)] = 5
    """Snapshots that are kept, the newest, beside those of promoted adapters and of rounds that are not decided."""
