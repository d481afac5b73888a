"""
loses: walk/window
hint: last-byte
is: one byte less than it is
thought: from here to there: end minus start
"""


def answer_window(self):
    return self.asked.last - self.asked.window
