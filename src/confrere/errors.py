"""Every exception of Confrere, as a tree::

    ConfrereError
    ├── UserError           the study or the data is wrong; says what, where, what to do    exit code 2
    │   ├── StudyError      a study file or an analysis' settings
    │   ├── FormulaError    a formula: unknown name, forbidden function, what needs pooled state
    │   ├── DataError       a file, a column, a value
    │   └── ModelError      the people do not determine the model: separation, collinear, no events
    ├── Refused             a hospital or its gate refused; uniform, the reason stays there exit code 3
    ├── LedgerError         a ledger does not verify, or cannot be continued                exit code 3
    ├── ProtocolError       what arrived is not what was agreed                             exit code 3
    │   ├── WireError       bytes that are not a message of ours, or too many of them
    │   ├── KeysError       a forged, swapped or replayed key or message
    │   ├── MaskReuse       a mask would have been used a second time
    │   └── RangeError      a number does not fit the fixed point: overflow, underflow, not finite
    └── Waiting             hospitals did not answer before the deadline, or the run was cancelled   exit code 4
        └── Paused          a steward paused the study, or a hospital answers at other hours

A user's error names the value, the rule and the next thing to do. No message that may leave a hospital
holds a patient's value: messages that do name one are `DataError`s, raised where a file is read, and
reach the coordinator as `Refused`.
"""

from __future__ import annotations


class ConfrereError(Exception):
    """Root of the tree. `exit_code` is what the command line ends with.

    `about` names the section of docs/errors.md on a situation, where there is one; else the class has its own.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, about: str = "") -> None:
        super().__init__(message)
        self.about = about

    @property
    def page(self) -> str:
        """Where the documentation says more: path and anchor from the root of the docs."""
        return f"errors.md#{self.about or type(self).__name__.lower()}"


class UserError(ConfrereError):
    """The study or the data is wrong, and whoever wrote it can mend it."""

    exit_code = 2


class StudyError(UserError):
    """A study file, or the settings of an analysis, do not say what they must."""


class FormulaError(UserError):
    """A formula names something unknown, or asks for a function that is not allowed."""


class DataError(UserError):
    """A file, a column or a value is not what the study declares."""


class ModelError(UserError):
    """The people do not determine the model: collinear terms, separation, no events."""


class Refused(ConfrereError):
    """A hospital refused. The message is the same whatever the reason; the reason stays with its steward."""

    exit_code = 3
    uniform = "refused: a hospital did not answer this ask. Its steward has the reason."

    def __init__(self, message: str = uniform, *, about: str = "") -> None:
        super().__init__(message, about=about)


class LedgerError(ConfrereError):
    """A ledger is not as it was written, or what is to be written is no plain data. `entry`: the first bad number."""

    exit_code = 3

    def __init__(self, message: str, *, entry: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry


class ProtocolError(ConfrereError):
    """What arrived is not what was agreed."""

    exit_code = 3


class WireError(ProtocolError):
    """Bytes that are not a message of ours, or more of them than the bound."""


class KeysError(ProtocolError):
    """A forged, swapped or replayed key or message."""


class MaskReuse(ProtocolError):
    """A mask would have been used a second time; nothing was sent."""


class RangeError(ProtocolError):
    """A number does not fit the fixed point: overflow, underflow of a whole column, or not finite."""


class Waiting(ConfrereError):
    """Hospitals did not answer before the deadline, or the run was cancelled. Says whom it waited for."""

    exit_code = 4


class Paused(Waiting):
    """A steward paused the study, or the hospital answers at other hours. The run goes on once it may."""
