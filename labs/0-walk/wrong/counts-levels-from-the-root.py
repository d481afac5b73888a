"""
loses: walk/missing
hint: counted-from-the-top
is: levels counted from the root
thought: the walk begins with the PML4, so that is level 1
"""


def level_name(self, level):
    return 5 - level
