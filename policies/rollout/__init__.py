"""Running policies episode by episode: their horizons, what they are shown, and comparisons in pairs."""
