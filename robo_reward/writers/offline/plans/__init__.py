"""Plans of the offline writer for each kind of goal."""
