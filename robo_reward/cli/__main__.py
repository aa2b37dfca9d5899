"""`python -m robo_reward.cli` is `robo-reward`."""

import sys

from robo_reward.cli.app import main

sys.exit(main())
