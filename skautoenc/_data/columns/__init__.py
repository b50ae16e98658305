"""Tables of numbers, categories and dates, converted to one matrix and back.

The matrix has a column for each number and date, then further features of dates, then a
column of integer codes for each categorical column. The next code stands for rare
categories, and the one after it for categories that were not in `fit`. Missing values
are NaN.
"""

from .category import CategoryColumn, entropy
from .date import DateColumn
from .number import NumberColumn
from .table import KINDS, Layout, Table
from .values import is_missing

__all__ = [
    "KINDS",
    "CategoryColumn",
    "DateColumn",
    "Layout",
    "NumberColumn",
    "Table",
    "entropy",
    "is_missing",
]
