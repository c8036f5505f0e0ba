"""All stores of one table."""

from line_requests.storage.due import DueIndex
from line_requests.storage.keys import ApiKeys
from line_requests.storage.lines import Lines
from line_requests.storage.operator_index import OperatorIndex
from line_requests.storage.plans import Plans
from line_requests.storage.table import Table
from line_requests.storage.workspaces import Workspaces


class Stores:
    """One store for each aggregate."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.lines = Lines(table)
        self.workspaces = Workspaces(table)
        self.api_keys = ApiKeys(table)
        self.plans = Plans(table)
        self.due = DueIndex(table)
        self.operator = OperatorIndex(table)
