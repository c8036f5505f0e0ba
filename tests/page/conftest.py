from tests.page.chromium import executable

# The summary at the end says so: see tests/conftest.py.
collect_ignore = [] if executable() else ["test_console_in_browser.py"]
