"""From cameras and the arm's measurements to the state and frames that a policy sees."""
