"""Can this reward be trusted?"""
