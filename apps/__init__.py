"""The dashboard, a Panel application: for each page a state without a browser, a view, and one source of frames below.

apps.source   asks the store; knows nothing of Panel        apps.*_state  filters and selection, testable alone
apps.<page>   lays out and wires                            apps.serve    binds the pages to a local port
"""
