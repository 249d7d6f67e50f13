"""The one kind of error that a user of the command line is meant to see."""


class UserError(Exception):
    """Something the user can put right: a flag, a file, a shape.

    The message is one line that says what is wrong, where, what was expected and what to do.
    The command line prints it, without a traceback, and ends with status 2.
    """
