"""What goes between here and a server: connections, bodies, and what answers mean."""
