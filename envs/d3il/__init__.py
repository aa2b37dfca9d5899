"""Tasks re-made from the D3IL benchmark."""
