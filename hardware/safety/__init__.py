"""What keeps an arm inside its limits: the filter, the watchdog and the recovery from faults."""
