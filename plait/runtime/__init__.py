"""Running compiled programs: memory, the thread pool, the object-code cache, and what is known of the host."""
