"""How a command ends: 0 done; 1 done, and the answer is no; 2 it could not be done, or not to the end."""

from typing import Final

OK: Final = 0
NO: Final = 1
FAILED: Final = 2


class Failed(Exception):
    """The command ends here, with one line for the person who called it."""

    def __init__(self, message: str, *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Terminated(SystemExit):
    """SIGTERM came: everything is put away on the way out."""

    def __init__(self) -> None:
        super().__init__(143)
