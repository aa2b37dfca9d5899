"""Rewards learnt from people's answers: RAPL, Bradley-Terry and networks."""
