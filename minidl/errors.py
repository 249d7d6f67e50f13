"""The errors that a user of the command line is meant to see."""


class UserError(Exception):
    """Something the user can put right: a flag, a file, a shape.

    The message is one line that says what is wrong, where, what was expected and what to do.
    The command line prints it, without a traceback, and ends with status 2.
    """


class AgreedError(UserError):
    """A ``UserError`` that every rank of the run raises, at the same place.

    So each can leave in an orderly way, without pulling the others down. The message is empty on
    all ranks but the one that is to speak.
    """


class DivergedError(AgreedError):
    """On every rank, when all have met: numbers have stopped being finite."""
