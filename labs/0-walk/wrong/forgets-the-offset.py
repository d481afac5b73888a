"""
loses: walk/direct walk/huge walk/maps walk/physical walk/word
hint: offset-forgotten
is: where the page begins, and not the byte
thought: an entry says where the page is, so that is where the byte is
"""


def join(self, frame, offset):
    return frame
