"""
loses: walk/frames walk/distances walk/maps walk/rights
hint: guard-for-page-0
is: what comes if page 0 is taken for the guard
thought: an area begins with its guard, so the first page is the one behind
"""


def page(self, area, n):
    return area + (n + 1) * 4096
