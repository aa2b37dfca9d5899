"""Small local web servers: access guard, limited connections and requests."""
