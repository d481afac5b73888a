"""Tests that must run one after the other come first, so that at the end no worker waits for another's chain."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
