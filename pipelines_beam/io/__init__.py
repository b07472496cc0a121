"""Jobs over files that can be stopped and resumed: files in, files out, each part exactly once."""

from .audit.options import AuditOptions as AuditOptions
from .audit.results import AuditResult as AuditResult
from .failure_limit import TooManyFailuresError as TooManyFailuresError
from .files import InputChangedError as InputChangedError
from .files import StoreError as StoreError
from .forecasting import plan_files as plan_files
from .identity import JobChangedError as JobChangedError
from .job import NoJobError as NoJobError
from .output import OutputError as OutputError
from .plan import PlanError as PlanError
from .prepare import OutputExistsError as OutputExistsError
from .reporting import report as report
from .retry import Retried as Retried
from .retry import retry_failures as retry_failures
from .stages import InputError as InputError
from .transform import Processed as Processed
from .transform import ProcessFiles as ProcessFiles
from .transform import process_files as process_files
