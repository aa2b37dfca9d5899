"""Networks through which policies look: pictures of cameras in, features out."""
