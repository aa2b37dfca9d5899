"""What people prefer: their answers, and rewards that agree with them."""
