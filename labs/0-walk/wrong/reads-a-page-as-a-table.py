"""
loses: walk/huge
hint: through-a-page
is: what comes if a 2 MiB page is read as a table
thought: there are four levels, so there are four entries
"""


def is_leaf(self, entry, level):
    return level == 1
