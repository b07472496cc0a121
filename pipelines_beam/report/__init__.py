"""The report of a job over files, as one HTML page: what ran, how, and what came out."""

from .charts import ChartsError as ChartsError
from .page import Report as Report
