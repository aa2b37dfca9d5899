"""Episodes and demonstrations: recorded, stored, imported and exported."""
