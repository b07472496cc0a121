"""Progress of a running job: what is known of it, and how it is shown."""

from .show import shown as shown
from .show import style_for as style_for
