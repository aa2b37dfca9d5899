"""The labelling page: a small server, and plain HTML, CSS and JavaScript for the browser."""
