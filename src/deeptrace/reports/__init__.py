"""Pages for people: a detection run, a benchmark run, an audit."""
