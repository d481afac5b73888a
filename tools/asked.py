"""asked - numbers that whoever calls a tool gives it, in variables of the environment."""

import os
import re
import sys


def number(name, default):
    """What the variable says, or default if it says nothing; ends the tool if that is no number from 1 to 999999."""
    value = os.environ.get(name) or str(default)
    if not re.fullmatch("[1-9][0-9]{0,5}", value):
        sys.exit(f"{sys.argv[0]}: {name}={value}: {name} must be a number from 1 to 999999")
    return int(value)
