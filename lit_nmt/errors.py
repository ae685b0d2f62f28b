"""The one exception for a user's mistake."""


class UserError(Exception):
    """A mistake of the user's, told in one line: the place, what was found, what was expected, what to do.

    The command line prints the message without a traceback and exits with status 2.
    """
