"""How long hypothesis looks: briefly, unless DAYBOOK_HYPOTHESIS=long."""

import os

from hypothesis import HealthCheck, settings

# Two slow cores shared with other tests are no reason to fail.
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("brief", max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=SLOW)
settings.register_profile("long", max_examples=5000, stateful_step_count=80, deadline=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("DAYBOOK_HYPOTHESIS", "brief"))
