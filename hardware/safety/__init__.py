"""Safety of an arm: the filter, the watchdog and the recovery from faults."""
